"""``provenance.parquet``: one row for each label, with all that led to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotator.export.spool import Line

_ROWS = 20_000

SCHEMA = pa.schema(
    [
        ("person_id", pa.string()),
        ("img_name", pa.string()),
        ("image_sha256", pa.string()),
        ("split", pa.string()),
        ("age", pa.float64()),
        ("age_sd", pa.float64()),
        ("age_low", pa.float64()),
        ("age_high", pa.float64()),
        ("gender", pa.string()),
        ("gender_probability", pa.float64()),
        ("source", pa.string()),
        ("method", pa.string()),
        ("vote_count", pa.int64()),
        ("votes", pa.string()),
        ("predictions", pa.string()),
        ("details", pa.string()),
        ("sampling_weight", pa.float64()),
    ]
)
"""``age`` is the exact one, in years, ``age_low`` to ``age_high`` its 90 % interval where one is known; ``votes`` (each
with its weight), ``predictions`` and ``details`` are JSON; ``sampling_weight`` says how often a training run should
draw the person, 1 being usual."""


class ProvenanceWriter:
    """Writes rows in batches; the same rows give the same bytes."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._rows: list[tuple[Any, ...]] = []

    def __enter__(self) -> ProvenanceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, line: Line, label: tuple[Any, ...], sampling_weight: float) -> None:
        """One label of the dataset."""
        self._rows.append((line.person_id, line.img_name, line.sha256, line.split, *label, sampling_weight))
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(_table(self._rows))
        self._rows.clear()


def _table(rows: Sequence[tuple[Any, ...]]) -> Any:
    """Rows in the order of the columns as an Arrow table."""
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)
