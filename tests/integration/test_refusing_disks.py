"""A full disk and missing permissions, for real: one line each, nothing half-written, and it goes on afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from annotator.store.session import open_store
from annotator.store.tables import FailureRow, ImageRow
from tests.helpers.pictures import write_pictures
from tests.helpers.rows import content

ROOT = Path(__file__).parents[2]
PLAIN = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Starts a command that permission bits hold although root runs it."""


def run(folder: Path, *arguments: str, through: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """A command with stand-in models, possibly started by another one."""
    return subprocess.run(
        [*through, sys.executable, "-m", "tests.helpers.fake_cli", "--project", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    """The command ended with one line that holds ``words``."""
    assert done.returncode == 1, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("annotator: ")]
    assert len(said) == 1, done.stderr
    assert words in said[0]
    assert "Traceback" not in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Leaves that many free bytes on a disk."""
    filler = disk / "filler"
    status = os.statvfs(disk)
    filler.write_bytes(b"\0" * (status.f_bavail * status.f_frsize - leave))
    return filler


def test_a_full_disk_stops_ingest_with_one_line_and_it_goes_on_later(small_disk: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1500)
    assert run(small_disk, "init", str(small_disk)).returncode == 0
    filler = fill(small_disk, leave=150_000)
    refused(run(small_disk, "ingest", str(tmp_path / "in")), "space")
    filler.unlink()
    assert run(small_disk, "ingest", str(tmp_path / "in")).returncode == 0
    with open_store(f"sqlite:///{small_disk}/annotator.db") as store:
        found = content(store, ImageRow, FailureRow)
    assert (len(found["image"]), found["failure"]) == (1500, [])


def test_a_full_disk_leaves_no_half_dataset(small_disk: Path, tmp_path: Path) -> None:
    project = tmp_path / "x"
    write_pictures(tmp_path / "in", 30)
    for command in (("init", str(project)), ("ingest", str(tmp_path / "in")), ("prelabel",), ("settle",)):
        assert run(project, *command).returncode == 0
    fill(small_disk, leave=20_000)
    refused(run(project, "export", str(small_disk / "out"), "--images", "copy"), "space")
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler"]


def test_a_full_disk_at_the_very_beginning(small_disk: Path) -> None:
    (small_disk / "x").mkdir()
    fill(small_disk, leave=0)
    refused(run(small_disk, "init", str(small_disk / "x")), "space")
    assert list((small_disk / "x").iterdir()) == []


@pytest.fixture
def bound(tmp_path: Path) -> list[str]:
    """What a command must be started through so that permission bits hold it: root would ignore them."""
    if os.geteuid() != 0:
        return []
    (tmp_path / "closed").mkdir(mode=0o555)
    try:
        probe = subprocess.run([*PLAIN, "mkdir", str(tmp_path / "closed" / "x")], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("root cannot give up its rights here: there is no setpriv")
    if probe.returncode == 0:
        pytest.skip("root cannot give up its rights here: setpriv changed nothing")
    return PLAIN


def test_no_permission(tmp_path: Path, bound: list[str]) -> None:
    write_pictures(tmp_path / "in", 3)
    project = tmp_path / "x"
    assert run(project, "init", str(project)).returncode == 0
    assert run(project, "ingest", str(tmp_path / "in")).returncode == 0

    (tmp_path / "in").chmod(0o000)
    refused(run(project, "ingest", str(tmp_path / "in"), through=bound), "Permission denied")
    (tmp_path / "in").chmod(0o755)

    tmp_path.chmod(0o555)
    refused(run(tmp_path / "y", "init", str(tmp_path / "y"), through=bound), "permission denied")
    assert not (tmp_path / "y").exists()

    for file in project.glob("annotator.db*"):
        file.chmod(0o444)
    project.chmod(0o555)
    refused(run(project, "prelabel", through=bound), "may only be read")
    refused(run(project, "export", str(project / "out"), through=bound), "ermission")

    for folder in (tmp_path, project):
        folder.chmod(0o755)
