"""A dataset appears whole or not at all, and never at the cost of what is not ours."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.domain import Box
from annotator.errors import InputError, StorageError
from annotator.export import dataset
from annotator.export.manifest import Manifest, Recipe
from tests.helpers.export_rows import ExportImage, ExportRow, row_of, write_rows


def rows(count: int = 3) -> list[ExportRow]:
    images = (
        ExportImage(hashlib.sha256(b"%d" % i).hexdigest(), f"{i}.jpg", "/nowhere", "JPEG", 100, 100)
        for i in range(count)
    )
    return [row_of(image, 0, Box(1, 1, 50, 50), truth=(30, None)) for image in images]


def write(out: Path, recipe: Recipe, count: int = 3) -> Manifest:
    return write_rows(out, rows(count), recipe=recipe, images="none")


def test_an_empty_folder_and_an_older_dataset_are_replaced(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "out").mkdir()
    first = write(tmp_path / "out", recipe)
    second = write(tmp_path / "out", recipe, 5)
    assert second.id != first.id
    assert (tmp_path / "out/annotations.csv").read_text().count("\n") == 6
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_is_not_ours_is_never_touched(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        write(tmp_path / "home", recipe)
    (tmp_path / "home/manifest.json").write_text('{"kind": "something else"}')
    with pytest.raises(InputError, match="not empty"):
        write(tmp_path / "home", recipe)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="not a folder"):
        write(tmp_path / "file", recipe)
    write(tmp_path / "out", recipe)
    (tmp_path / "out/images").mkdir()
    (tmp_path / "out/images/mine.jpg").write_text("x")
    with pytest.raises(InputError, match=r"images/mine\.jpg"):
        write(tmp_path / "out", recipe)
    assert (tmp_path / "out/images/mine.jpg").exists()
    assert (tmp_path / "home/thesis.txt").exists()


def test_a_failure_on_the_way_leaves_the_old_dataset(tmp_path: Path, recipe: Recipe) -> None:
    old = write(tmp_path / "out", recipe)

    def broken() -> Iterator[ExportRow]:
        yield from rows(2)
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError):
        write_rows(tmp_path / "out", broken(), recipe=recipe, images="none")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert old.id in (tmp_path / "out/manifest.json").read_text()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (OSError(errno.EROFS, "Read-only"), "Read-only"),
    ],
)
def test_a_full_disk_is_one_line_and_nothing_is_left(
    error: OSError, says: str, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(dataset, "write_manifest", full)
    with pytest.raises(StorageError, match=says):
        write(tmp_path / "out", recipe)
    assert list(tmp_path.iterdir()) == []


def test_no_such_place_and_no_permission(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot write"):
        write(tmp_path / "file/out", recipe)
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(StorageError, match="ermission"):
            write(tmp_path / "locked/out", recipe)
