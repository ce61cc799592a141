"""Taking images out of a dataset that is there already: rows of every table, files, and the manifest's list."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotator.export.manifest import MANIFEST_NAME, dataset_id, read_manifest
from annotator.files import write_whole
from annotator.predictors.digests import file_digest

NAME_COLUMNS = ("img_name", "image", "file_name")
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
    names = _names(folder, manifest, digests)
    pictures = [folder / "images" / name for name in names]
    gone = sum(_remove(path) for path in pictures)
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == MANIFEST_NAME or "images" in path.relative_to(folder).parts[:1]:
            continue
        writer = {".csv": _without_csv, ".jsonl": _without_lines, ".json": _without_json, ".parquet": _without_parquet}
        if path.suffix in writer:
            gone += writer[path.suffix](path, names, digests)
    if gone:
        _rewrite_manifest(folder, manifest, gone)
    return gone


def _names(folder: Path, manifest: dict[str, Any], digests: Collection[str]) -> set[str]:
    """The images' names in the dataset: by the provenance, and by the files' own sha256."""
    listed = manifest.get("files", {})
    prefix = "images/"
    names = {
        path.removeprefix(prefix)
        for path, entry in listed.items()
        if path.startswith(prefix) and entry.get("sha256") in digests
    }
    for path in sorted(folder.rglob("*.parquet")):
        schema = pq.read_schema(path)
        if SHA_COLUMN in schema.names and "img_name" in schema.names:
            table = pq.read_table(path, columns=[SHA_COLUMN, "img_name"])
            found = table.filter(pc.is_in(table[SHA_COLUMN], value_set=_values(digests)))
            names |= set(found["img_name"].to_pylist())
    return names


def _values(texts: Collection[str]) -> Any:
    import pyarrow as pa

    return pa.array(sorted(texts), pa.string())


def _remove(path: Path) -> int:
    there = path.is_symlink() or path.exists()
    if there:
        path.unlink()
    return int(there)


def _without_csv(path: Path, names: Collection[str], _digests: Collection[str]) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        columns = list(rows.fieldnames or ())
        named = next((name for name in NAME_COLUMNS if name in columns), None)
        if named is None:
            return 0
        return _rewritten(path, rows, lambda row: row[named] in names, lambda out: _csv_writer(out, columns))


def _csv_writer(out: Any, columns: list[str]) -> Callable[[dict[str, Any]], object]:
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    return writer.writerow


def _without_lines(path: Path, names: Collection[str], digests: Collection[str]) -> int:
    with path.open(encoding="utf-8") as file:
        return _rewritten(path, file, lambda line: _mentions(json.loads(line), names, digests), lambda out: out.write)


def _without_json(path: Path, names: Collection[str], digests: Collection[str]) -> int:
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, list):
        return 0
    kept = [entry for entry in found if not _mentions(entry, names, digests)]
    if len(kept) != len(found):
        write_whole(path, (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode())
    return len(found) - len(kept)


def _mentions(entry: Any, names: Collection[str], digests: Collection[str]) -> bool:
    if not isinstance(entry, dict):
        return False
    said = [entry.get(column) for column in (*NAME_COLUMNS, SHA_COLUMN)]
    texts = [text.removeprefix("images/") for text in said if isinstance(text, str)]
    return any(text in names or text in digests for text in texts)


def _without_parquet(path: Path, names: Collection[str], digests: Collection[str]) -> int:
    table = pq.read_table(path)
    gone = None
    for column, values in [(SHA_COLUMN, digests), *((name, names) for name in NAME_COLUMNS)]:
        if column in table.column_names and str(table.schema.field(column).type) in ("string", "large_string"):
            found = pc.is_in(table[column], value_set=_values(values))
            gone = found if gone is None else pc.or_(gone, found)
    if gone is None or not pc.any(gone).as_py():
        return 0
    kept = table.filter(pc.invert(gone))
    with _replaced(path) as part:
        pq.write_table(kept, part, compression="zstd")
    return int(table.num_rows - kept.num_rows)


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
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
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
