"""Parquet files that Hugging Face datasets loads: one row for each label, with its interval and its provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from annotator.export.provenance import SCHEMA as PROVENANCE
from annotator.export.provenance import RowGroups, labelled
from annotator.export.rows import CORNERS
from annotator.export.shards import Shards

ALL_NAME = "all"
FOLDER = "data"
_GROUP_ROWS = 20_000
_GROUP_ROWS_WITH_PICTURES = 200
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_FEATURES = {"int64": "int64", "double": "float64", "string": "string"}


def schema(*, pictures: bool) -> Any:
    """The columns: ``image`` where pictures are inside, whole pixels for boxes (null where there is none)."""
    known = [PROVENANCE.field(name) for name in PROVENANCE.names if name != "split"]
    boxes = [pa.field(name, pa.int64()) for name in CORNERS]
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
        names = tuple(splits)
        self._is_split = bool(names)
        self._group = _GROUP_ROWS if pictures is None else _GROUP_ROWS_WITH_PICTURES
        self._shards = {
            name: Shards(
                folder / FOLDER, name, "parquet", rows, lambda path: RowGroups(path, self._schema, self._group)
            )
            for name in names or (ALL_NAME,)
        }

    def __enter__(self) -> ParquetTables:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            for shards in self._shards.values():
                shards.close()

    def add(self, lines: Any) -> None:
        """People; those without a label are left out."""
        known = labelled(lines)
        for name, shards in self._shards.items():
            rest = known.filter(pc.equal(known["split"], name)) if self._is_split else known
            while len(rest):
                file, taken = shards.share(min(len(rest), self._group))
                file.add(self._rows(rest.slice(0, taken)))
                rest = rest.slice(taken)

    def _rows(self, lines: Any) -> Any:
        found = {name: lines[name] for name in self._schema.names if name != "image"}
        for kind in ("face", "body"):
            corners = [name for name in CORNERS if name.startswith(kind)]
            is_box = reduce(pc.or_, (pc.not_equal(lines[name], -1) for name in corners))
            found |= {name: pc.if_else(is_box, lines[name], None) for name in corners}
        if self._pictures is not None:
            names = pc.coalesce(lines["crop"], lines["img_name"]).to_pylist()
            content = [{"bytes": (self._pictures / name).read_bytes(), "path": name} for name in names]
            found["image"] = pa.array(content, _IMAGE)
        return pa.table([found[name] for name in self._schema.names], names=self._schema.names).cast(self._schema)
