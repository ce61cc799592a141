"""Reading datasets of ours again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from annotator.errors import InputError
from annotator.export.manifest import read_manifest


def checked_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a dataset.

    Raises:
        InputError: the folder holds none of ours.
    """
    found = read_manifest(folder)
    if found is None:
        raise InputError(f"{folder} holds no dataset: there is no manifest.json that `annotator export` wrote")
    return found


def image_splits(folder: Path) -> Iterator[tuple[str, str]]:
    """``(sha256, split)`` of every image with a label, as often as it has labels; none where there is no split."""
    file = pq.ParquetFile(folder / "provenance.parquet")
    for batch in file.iter_batches(columns=["image_sha256", "split"]):
        for sha256, split in zip(batch["image_sha256"].to_pylist(), batch["split"].to_pylist(), strict=True):
            if split is not None:
                yield sha256, split
