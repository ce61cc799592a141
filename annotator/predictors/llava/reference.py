"""Reading the checkpoints of the ShareGPT4V and LLaVA-1.5 code bases: their files, names and configuration.

Their parameters are named after that code (``model.mm_projector.0.weight``); the vision tower lies in a repository of
its own, in the ``vision_tower`` folder of a finished run, or inside an intermediate training checkpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from annotator.errors import InputError, WeightsInvalid, WeightsMissing

TOWER_INSIDE = "model.vision_tower.vision_tower."
"""How the vision tower's parameters begin inside an intermediate training checkpoint."""

_DROPPED = re.compile(
    r"rotary_emb\.inv_freq$|embeddings\.position_ids$|^text_model\.|^(visual|text)_projection\.|^logit_scale$"
)
_PREFIXES = (
    (TOWER_INSIDE + "vision_model.", "vision_tower.vision_model."),
    ("vision_model.", "vision_tower.vision_model."),
    ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
    ("model.embed_tokens.", "language_model.model.embed_tokens."),
    ("model.layers.", "language_model.model.layers."),
    ("model.norm.", "language_model.model.norm."),
    ("lm_head.", "language_model.lm_head."),
)


def reference_to_disk(name: str) -> str | None:
    """The llava-hf on-disk name of a reference parameter; ``None`` for what is not needed.

    Not needed are buffers that are computed anyway, and the text half of a whole CLIP.

    >>> reference_to_disk("model.mm_projector.2.bias")
    'multi_modal_projector.linear_2.bias'

    Raises:
        WeightsInvalid: no part of such a model has this name.
    """
    if _DROPPED.search(name):
        return None
    for reference, disk in _PREFIXES:
        if name.startswith(reference):
            return disk + name[len(reference) :]
    raise WeightsInvalid(f"'{name}' is no parameter of a ShareGPT4V or LLaVA-1.5 model")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        WeightsMissing: there is no such file.
        WeightsInvalid: it is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsMissing(f"{path} is not there: name the folder of a checkpoint") from None
    except (OSError, ValueError) as error:
        raise WeightsInvalid(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsInvalid(f"{path} holds no JSON object")
    return content


def tensor_files(folder: Path) -> list[Path]:
    """The weight files of a folder: safetensors where there are any, else the ``.bin`` files of PyTorch.

    Raises:
        WeightsMissing: there are none, or a file that the index names is not there.
    """
    for pattern, index in (
        ("*.safetensors", "model.safetensors.index.json"),
        ("pytorch_model*.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / index).is_file():
            names = sorted(set(read_json(folder / index).get("weight_map", {}).values()))
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise WeightsMissing(f"{folder} is incomplete: {missing[0]} is not there")
            return [folder / name for name in names]
        if found := sorted(folder.glob(pattern)):
            return found
    raise WeightsMissing(f"{folder} holds no weights (*.safetensors or pytorch_model*.bin)")


def read_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of a folder, one file in memory at a time; pickles are read without running code.

    Raises:
        WeightsMissing: there are none.
        WeightsInvalid: a file is broken.
    """
    for path in tensor_files(folder):
        with _readable(path):
            if path.suffix != ".safetensors":
                yield from _pickled(path).items()
                continue
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (the file is no mapping)
                    yield name, file.get_tensor(name)


def read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors of a folder, without reading the tensors where the format allows that.

    Raises:
        WeightsMissing: there are none.
        WeightsInvalid: a file is broken.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in tensor_files(folder):
        with _readable(path):
            if path.suffix != ".safetensors":
                shapes |= {name: tuple(tensor.shape) for name, tensor in _pickled(path).items()}
                continue
            with safe_open(path, framework="pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise WeightsInvalid(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _pickled(path: Path) -> dict[str, torch.Tensor]:
    import pickle

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise WeightsInvalid(f"{path} holds more than tensors and is not read") from error
    if not isinstance(loaded, dict):
        raise WeightsInvalid(f"{path} holds no named tensors")
    return loaded


def _is_zip(path: Path) -> bool:
    """Whether a ``.bin`` has PyTorch's present format, which can be mapped instead of read at once."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


@dataclass(frozen=True, slots=True)
class Tower:
    """Where the vision tower comes from: ``folder`` is ``None`` where its weights lie inside the checkpoint."""

    folder: Path | None
    config: dict[str, Any]
    source: str


def find_tower(
    checkpoint: Path, config: dict[str, Any], shapes: dict[str, tuple[int, ...]], given: Path | None
) -> Tower:
    """The vision tower that belongs to a checkpoint.

    A tower inside the checkpoint was trained with it and always wins; ``given`` then only lends its configuration.
    Otherwise it is ``given``, the checkpoint's ``vision_tower`` folder, or the folder that its configuration names.

    Args:
        checkpoint: the checkpoint's folder.
        config: its config.json.
        shapes: shapes of its tensors by reference name.
        given: a folder that the user names.

    Raises:
        InputError: there is none; says what to name.
    """
    named = Path(str(config.get("mm_vision_tower") or config.get("vision_tower") or ""))
    places = [
        place for place in (given, checkpoint / "vision_tower", named) if place and (place / "config.json").is_file()
    ]
    if given is not None and given not in places:
        raise InputError(f"{given} is no folder of a CLIP vision tower: it has no config.json")
    inside = any(name.startswith(TOWER_INSIDE) for name in shapes)
    if inside:
        settings = tower_config(read_json(places[0] / "config.json")) if places else guess_tower_config(shapes)
        return Tower(None, settings, "the checkpoint itself")
    if places:
        return Tower(places[0], tower_config(read_json(places[0] / "config.json")), str(places[0]))
    raise InputError(
        f"{checkpoint} holds no vision tower; name the folder of '{named or 'its CLIP'}' with --vision-tower"
    )


_TOWER_FIELDS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size",
    "num_channels", "projection_dim", "hidden_act", "layer_norm_eps", "attention_dropout",
)  # fmt: skip


def tower_config(config: dict[str, Any]) -> dict[str, Any]:
    """What shapes a CLIP vision tower, from the config.json of a tower or of a whole CLIP."""
    vision = config.get("vision_config", config)
    return {field: vision[field] for field in _TOWER_FIELDS if field in vision}


def guess_tower_config(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """The same from the shapes of the tower's tensors; heads of 64 channels, as every CLIP of OpenAI has."""
    prefix = TOWER_INSIDE + "vision_model."
    hidden, channels, patch, _ = shapes[prefix + "embeddings.patch_embedding.weight"]
    positions = shapes[prefix + "embeddings.position_embedding.weight"][0]
    layers = {name[len(prefix) :].split(".")[2] for name in shapes if name.startswith(prefix + "encoder.layers.")}
    return {
        "hidden_size": hidden,
        "intermediate_size": shapes[prefix + "encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, hidden // 64),
        "image_size": round((positions - 1) ** 0.5) * patch,
        "patch_size": patch,
        "num_channels": channels,
        "hidden_act": "quick_gelu",
    }
