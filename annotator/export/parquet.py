"""Parquet files that Hugging Face datasets loads: one row for each label, with its interval and its provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotator.export.provenance import SCHEMA as PROVENANCE
from annotator.export.shards import Shards
from annotator.export.spool import LABEL_COLUMNS, Corners, Line

ALL_NAME = "all"
FOLDER = "data"
_GROUP_ROWS = 20_000
_GROUP_ROWS_WITH_PICTURES = 200
_COORDINATES = tuple(f"{kind}_{corner}" for kind in ("face", "body") for corner in ("x0", "y0", "x1", "y1"))
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_FEATURES = {"int64": "int64", "double": "float64", "string": "string"}


def schema(*, pictures: bool) -> Any:
    """The columns: ``image`` where pictures are inside, whole pixels for boxes (null where there is none)."""
    known = [PROVENANCE.field(name) for name in PROVENANCE.names if name != "split"]
    boxes = [pa.field(name, pa.int64()) for name in _COORDINATES]
    fields = ([pa.field("image", _IMAGE)] if pictures else []) + known + boxes
    features = {field.name: {"_type": "Image"} if field.name == "image" else _feature(field.type) for field in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: Any) -> dict[str, str]:
    return {"dtype": _FEATURES[str(kind)], "_type": "Value"}


class ParquetTables:
    """``data/SPLIT.parquet``, or numbered shards of ``rows`` rows; ``all`` without splits.

    ``pictures`` is the folder whose files go into the rows: the person's own picture where there is one, else the
    image; ``None`` leaves pictures out.
    """

    def __init__(self, folder: Path, splits: Iterable[str], rows: int, pictures: Path | None) -> None:
        self._pictures = pictures
        self._schema = schema(pictures=pictures is not None)
        (folder / FOLDER).mkdir()
        names = tuple(splits) or (ALL_NAME,)
        group = _GROUP_ROWS if pictures is None else _GROUP_ROWS_WITH_PICTURES
        self._shards = {
            name: Shards(folder / FOLDER, name, "parquet", rows, lambda path: _File(path, self._schema, group))
            for name in names
        }

    def __enter__(self) -> ParquetTables:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            for shards in self._shards.values():
                shards.close()

    def add(self, line: Line, weight: float) -> None:
        """One person; those without a label are left out."""
        if line.label is None:
            return
        row = {
            **dict(zip(LABEL_COLUMNS, line.label, strict=True)),
            "person_id": line.person_id,
            "img_name": line.img_name,
            "image_sha256": line.sha256,
            "sampling_weight": weight,
            **dict(zip(_COORDINATES, (*_known(line.face), *_known(line.body)), strict=True)),
        }
        if self._pictures is not None:
            name = line.crop or line.img_name
            row["image"] = {"bytes": (self._pictures / name).read_bytes(), "path": name}
        self._shards[line.split or ALL_NAME].next().add(row)


def _known(corners: Corners) -> tuple[int | None, ...]:
    return (None,) * 4 if corners == (-1, -1, -1, -1) else corners


class _File:
    def __init__(self, path: Path, columns: Any, group_rows: int) -> None:
        self._writer = pq.ParquetWriter(path, columns, compression="zstd")
        self._columns, self._group_rows = columns, group_rows
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._group_rows:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._columns))
        self._rows.clear()
