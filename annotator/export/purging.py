"""Taking images out of a dataset that is there already: rows of every table, files, and the manifest's list."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotator.export.manifest import MANIFEST_NAME, dataset_id, read_manifest
from annotator.files import write_whole
from annotator.predictors.digests import file_digest

NAME_COLUMNS = ("img_name", "image", "file_name")
ID_COLUMNS = ("person_id", "id")
SHA_COLUMN = "image_sha256"


def purge_dataset(folder: Path, digests: Collection[str]) -> int:
    """Remove every row and file of images, by sha256, from a dataset of ours; how many rows and files went.

    Each file is replaced whole, the manifest last: where this is interrupted it is done again.

    Raises:
        StorageError: a file cannot be written.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return 0
    gone = Gone(frozenset(digests), tuple(f"{digest[:16]}-" for digest in digests), _names(folder, manifest, digests))
    count = sum(_remove(folder / "images" / name) for name in gone.files)
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == MANIFEST_NAME or "images" in path.relative_to(folder).parts[:1]:
            continue
        if path.suffix in WRITERS:
            count += WRITERS[path.suffix](path, gone)
    if count:
        _rewrite_manifest(folder, manifest, count)
    return count


@dataclass(frozen=True, slots=True)
class Gone:
    """What is to go: images by sha256, their people by how ids begin, their files by name below ``images/``."""

    digests: frozenset[str]
    people: tuple[str, ...]
    files: frozenset[str]

    def holds(self, entry: Any) -> bool:
        """Whether an entry of a table is about one of them."""
        if not isinstance(entry, dict):
            return False
        said = {name: str(entry[name]) for name in (*NAME_COLUMNS, *ID_COLUMNS, SHA_COLUMN) if entry.get(name)}
        named = any(said.get(name, "").removeprefix("images/") in self.files for name in NAME_COLUMNS)
        known = any(said.get(name, "").startswith(self.people) for name in ID_COLUMNS)
        return named or known or said.get(SHA_COLUMN) in self.digests


def _names(folder: Path, manifest: dict[str, Any], digests: Collection[str]) -> frozenset[str]:
    """Names of the images in the dataset and of their people's pictures: by provenance, sha256 and person id."""
    prefix = "images/"
    people = tuple(f"{digest[:16]}-" for digest in digests)
    names = {
        path.removeprefix(prefix)
        for path, entry in manifest.get("files", {}).items()
        if path.startswith(prefix) and (entry.get("sha256") in digests or path.rsplit("/", 1)[-1].startswith(people))
    }
    for path in sorted(folder.rglob("*.parquet")):
        if {SHA_COLUMN, "img_name"} <= set(pq.read_schema(path).names):
            table = pq.read_table(path, columns=[SHA_COLUMN, "img_name"])
            found = table.filter(pc.is_in(table[SHA_COLUMN], value_set=_values(digests)))
            names |= set(found["img_name"].to_pylist())
    return frozenset(names)


def _values(texts: Collection[str]) -> Any:
    return pa.array(sorted(texts), pa.string())


def _remove(path: Path) -> int:
    there = path.is_symlink() or path.exists()
    if there:
        path.unlink()
    return int(there)


def _without_csv(path: Path, gone: Gone) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        columns = list(rows.fieldnames or ())
        return _rewritten(path, rows, gone.holds, lambda out: _csv_writer(out, columns))


def _csv_writer(out: Any, columns: list[str]) -> Callable[[dict[str, Any]], object]:
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    return writer.writerow


def _without_lines(path: Path, gone: Gone) -> int:
    with path.open(encoding="utf-8") as file:
        return _rewritten(path, file, lambda line: gone.holds(json.loads(line)), lambda out: out.write)


def _without_json(path: Path, gone: Gone) -> int:
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, list):
        return 0
    kept = [entry for entry in found if not gone.holds(entry)]
    if len(kept) != len(found):
        write_whole(path, (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode())
    return len(found) - len(kept)


def _without_parquet(path: Path, gone: Gone) -> int:
    """Row group by row group, because pictures may be inside."""
    count = 0
    with pq.ParquetFile(path) as file, _replaced(path) as part:
        schema = file.schema_arrow
        if SHA_COLUMN not in schema.names:
            return 0
        with pq.ParquetWriter(part, schema, compression="zstd") as out:
            for number in range(file.num_row_groups):
                table = file.read_row_group(number)
                kept = table.filter(pc.invert(pc.is_in(table[SHA_COLUMN], value_set=_values(gone.digests))))
                count += table.num_rows - kept.num_rows
                out.write_table(kept)
    return count


WRITERS: dict[str, Callable[[Path, Gone], int]] = {
    ".csv": _without_csv,
    ".jsonl": _without_lines,
    ".json": _without_json,
    ".parquet": _without_parquet,
}
"""How each kind of table loses its rows."""


def _rewritten(path: Path, rows: Any, is_gone: Callable[[Any], bool], open_writer: Callable[[Any], Any]) -> int:
    gone = 0
    with _replaced(path) as part, part.open("w", encoding="utf-8", newline="") as out:
        write = open_writer(out)
        for row in rows:
            if is_gone(row):
                gone += 1
            else:
                write(row)
    return gone


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that takes its place when the block ends well and has written it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        if part.exists():
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _rewrite_manifest(folder: Path, manifest: dict[str, Any], gone: int) -> None:
    files = {}
    for name, entry in manifest["files"].items():
        path = folder / name
        if name.startswith("images/"):
            if path.is_symlink() or path.exists():
                files[name] = entry
        elif path.exists():
            files[name] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
    manifest["files"] = files
    manifest["purged"] = int(manifest.get("purged", 0)) + gone
    manifest["id"] = dataset_id((name, entry["sha256"], entry["bytes"]) for name, entry in sorted(files.items()))
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    write_whole(folder / MANIFEST_NAME, text.encode())
