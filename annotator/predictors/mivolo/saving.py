"""Writes MiVOLO weights in the two published layouts, whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from annotator.errors import StorageError
from annotator.predictors.mivolo.architecture import NAMED_CONFIGS, MiVOLO, MiVOLOConfig, ModelMeta
from annotator.predictors.mivolo.checkpoint import CONFIG_FILE, PREFIX, WEIGHTS_FILE


def save_checkpoint(path: Path, model: MiVOLO, meta: ModelMeta, *, ema: Mapping[str, Tensor] | None = None) -> None:
    """Write the reference's ``.pth.tar``; ``ema`` is the state dict of averaged weights, preferred when loading.

    Raises:
        StorageError: the file cannot be written.
    """
    content: dict[str, Any] = {
        "state_dict": _plain(model.state_dict()),
        "min_age": meta.min_age,
        "max_age": meta.max_age,
        "avg_age": meta.avg_age,
        "no_gender": model.config.num_classes == 1,
        "with_persons_model": model.config.in_chans == 6,
        **_architecture(model.config),
    }
    if ema is not None:
        content["state_dict_ema"] = _plain(ema)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    _write(path, buffer.getvalue())


def save_pretrained(folder: Path, model: MiVOLO, meta: ModelMeta) -> None:
    """Write ``config.json`` and ``model.safetensors`` as MiVOLO v2 has them. The same model gives the same bytes.

    Raises:
        StorageError: the folder cannot be written.
    """
    tensors = {PREFIX + name: tensor for name, tensor in _plain(model.state_dict()).items()}
    config = {
        "model_type": "mivolo",
        "model_name": _published_name(model.config) or "mivolo",
        "num_classes": model.config.num_classes,
        "in_chans": model.config.in_chans,
        "input_size": model.config.img_size,
        "with_persons_model": model.config.in_chans == 6,
        "only_age": model.config.num_classes == 1,
        "min_age": meta.min_age,
        "max_age": meta.max_age,
        "avg_age": meta.avg_age,
        "gender_id2label": {"0": "male", "1": "female"},
        **_architecture(model.config),
    }
    _write(folder / WEIGHTS_FILE, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    _write(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Independent tensors on the CPU, in C order."""
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}


def _published_name(config: MiVOLOConfig) -> str | None:
    """``mivolo_d1_384`` and the like where the sizes are the published ones."""
    name = f"mivolo_d1_{config.img_size}"
    known = NAMED_CONFIGS.get(name)
    if known is None:
        return None
    relative = replace(known, in_chans=config.in_chans, num_classes=config.num_classes)
    return name if _sizes(relative) == _sizes(config) else None


def _architecture(config: MiVOLOConfig) -> dict[str, Any]:
    """The configuration itself, where no published name stands for it."""
    return {} if _published_name(config) else {"architecture": _sizes(config)}


def _sizes(config: MiVOLOConfig) -> dict[str, Any]:
    """Everything but the drop rates, which belong to a training run and not to the weights."""
    return {name: value for name, value in config.to_json().items() if not name.endswith("_rate")}


def _write(path: Path, data: bytes) -> None:
    """Through a neighbour file, so that a reader never sees half of it."""
    neighbour = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        neighbour.write_bytes(data)
        neighbour.replace(path)
    except OSError as error:
        with suppress(OSError):  # the place may not exist at all
            neighbour.unlink()
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
