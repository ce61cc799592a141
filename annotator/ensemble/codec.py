"""A fit as JSON: plain numbers and names, no code, the same bytes for the same fit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, get_type_hints

import numpy as np

from annotator.ensemble.evidence import Floats
from annotator.ensemble.model import Fit
from annotator.ensemble.trees import Ints
from annotator.errors import InputError

FORMAT = 1
"""Raised when the meaning of a field changes; a fit of another format is refused, not guessed at."""

UNNAMED = ""


def fit_to_dict(fit: Fit) -> dict[str, Any]:
    """A JSON-able dictionary that `fit_from_dict` turns back into an equal fit."""
    return {"format": FORMAT, **_encode(fit)}


def fit_from_dict(data: Mapping[str, Any]) -> Fit:
    """Read what `fit_to_dict` wrote.

    Raises:
        InputError: it is not a fit, or one of another format.
    """
    if data.get("format") != FORMAT:
        raise InputError(f"the stored fit has format {data.get('format')!r}, this version reads {FORMAT}; fit again")
    try:
        decoded: Fit = _decode(Fit, data)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the stored fit is damaged ({error}); fit again") from error
    return decoded


def named(fit: Fit) -> Fit:
    """The fit with its version: a hash of everything else in it."""
    content = json.dumps(fit_to_dict(dataclasses.replace(fit, version=UNNAMED)), sort_keys=True, allow_nan=False)
    return dataclasses.replace(fit, version=f"ensemble-{hashlib.sha256(content.encode()).hexdigest()[:12]}")


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return dict(value) if isinstance(value, Mapping) else value


def _decode(kind: Any, data: Any) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: _decode(hints[field.name], data[field.name]) for field in dataclasses.fields(kind)})
    if kind in (Floats, Ints):
        return np.array(data, dtype=np.float64 if kind == Floats else np.int64)
    return data
