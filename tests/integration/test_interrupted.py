"""Killed, repeated, continued: the rows are those of a run that nobody disturbed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from annotator.store.session import open_store
from annotator.store.tables import (
    EventRow,
    FailureRow,
    ImageRow,
    ImageState,
    LabelRow,
    PersonRow,
    PredictionRow,
    PreLabelRow,
)
from tests.helpers.pictures import write_broken, write_pictures
from tests.helpers.rows import content

ROOT = Path(__file__).parents[2]
TABLES = (ImageRow, PersonRow, PredictionRow, PreLabelRow, FailureRow, LabelRow, EventRow)


def start(folder: Path, *arguments: str, seconds: float = 0.0) -> subprocess.Popen[str]:
    """The command line with stand-in models, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.fake_cli", "--project", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FAKE_SECONDS": str(seconds), "OMP_NUM_THREADS": "1"},
        preexec_fn=_hear_interrupts,
    )


def _hear_interrupts() -> None:
    """Whoever runs the tests in the background of a shell has interrupts switched off, which children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(folder: Path, *arguments: str) -> str:
    """Runs to the end; must succeed."""
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def rows(folder: Path, *tables: type) -> dict[str, list[tuple[object, ...]]]:
    with open_store(f"sqlite:///{folder}/annotator.db") as store:
        return content(store, *tables)


def predictions(folder: Path) -> int:
    with open_store(f"sqlite:///{folder}/annotator.db") as store, store.read() as session:
        return session.scalar(select(func.count()).select_from(PredictionRow)) or 0


def kill_after(folder: Path, wanted: int) -> None:
    """Starts to pre-label and kills the process, without any warning, once that many predictions are stored."""
    process = start(folder, "prelabel", seconds=0.05)
    deadline = time.monotonic() + 120
    while predictions(folder) < wanted and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of 180 pictures and 20 broken files, taken through the main job without disturbance."""
    base = tmp_path_factory.mktemp("interrupted")
    write_pictures(base / "in", 180)
    write_broken(base / "in", 20)
    run(base / "fresh", "init", str(base / "fresh"))
    run(base / "fresh", "ingest", str(base / "in"))
    shutil.copytree(base / "fresh", base / "whole")
    for command in ("prelabel", "settle"):
        run(base / "whole", command)
    return base


def test_all_good_ones_are_pre_labelled_and_each_broken_one_has_its_reason(undisturbed: Path) -> None:
    found = rows(undisturbed / "whole", *TABLES)
    assert [len(found[name]) for name in ("image", "person", "prediction", "pre_label")] == [180, 360, 720, 360]
    names = {str(row[2]) for row in found["failure"]}
    assert names == {f"broken{number:03d}.png" for number in range(20)}
    shown = run(undisturbed / "whole", "status")
    assert shown.count("failed ingest") == 20
    assert "180 done" in shown


@pytest.mark.slow
def test_killed_three_times_and_continued(undisturbed: Path, tmp_path: Path) -> None:
    broken = tmp_path / "killed"
    shutil.copytree(undisturbed / "fresh", broken)
    for wanted in (1, 150, 431):
        kill_after(broken, wanted)
    with open_store(f"sqlite:///{broken}/annotator.db") as store, store.read() as session:
        pending = select(func.count()).select_from(ImageRow).where(ImageRow.state == ImageState.PENDING)
        assert 0 < (session.scalar(pending) or 0) < 180
    for command in ("prelabel", "settle"):
        run(broken, command)
    assert rows(broken, *TABLES) == rows(undisturbed / "whole", *TABLES)


def test_everything_twice_adds_nothing(undisturbed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(undisturbed / "whole", again)
    before = rows(again, *TABLES)
    run(again, "ingest", str(undisturbed / "in"))
    for command in ("prelabel", "settle"):
        run(again, command)
    assert rows(again, *TABLES) == before


@pytest.mark.slow
def test_two_at_once_end_in_the_same_rows(undisturbed: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(undisturbed / "fresh", both)
    processes = [start(both, "prelabel") for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    run(both, "settle")
    tables = (ImageRow, PersonRow, PredictionRow, PreLabelRow, FailureRow, LabelRow)
    assert rows(both, *tables) == rows(undisturbed / "whole", *tables)


def test_an_interrupted_run_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    """Ctrl-C: no traceback, and the same command continues."""
    stopped = tmp_path / "stopped"
    shutil.copytree(undisturbed / "fresh", stopped)
    process = start(stopped, "prelabel", seconds=0.05)
    while predictions(stopped) < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode not in (0, None)
    assert "Traceback" not in err
    for command in ("prelabel", "settle"):
        run(stopped, command)
    assert rows(stopped, *TABLES) == rows(undisturbed / "whole", *TABLES)
