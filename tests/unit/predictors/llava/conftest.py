"""A reference checkpoint with weights from a recipe, tokenizers of known pieces, and tiny random models."""

import importlib.util
import io
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from annotator.predictors.llava.prompt import QUESTION, TEMPLATES, answer_ids, build_prompt_ids

DATA = Path(__file__).parents[3] / "data" / "share4v"


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA


@pytest.fixture(scope="session")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("share4v_recipe", DATA / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PieceTokenizer:
    """The pieces that Llama's tokenizer has for ' [female; 40]', longest first; everything else is one character."""

    PIECES = (" [", "male", "ale", "em", "f", ";", " ", *"0123456789", "]")
    bos_token_id = 1
    eos_token_id = 2
    image_id = 3
    vocab_size = 320

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        ids = []
        while text:
            piece = next((piece for piece in self.PIECES if text.startswith(piece)), text[0])
            ids.append(10 + self.PIECES.index(piece) if piece in self.PIECES else 40 + ord(piece))
            text = text[len(piece) :]
        return ids

    def decode(self, ids: list[int]) -> str:
        return "".join(self.PIECES[i - 10] if i < 40 else chr(i - 40) for i in ids)


@pytest.fixture(scope="session")
def pieces() -> PieceTokenizer:
    return PieceTokenizer()


def tiny_llava(vocab_size: int, image_id: int, *, attention: str = "sdpa", seed: int = 0):
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14,
        projection_dim=16,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=vocab_size, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, initializer_range=0.15, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_id, image_seq_length=4)
    config._attn_implementation = attention
    return LlavaForConditionalGeneration(config).eval()


COLOURS = {
    "red": ((220, 30, 30), "[male; 42]"),
    "green": ((30, 220, 30), "[female; 107]"),
    "blue": ((30, 30, 220), "I cannot tell."),
    "white": ((240, 240, 240), "[male; 20-25]"),
    "yellow": ((230, 220, 20), "[female; 7]"),
}
"""What the trained model says to pictures of one colour."""


