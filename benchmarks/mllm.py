"""Speed of the MLLM predictor: one pass over the answer tree against ``generate()``, in one run.

    python -m benchmarks.mllm                                  # a tiny LLaVA of true shape, CPU, minutes
    python -m benchmarks.mllm --size 7b --batch 1 8 16 32 64 --peak 790 --quantisation none 8bit 4bit
                                                               # full size in bfloat16, on a GPU of 24 GB or more

Weights are random: that is enough for speed. The prompt has ShareGPT4V's 712 tokens (576 of them the picture) and the
answers as many tokens as the Vicuna tokenizer gives them. What is timed begins with normalised pixels on the device:

- prefill: the prompt alone, the floor of everything;
- tree 37 / tree 271: the predictor's own scoring with the short and the full tree, for people whose answers keep to the
  format; the short tree includes the step that checks the closing bracket;
- generate: ``generate()`` of 10 tokens, as long as ``[female; 40]`` with its end.

The ways take turns, and the best round of each counts. On a machine that does other work as well, compare CPU seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

from annotator.predictors.llava.checkpoint import load_llava, save_llava
from annotator.predictors.llava.layout import Layout
from annotator.predictors.llava.prompt import QUESTION, build_prompt, find_template
from annotator.predictors.llava.scoring import TreeScorer
from annotator.predictors.llava.tree import answer_tree
from annotator.predictors.llava.vision import Sights
from benchmarks.mivolo import machine

VOCABULARY = {"tiny": 512, "7b": 32064, "13b": 32064}
"""Small for ``tiny``, so that the output layer has as small a share of the work as in a full-sized model."""

ANSWER_TOKENS = 10
PROMPT_TFLOP = {"7b": 9.76, "13b": 18.7}
"""TFLOP of the prompt alone: linear layers and attention of the language model, vision tower, projector."""

SIZES = {
    "tiny": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40},
}


class VicunaPieces:
    """As many tokens for the prompt's two texts (34 and 101) and for each answer as the Vicuna tokenizer has."""

    bos_token_id = 1
    eos_token_id = 2
    PIECES = (" [", "male", "f", "em", "ale", ";", " ", *"0123456789", "]")
    FEMALE = ("f", "em", "ale")

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Ids of the text before the picture, or of the text after it with or without an answer."""
        assert not add_special_tokens
        before, after = find_template("vicuna_v1").render(QUESTION).split("<image>")
        if text == before:
            return list(range(100, 134))
        tail = list(range(200, 301))
        answer = text.removeprefix(after).strip(" []")
        if not answer:
            return tail
        gender, age = answer.split("; ")
        words = self.FEMALE if gender == "female" else ("male",)
        return [*tail, *(10 + self.PIECES.index(piece) for piece in (" [", *words, ";", " ", *age, "]"))]


class InFormat(TreeScorer):
    """Scores as if every answer kept to the format, which those of random weights never do."""

    def _walk(self, logits: torch.Tensor) -> list[tuple[int, bool]]:
        return [(answer, True) for answer, _ in super()._walk(logits)]

    def _generate(self, layout: Layout, rows: Sequence[int], cache: Any) -> list[list[int]]:
        return [[] for _ in rows]


def build_model(size: str, device: str, dtype: torch.dtype) -> Any:
    """A LLaVA of that size with random weights; the tower is CLIP-L/336, a narrow one for ``tiny``."""
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    if size == "tiny":
        vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = SIZES[size] | {"num_key_value_heads": SIZES[size]["num_attention_heads"]}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**vision, image_size=336, patch_size=14),
        text_config=transformers.LlamaConfig(
            **text, vocab_size=VOCABULARY[size], max_position_embeddings=4096, pad_token_id=0
        ),
        image_token_index=VOCABULARY[size] - 1,
    )
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return transformers.LlavaForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(usual)


class NoTokenizer:
    """Saves nothing: the prompt's ids are made by :class:`VicunaPieces`."""

    def save_pretrained(self, folder: Path) -> None:
        """Nothing."""


def quantised(model: Any, kind: str, device: str, dtype: torch.dtype) -> Any:
    """The same weights, written and read as the predictor reads them, with a quantised language model."""
    with tempfile.TemporaryDirectory() as folder:
        save_llava(model, NoTokenizer(), folder)
        return load_llava(folder, dtype=dtype, device=device, quantisation=kind)


