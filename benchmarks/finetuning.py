"""Fine-tuning of an MLLM: samples a second of the whole run, against the bare step on prepared tensors.

    python -m benchmarks.finetuning                # a tiny LLaVA of true length (336 px, 576 of the ids a picture), CPU
    python -m benchmarks.finetuning --size demo    # the demo's MLLM, whose step is so short that all else shows
    python -m benchmarks.finetuning --size 7b --method qlora --batch 8 --workers 8         # on a GPU

The whole is what ``annotator train mllm`` does from one optimizer step to the next: pictures taken from its file of
prepared ones (or, with ``--cache-gb 0``, read, padded and resized), conversations made ids, all of it on the device,
forward, backward, clipping, optimizer and schedule. The bare step is forward with the same loss, backward and the same
optimizer on tensors that are there. They take turns in one run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import TrainerCallback

from annotator.demo import weights_dir
from annotator.demo.figures import encode_jpeg
from annotator.domain import Gender
from annotator.predictors.llava.checkpoint import load_tokenizer, save_llava
from annotator.predictors.llava.prompt import QUESTION, answer_text
from annotator.training.mllm.conversations import Conversation, Conversations
from annotator.training.mllm.recipe import Recipe
from annotator.training.mllm.train import make_trainer
from benchmarks.mivolo import machine
from benchmarks.mllm import SIZES, build_model
from benchmarks.training import people

STEPS, ROUNDS = 4, 6


class Turns(TrainerCallback):
    """After every ``STEPS`` steps of the run, as many bare ones with its model, its optimizer and its last batch."""

    def __init__(self, device: str) -> None:
        self.trainer: Any = None
        self.inputs: dict[str, torch.Tensor] = {}
        self.whole: list[float] = []
        self.bare: list[float] = []
        self._device, self._count, self._since = device, 0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """Called by the trainer."""
        self._count += 1
        if self._count % STEPS:
            return
        self._wait()
        self.whole.append(time.perf_counter() - self._since)
        started = time.perf_counter()
        for _ in range(STEPS):
            self.trainer.compute_loss(parts["model"], self.inputs).backward()
            parts["optimizer"].step()
            parts["optimizer"].zero_grad()
        self._wait()
        self.bare.append(time.perf_counter() - started)
        self._since = time.perf_counter()

    def _wait(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()


def conversations(folder: Path, batch: int) -> Conversations:
    """Bodies of drawn people cut out, and what is said of them, as `annotator export --format llava` has them.

    As many as all steps take: a new epoch would start its loader anew.
    """
    found = []
    for number, person in enumerate(people(folder)):
        if person.body is None or person.age is None or person.female is None:
            continue
        with Image.open(person.image) as image:
            box = person.body
            body = np.asarray(image.convert("RGB").crop((int(box.x0), int(box.y0), int(box.x1), int(box.y1))))
        path = folder / f"body-{number}.jpg"
        path.write_bytes(encode_jpeg(body))
        answer = answer_text(Gender.FEMALE if person.female else Gender.MALE, int(person.age))
        found.append(Conversation(path, QUESTION, answer, person.age, person.female))
    found = [found[number % len(found)] for number in range(STEPS * (ROUNDS + 1) * batch)]
    return Conversations("bench", {"train": found, "val": found[:8]})


def base_of(size: str, folder: Path) -> Path:
    """Weights to start from: the demo's, or random ones of that size with the demo's tokenizer."""
    demo = weights_dir("demo-mllm")
    if size == "demo":
        return demo
    dtype = torch.float32 if size == "tiny" else torch.bfloat16
    save_llava(build_model(size, "cpu", dtype), load_tokenizer(demo), folder, template="vicuna_v1")
    return folder


def measure(base: Path, given: argparse.Namespace, folder: Path) -> Turns:
    """Both, in turns; the first turn warms up and is dropped."""
    recipe = Recipe(
        str(base), given.method, steps=STEPS * (ROUNDS + 1), batch=given.batch, save_steps=10**6,
        precision="float32" if given.device == "cpu" else "bfloat16", checkpointing=given.size in ("7b", "13b"),
    )  # fmt: skip
    turns = Turns(given.device)
    trainer = make_trainer(
        conversations(folder, given.batch),
        recipe,
        folder / "run",
        device=given.device,
        workers=given.workers,
        cache_bytes=given.cache_gb * 1e9,
    )
    turns.trainer = trainer
    rows = [trainer.train_dataset[row] for row in range(given.batch)]
    turns.inputs = trainer._prepare_inputs(trainer.data_collator(rows))
    trainer.add_callback(turns)
    trainer.train()
    del turns.whole[0], turns.bare[0]
    return turns


def main() -> None:
    """Print both speeds and their ratio."""
    parser = argparse.ArgumentParser(description="fine-tuning against its bare step")
    parser.add_argument("--size", choices=["demo", *SIZES], default="tiny")
    parser.add_argument("--method", choices=["full", "lora", "qlora"], default="full")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--cache-gb", type=float, default=8.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    print(f"LLaVA {given.size}, {given.method}, batch {given.batch}, {given.workers} workers, {machine(given.device)}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        turns = measure(base_of(given.size, folder / "base"), given, folder)
    samples = STEPS * given.batch
    slow, fast = statistics.median(turns.whole), statistics.median(turns.bare)
    print(f"bare step  {samples / fast:7.2f} samples/s   the whole run {samples / slow:7.2f}")
    print(f"share of the bare step: {fast / slow:.1%}")
    if given.device != "cpu":
        print(f"GPU memory at most: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