def word_tokenizer():
    """A fast tokenizer with Llama's pieces for answers and whole words for everything else in the prompts."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = r" \[|male|ale|em|f|[0-9;\-\] ]|[^ ]+"
    said = [template.render(QUESTION).replace("<image>", "") for template in TEMPLATES.values()]
    said += [f" {text}" for _, text in COLOURS.values()] + [" [female; 0123456789]"]
    words = sorted({word for text in said for word in re.findall(split, text)})
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", "<image>", "<pad>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(split), "isolated")
    tokenizer.decoder = decoders.Fuse()
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(scope="session")
def colour():
    """A function for a picture of one colour, with some noise."""

    def make(name: str, height: int = 40, width: int = 40, seed: int = 0):
        shades = np.random.default_rng(seed).normal(COLOURS[name][0], 6, (height, width, 3))
        return shades.clip(0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory, colour) -> Path:
    """A saved model that learnt to answer to colours: in the format, with a range, and with a refusal."""
    from annotator.predictors.llava.checkpoint import save_llava
    from annotator.predictors.llava.preprocess import normalise, preprocess

    tokenizer = word_tokenizer()
    model = tiny_llava(len(tokenizer), 3).train()
    prompt = build_prompt_ids(tokenizer, "vicuna_v1", QUESTION, 3, 4)
    texts = [text for _, text in COLOURS.values()]
    answers = [[*ids, 2] for ids in answer_ids(tokenizer, "vicuna_v1", QUESTION, texts)]
    longest = max(map(len, answers))
    ids = torch.tensor([[*prompt, *answer, *[4] * (longest - len(answer))] for answer in answers])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    labels[labels == 4] = -100
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(400):
        seen = np.stack([preprocess(colour(name, seed=step), 28) for name in COLOURS])
        pixels = normalise(torch.from_numpy(seen), torch.float32)
        keep = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
        logits = model(input_ids=ids, pixel_values=pixels, logits_to_keep=keep).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, len(prompt) :].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss < 0.005:
            break
    folder = tmp_path_factory.mktemp("trained")
    save_llava(model.eval(), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def make_llava():
    return tiny_llava


@pytest.fixture(scope="session")
def llama_like(tmp_path_factory) -> Path:
    """A folder with a small SentencePiece model of Llama's kind (byte fallback, dummy prefix, single digits)."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("tokenizer")
    said = [f"A chat between a curious user. USER: {QUESTION} ASSISTANT: [female; 40]"] * 5 + [
        "[male; 0123456789]"
    ] * 20
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(said), model_writer=model, vocab_size=384, model_type="bpe", byte_fallback=True,
        split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False, unk_id=0, bos_id=1,
        eos_id=2, pad_id=-1, minloglevel=2, num_threads=1,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    settings = {
        "tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": False,
        "model_max_length": 2048, "padding_side": "right", "pad_token": "<unk>", "bos_token": "<s>",
        "eos_token": "</s>", "unk_token": "<unk>",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def write_reference(recipe, llama_like):
    """A function that writes the recipe's weights as a reference checkpoint, split over two files."""

    def write(folder: Path, *, tower_inside: bool = True, change=lambda state: None) -> Path:
        folder.mkdir(parents=True)
        state = {name: torch.from_numpy(value) for name, value in recipe.reference_state().items()}
        for layer in range(2):  # a buffer that transformers 4.31 saved
            state[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
        inside = {name: state.pop(name) for name in list(state) if ".vision_tower." in name}
        if tower_inside:
            state |= inside
        change(state)
        names = sorted(state)
        weight_map = {}
        for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
            file = f"pytorch_model-0000{number}-of-00002.bin"
            torch.save({name: state[name] for name in part}, folder / file)
            weight_map |= dict.fromkeys(part, file)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
        config = {**recipe.TEXT, **recipe.MM, "model_type": "share4v", "torch_dtype": "float32", "rope_scaling": None}
        config["mm_vision_tower"] = "Lin-Chen/ShareGPT4V-7B_Pretrained_vit-large336-l12"
        (folder / "config.json").write_text(json.dumps(config))
        for name in ("tokenizer.model", "tokenizer_config.json"):
            (folder / name).write_bytes((llama_like / name).read_bytes())
        return folder

    return write


@pytest.fixture(scope="session")
def write_tower(recipe):
    """A function that writes the recipe's vision tower as a repository of its own; ``scale`` makes it another one."""

    def write(folder: Path, *, scale: float = 1.0, whole_clip: bool = False) -> Path:
        from safetensors.torch import save_file

        folder.mkdir(parents=True)
        prefix = "model.vision_tower.vision_tower."
        state = {
            name[len(prefix) :]: torch.from_numpy(value) * scale
            for name, value in recipe.reference_state().items()
            if name.startswith(prefix)
        }
        config = {"model_type": "clip_vision_model", **recipe.VISION}
        if whole_clip:
            config = {"model_type": "clip", "vision_config": config, "projection_dim": 32}
            state |= {
                "text_model.final_layer_norm.weight": torch.ones(4),
                "visual_projection.weight": torch.ones(32, 48),
                "logit_scale": torch.tensor(1.0),
                "vision_model.embeddings.position_ids": torch.arange(37)[None],
            }
        (folder / "config.json").write_text(json.dumps(config))
        save_file(state, folder / "model.safetensors")
        return folder

    return write


@pytest.fixture(scope="session")
def converted(tmp_path_factory, write_reference, write_tower) -> Path:
    """The recipe's checkpoint, converted with its tower in a folder of its own."""
    from annotator.predictors.llava.convert import convert

    root = tmp_path_factory.mktemp("converted")
    source = write_reference(root / "source", tower_inside=False)
    convert(source, root / "out", vision_tower=write_tower(root / "tower"))
    return root / "out"


@pytest.fixture(scope="session")
def noise():
    """A function for reproducible pictures, uint8."""

    def make(*shape: int, seed: int = 0):
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make