@dataclass(slots=True)
class Way:
    """One way to label a batch, and what its rounds took in seconds: on the clock, and of all CPU cores together."""

    name: str
    run: Callable[[], object]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def time(self, device: str) -> None:
        """One more round."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.run()
        if device != "cpu":
            torch.cuda.synchronize()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


def ways(model: Any, batch: int, device: str) -> list[Way]:
    """All ways at one batch size."""
    pieces = VicunaPieces()
    prompt = build_prompt(pieces, "vicuna_v1", QUESTION, model.config.image_token_index)
    assert len(prompt.ids(576)) == 712
    pixels = torch.randn(batch, 3, 336, 336, device=device, dtype=model.dtype)
    ids = torch.tensor(prompt.ids(576), device=device).expand(batch, -1)
    whole = {"input_ids": ids, "pixel_values": pixels, "attention_mask": torch.ones_like(ids)}
    short, full = (
        InFormat(model, prompt, answer_tree(pieces, "vicuna_v1", QUESTION, full=kind), ends=[2])
        for kind in (False, True)
    )
    sights = Sights({"pixel_values": pixels}, (576,) * batch)
    lengths = {"min_new_tokens": ANSWER_TOKENS, "max_new_tokens": ANSWER_TOKENS}
    return [
        Way("prefill", lambda: model(**whole, use_cache=False, logits_to_keep=1)),
        Way(f"tree {len(short.tree)}", lambda: short.score(sights)),
        Way(f"tree {len(full.tree)}", lambda: full.score(sights)),
        Way("generate", lambda: model.generate(**whole, do_sample=False, **lengths)),
    ]


def measure(model: Any, batch: int, device: str, rounds: int) -> list[Way]:
    """Time all ways in turn, ``rounds`` times; the first round warms up and is dropped."""
    found = ways(model, batch, device)
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for way in found:
                way.time(device)
    for way in found:
        del way.wall[0], way.cpu[0]
    return found


def show(batch: int, found: Sequence[Way], floor: float | None) -> None:
    """The lines of one batch size: best rounds, and how much slower ``generate`` was in its best."""
    generate = found[-1]
    for way in found:
        rate = batch / min(way.wall)
        cells = [
            str(batch), way.name, f"{rate:.2f}", f"{min(generate.wall) / min(way.wall):.2f}x",
            f"{min(way.cpu) / batch:.3f}", f"{min(generate.cpu) / min(way.cpu):.2f}x",
        ]  # fmt: skip
        if floor:
            cells.append(f"{rate / floor:.0%}")
        print("| " + " | ".join(cells) + " |")


def run(model: Any, batches: Sequence[int], device: str, rounds: int, floor: float | None) -> None:
    """One table, and what it comes to: each way at its best batch size."""
    head = ["batch", "way", "people/s", "generate takes", "CPU s/person", "generate takes (CPU)"]
    head += [f"of floor {floor:.0f}/s"] if floor else []
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    best: dict[str, float] = {}
    alone: float | None = None
    for batch in batches:
        found = measure(model, batch, device, rounds)
        show(batch, found, floor)
        rates = {way.name: batch / min(way.wall) for way in found}
        alone = rates["generate"] if batch == 1 else alone
        best = {name: max(best.get(name, 0.0), rate) for name, rate in rates.items()}
    ratios = ", ".join(f"{way} {rate / best['generate']:.2f}x" for way, rate in best.items())
    print(f"\neach at its best batch size, against generate at its best: {ratios}")
    if alone:
        print("against generate one by one: " + ", ".join(f"{way} {rate / alone:.2f}x" for way, rate in best.items()))
    if floor:
        shares = ", ".join(f"{way} {rate / floor:.0%}" for way, rate in best.items())
        print(f"of the floor of {floor:.0f} people/s (the prompt's arithmetic at --peak): {shares}")


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description="answer-tree scoring against generate()")
    parser.add_argument("--size", choices=list(SIZES), default="tiny")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument(
        "--peak", type=float, help="TFLOP/s that the device reaches in large matrix products (H200: 790)"
    )
    parser.add_argument("--quantisation", choices=["none", "8bit", "4bit"], nargs="+", default=["none"])
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    name = given.dtype or ("float32" if given.device == "cpu" else "bfloat16")
    dtype = getattr(torch, name)
    floor = given.peak / PROMPT_TFLOP[given.size] if given.peak and given.size in PROMPT_TFLOP else None
    print(f"LLaVA {given.size}, {name}, 712 prompt tokens, {ANSWER_TOKENS} answer tokens")
    print(f"{machine(given.device)}, transformers {transformers.__version__}")
    for kind in given.quantisation:
        model = build_model(given.size, given.device, dtype)
        if kind != "none":
            model = quantised(model, kind, given.device, dtype)
        weights = sum(part.numel() * part.element_size() for part in model.parameters()) / 2**30
        print(f"\nquantisation: {kind}; {weights:.2f} GiB of weights\n")
        if given.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        run(model, given.batch, given.device, given.rounds, floor)
        if given.device != "cpu":
            print(f"GPU memory at most: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        del model


if __name__ == "__main__":
    main()
