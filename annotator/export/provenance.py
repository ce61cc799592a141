"""``provenance.parquet``: one row for each label, with all that led to it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotator.export.rows import LABEL_COLUMNS

_ROWS = 20_000

SCHEMA = pa.schema(
    [
        ("person_id", pa.string()),
        ("img_name", pa.string()),
        ("image_sha256", pa.string()),
        ("split", pa.string()),
        *LABEL_COLUMNS.items(),
        ("sampling_weight", pa.float64()),
    ]
)
"""``age`` is the exact one, in years, ``age_low`` to ``age_high`` its 90 % interval where one is known; ``votes`` (each
with its weight), ``predictions`` and ``details`` are JSON; ``sampling_weight`` says how often a training run should
draw the person, 1 being usual."""


class ProvenanceWriter:
    """Writes rows in batches; the same rows give the same bytes."""

    def __init__(self, path: Path) -> None:
        self._file = RowGroups(path, SCHEMA, _ROWS)

    def __enter__(self) -> ProvenanceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, lines: Any) -> None:
        """People of the dataset, see :data:`~annotator.export.spool.LINES`; those without a label are left out."""
        self._file.add(labelled(lines).select(SCHEMA.names))


class RowGroups:
    """A Parquet file of row groups of ``rows`` rows each, however many rows come at a time."""

    def __init__(self, path: Path, columns: Any, rows: int) -> None:
        self._writer = pq.ParquetWriter(path, columns, compression="zstd")
        self._columns, self._rows = columns, rows
        self._waiting = columns.empty_table()

    def add(self, table: Any) -> None:
        """More rows."""
        self._waiting = pa.concat_tables([self._waiting, table])
        while len(self._waiting) >= self._rows:
            self._write(self._waiting.slice(0, self._rows))
            self._waiting = self._waiting.slice(self._rows)

    def close(self) -> None:
        """Finish the file."""
        if len(self._waiting):
            self._write(self._waiting)
        self._writer.close()

    def _write(self, table: Any) -> None:
        self._writer.write_table(table.combine_chunks())


def labelled(lines: Any) -> Any:
    """Those who have a label."""
    return lines.filter(pc.is_valid(lines["source"]))
