"""ShareGPT4V and LLaVA-1.5 reference checkpoints to the llava-hf layout that transformers, vLLM and SGLang load."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from annotator.errors import StorageError, WeightsInvalid
from annotator.predictors.llava.checkpoint import disk_name, write_shards
from annotator.predictors.llava.processor_files import write_processor_files
from annotator.predictors.llava.reference import (
    Tower,
    find_tower,
    read_json,
    read_shapes,
    read_tensors,
    reference_to_disk,
)

VOCABULARY_MULTIPLE = 64
"""Rows of the embedding are padded to a multiple of this, as in the published llava-hf checkpoints."""

_EMBEDDINGS = ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written: where, how many tensors, whose vision tower, and the id of the image token."""

    folder: Path
    tensors: int
    vision_tower: str
    vocabulary: int
    image_token_id: int


def convert(src: Path | str, out: Path | str, vision_tower: Path | str | None = None) -> Conversion:
    """Convert the checkpoint in ``src`` into a new folder ``out``.

    The language model, the projector and the vision tower get their published names; ``<image>`` and ``<pad>`` are
    added to the tokenizer, in this order, with the mean of all rows as their embedding; the picture is padded to a
    square and the prompt begins with BOS. Tensors keep their precision. One source file is in memory at a time, besides
    at most 4 GB that are being written. ``out`` appears only when everything fits.

    Args:
        src: folder of a ShareGPT4V or LLaVA-1.5 checkpoint, or of an intermediate checkpoint of their training.
        out: a folder that is not there yet, or is empty.
        vision_tower: folder of the CLIP tower, where it is neither in ``src`` nor in ``src/vision_tower``.

    Raises:
        WeightsMissing: ``src`` has no weights or no configuration.
        WeightsInvalid: a tensor is missing, unknown, of another shape, or in two places.
        InputError: no vision tower is to be found.
        StorageError: ``out`` is not empty or cannot be written.
    """
    src, out = Path(src), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(f"{out} is there already; name a new folder")
    part = out.with_name(out.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        result = _convert(src, part, out, None if vision_tower is None else Path(vision_tower))
        if out.exists():
            out.rmdir()
        part.rename(out)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return result


def _convert(src: Path, part: Path, out: Path, given: Path | None) -> Conversion:
    config = read_json(src / "config.json")
    _check_kind(src, config)
    shapes = read_shapes(src)
    tower = find_tower(src, config, shapes, given)
    tokenizer = _tokenizer(src)
    rows = shapes.get("model.embed_tokens.weight", (0,))[0]
    vocabulary = math.ceil(max(rows, len(tokenizer)) / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
    image_id = int(tokenizer.convert_tokens_to_ids("<image>"))
    if not image_id < len(tokenizer) <= vocabulary:
        raise WeightsInvalid(f"the tokenizer of {src} does not take the <image> token")
    settings = llava_config(config, tower.config, vocabulary, image_id, int(tokenizer.pad_token_id))
    expected = expected_shapes(settings)
    written = _Written(expected)
    write_shards(written.check(_tensors(src, tower, vocabulary)), part)
    written.finish(src)
    _write_side_files(part, settings, tokenizer)
    return Conversion(out, len(expected), tower.source, vocabulary, image_id)


def _check_kind(src: Path, config: dict[str, Any]) -> None:
    kind = config.get("mm_projector_type", "linear")
    if kind != "mlp2x_gelu":
        raise WeightsInvalid(f"{src}: projector '{kind}' is not that of ShareGPT4V or LLaVA-1.5 (mlp2x_gelu)")
    if config.get("mm_use_im_start_end") or config.get("mm_use_im_patch_token"):
        raise WeightsInvalid(f"{src}: checkpoints with image start, end or patch tokens are not supported")


def _tokenizer(src: Path) -> Any:
    """The tokenizer of ``src`` with ``<image>`` and then ``<pad>``: a pad token of its own would take the first id."""
    from transformers import LlamaTokenizer

    try:
        tokenizer = LlamaTokenizer.from_pretrained(src, local_files_only=True, legacy=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsInvalid(f"{src} has no usable tokenizer: {str(error).splitlines()[0]}") from error
    tokenizer.pad_token = None
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    return tokenizer


def llava_config(config: dict[str, Any], vision: dict[str, Any], vocabulary: int, image_id: int, pad_id: int) -> Any:
    """The ``LlavaConfig`` of a reference configuration and its tower."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    fields = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "max_position_embeddings", "rms_norm_eps", "hidden_act", "bos_token_id", "eos_token_id",
    )  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)}
    if scaling := config.get("rope_scaling"):
        rope |= {"rope_type": scaling.get("type", "linear"), "factor": scaling["factor"]}
    text = LlamaConfig(
        **{field: config[field] for field in fields if config.get(field) is not None},
        vocab_size=vocabulary,
        pad_token_id=pad_id,
        rope_parameters=rope,
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
    )
    tower = CLIPVisionConfig(**vision)
    llava = LlavaConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=image_id,
        image_seq_length=(tower.image_size // tower.patch_size) ** 2,
        projector_hidden_act="gelu",
        vision_feature_layer=config.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="full" if config.get("mm_vision_select_feature") == "cls_patch" else "default",
        tie_word_embeddings=text.tie_word_embeddings,
    )
    llava.architectures = ["LlavaForConditionalGeneration"]
    llava.dtype = config.get("torch_dtype") or config.get("dtype") or "float16"
    return llava


def expected_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """On-disk names and shapes of all tensors of a ``LlavaConfig``."""
    from transformers import LlavaForConditionalGeneration

    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    shapes = {disk_name(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        del shapes["language_model.lm_head.weight"]
    return shapes


def _tensors(src: Path, tower: Tower, vocabulary: int) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors by on-disk name, embeddings padded to ``vocabulary`` rows."""
    folders = [src] if tower.folder is None else [src, tower.folder]
    for folder in folders:
        for name, tensor in read_tensors(folder):
            disk = reference_to_disk(name)
            if disk is None:
                continue
            yield disk, _pad_rows(tensor, vocabulary) if disk in _EMBEDDINGS else tensor


def _pad_rows(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """``tensor`` with the mean of its rows as new ones: their logits are average ones, negligible in a softmax."""
    mean = tensor.float().mean(0, keepdim=True).to(tensor.dtype)
    return torch.cat([tensor, mean.expand(rows - len(tensor), -1)])


class _Written:
    """Checks tensors against the expected ones as they pass by."""

    def __init__(self, expected: dict[str, tuple[int, ...]]) -> None:
        self._expected = expected
        self._seen: set[str] = set()

    def check(self, tensors: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in tensors:
            wanted = self._expected.get(name)
            if wanted is None:
                raise WeightsInvalid(f"unexpected tensor {name}: config.json describes no such part")
            if tuple(tensor.shape) != wanted:
                raise WeightsInvalid(f"{name} has shape {tuple(tensor.shape)}, config.json asks for {wanted}")
            if name in self._seen:
                raise WeightsInvalid(f"{name} is there twice")
            self._seen.add(name)
            yield name, tensor

    def finish(self, src: Path) -> None:
        missing = sorted(set(self._expected) - self._seen)
        if missing:
            raise WeightsInvalid(f"{src} lacks {len(missing)} tensors, the first is {missing[0]}")


def _write_side_files(folder: Path, config: Any, tokenizer: Any) -> None:
    from transformers import GenerationConfig

    text = config.text_config
    config.save_pretrained(folder)
    ids = {"bos_token_id": text.bos_token_id, "eos_token_id": text.eos_token_id, "pad_token_id": text.pad_token_id}
    GenerationConfig(**ids).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _restore_legacy(folder / "tokenizer_config.json")
    write_processor_files(folder, config)


def _restore_legacy(path: Path) -> None:
    """Say ``legacy``, which saving forgets: without it the space piece after the image is lost in one-piece prompts."""
    settings = read_json(path)
    settings |= {"legacy": True, "add_bos_token": True, "add_eos_token": False}
    for key in ("is_local", "local_files_only"):
        settings.pop(key, None)
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
