"""Reads and writes MiVOLO weights in the two published layouts.

- The reference's ``.pth.tar``: a ``torch.save`` of a dict with ``state_dict``, ``min_age``, ``max_age``, ``avg_age``,
  ``no_gender`` and ``with_persons_model``.
- The Hugging Face folder of MiVOLO v2: ``model.safetensors``, names prefixed ``mivolo.model.``, and ``config.json``.

A configuration that the tensors do not show (the number of heads, a stem stride) travels under ``architecture``, which
other readers ignore.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from annotator.errors import AnnotatorError, ConfigurationError, WeightsInvalid, WeightsMissing
from annotator.predictors.mivolo.architecture import MiVOLO, MiVOLOConfig, ModelMeta
from annotator.predictors.mivolo.variant import check_fit, config_of

PREFIX = "mivolo.model."
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
STATE_KEYS = ("state_dict_ema", "model_ema", "state_dict")
"""Averaged weights come first, as the reference prefers them."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file says: its tensors under the architecture's names, and its other entries."""

    state: dict[str, Tensor]
    entries: Mapping[str, Any]


def load_model(path: str | Path, *, accelerated: bool = True) -> MiVOLO:
    """A MiVOLO in eval mode, float32, on the CPU, with its ``meta``.

    Args:
        path: a reference ``.pth.tar``, a folder with ``config.json`` and ``model.safetensors``, or a ``.safetensors``
            with its ``config.json`` beside it.
        accelerated: prepare the quick pass on a CPU; see `MiVOLO.accelerate`.

    Raises:
        WeightsMissing: a file is not there.
        WeightsInvalid: a file cannot be read, or its tensors and entries do not fit together; says which.
    """
    path = Path(path)
    try:
        model = _build(_read(path))
    except AnnotatorError as error:
        raise type(error)(f"{path}: {error}") from error
    if accelerated:
        model.accelerate()
    return model


def _read(path: Path) -> _Content:
    if not path.exists():
        raise WeightsMissing("no weights here; `annotator models pull` gets them")
    if path.is_dir():
        path = path / WEIGHTS_FILE
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> _Content:
    config = path.with_name(CONFIG_FILE)
    for file in (path, config):
        if not file.is_file():
            raise WeightsMissing(
                f"there is no {file.name}; `annotator models pull` gets that of a named model, a trained one is named "
                "by its model.pth.tar"
            )
    try:
        tensors = load_file(path)
        entries = json.loads(config.read_text(encoding="utf-8"))
    except (SafetensorError, ValueError, OSError) as error:
        raise WeightsInvalid(f"damaged or incomplete, fetch it again ({error})") from error
    if not isinstance(entries, dict):
        raise WeightsInvalid(f"{CONFIG_FILE} holds no JSON object")
    return _Content({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, entries)


def _read_torch(path: Path) -> _Content:
    try:
        # timm's training loop stores its arguments; a namespace holds data only
        with torch.serialization.safe_globals([argparse.Namespace]):
            entries = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsInvalid("not a checkpoint of tensors and numbers, or incomplete; fetch it again") from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise WeightsInvalid(f"damaged or incomplete, fetch it again ({error})") from error
    if not isinstance(entries, dict):
        raise WeightsInvalid("holds no dict with a state_dict")
    states = (entries[key] for key in STATE_KEYS if entries.get(key) is not None)
    state = next(states, None)
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsInvalid(f"holds no state dict under {', '.join(STATE_KEYS)}")
    return _Content({name.removeprefix("module."): tensor for name, tensor in state.items()}, entries)


def _build(content: _Content) -> MiVOLO:
    state = {name: tensor for name, tensor in content.state.items() if "fds." not in name}
    architecture = content.entries.get("architecture")
    config = config_of(state) if architecture is None else _given_config(architecture)
    meta = ModelMeta.of(config, *(_number(content.entries, name) for name in ("min_age", "max_age", "avg_age")))
    _check_entries(content.entries, config, meta)
    model = MiVOLO(config)
    check_fit(state, model.state_dict())
    model.load_state_dict(state, strict=False)  # strict but for the counters: check_fit has looked
    model.meta = meta
    model.eval()
    return model


def _given_config(architecture: Any) -> MiVOLOConfig:
    try:
        return MiVOLOConfig.from_json(architecture)
    except (ConfigurationError, TypeError) as error:
        raise WeightsInvalid(f"its entry 'architecture' cannot be used: {error}") from error


def _number(entries: Mapping[str, Any], name: str) -> float:
    value = entries.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WeightsInvalid(f"needs a number '{name}' to turn outputs into years, and has {value!r}")
    return value


def _check_entries(entries: Mapping[str, Any], config: MiVOLOConfig, meta: ModelMeta) -> None:
    """What a file says of its model must be what its tensors show."""
    if meta.max_age <= meta.min_age:
        raise WeightsInvalid(f"max_age {meta.max_age} is not above min_age {meta.min_age}")
    shown = {
        "with_persons_model": config.in_chans == 6,
        "no_gender": config.num_classes == 1,
        "only_age": config.num_classes == 1,
        "in_chans": config.in_chans,
        "num_classes": config.num_classes,
        "input_size": config.img_size,
    }
    for name, value in shown.items():
        if entries.get(name) is not None and entries[name] != value:
            raise WeightsInvalid(f"its entry {name} is {entries[name]!r}, its tensors show {value!r}")
