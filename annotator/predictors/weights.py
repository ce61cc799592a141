"""Names for weights: the sha256 of the files that make a model what it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from annotator.errors import WeightsMissing
from annotator.predictors.digests import file_digest

WEIGHT_PATTERNS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.pth.tar")
"""File names that hold tensors."""

CONFIG_FILE = "config.json"
SHORT_DIGITS = 12

SOURCE_FILE = "annotator-source.json"
"""Beside pulled weights: whence they came, and the sha256 of each file."""


def weight_files(path: Path) -> list[Path]:
    """The files that define the model at ``path``, sorted by name.

    A file stands for itself, together with the ``config.json`` beside it when it is a ``.safetensors`` (which means
    nothing without one). A folder stands for its weight files and its ``config.json``; sub-folders do not count.

    Raises:
        WeightsMissing: there is no such place, or a folder without weights.
    """
    config = (path if path.is_dir() else path.parent) / CONFIG_FILE
    if path.is_file():
        return sorted([path, config]) if path.suffix == ".safetensors" and config.is_file() else [path]
    found = {file for pattern in WEIGHT_PATTERNS for file in path.glob(pattern) if file.is_file()}
    if not found:
        raise WeightsMissing(f"no model weights at {path}; see `annotator models list` for what can be pulled")
    return sorted(found | ({config} if config.is_file() else set()))


def weights_digest(path: Path, *, fresh: bool = False) -> str:
    """The sha256 of a model, 64 hex digits; ``fresh`` reads every file whatever is remembered of it.

    One file: the sha256 of its bytes. Several: the sha256 over ``name NUL sha256 LF`` of each, sorted by name, so that
    it depends on neither the folder's place nor the order on disk.

    Raises:
        WeightsMissing: nothing is there.
        StorageError: a file cannot be read.
    """
    files = weight_files(path)
    if len(files) == 1:
        return file_digest(files[0], fresh=fresh)
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\0{file_digest(file, fresh=fresh)}\n".encode())
    return total.hexdigest()


def version_of(name: str, digest: str) -> str:
    """``<name>@<first 12 hex digits>``, the version that predictions and detections are stored under.

    >>> version_of("mivolo", "0123456789abcdef")
    'mivolo@0123456789ab'
    """
    return f"{name}@{digest[:SHORT_DIGITS]}"
