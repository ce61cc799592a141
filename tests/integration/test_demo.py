"""The demo: the whole loop with the shipped weights, small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotator.demo import DEMO_NOTICE
from annotator.store.session import open_store
from annotator.store.tables import ImageRow, LabelRow, PersonRow, PredictionRow, PreLabelRow, VoteRow
from tests.helpers.rows import content

ROOT = Path(__file__).parents[2]
TABLES = (ImageRow, PersonRow, PredictionRow, PreLabelRow, VoteRow, LabelRow)


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "annotator.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo on forty pictures and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, run("demo", str(folder), "--pictures", "40")


@pytest.mark.slow
def test_it_tells_what_a_person_wants_to_know(demo: tuple[Path, str]) -> None:
    folder, shown = demo
    for words in ("demo-mivolo", "demo-mllm", "ensemble", "flagged", "errors", "simulated votes", DEMO_NOTICE):
        assert words in shown
    for place in ("pictures", "dataset", "sheet.png", "report.html"):
        assert str(folder / place) in shown
        assert (folder / place).exists()
    with Image.open(folder / "sheet.png") as sheet:
        assert min(sheet.size) > 600
    assert len(list((folder / "dataset" / "images").iterdir())) >= 38


@pytest.mark.slow
def test_again_in_the_same_folder_changes_nothing(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    url = f"sqlite:///{folder}/annotator.db"
    with open_store(url) as store:
        before = content(store, *TABLES)
    dataset = (folder / "dataset" / "manifest.json").read_bytes()
    again: dict[str, Any] = json.loads(run("demo", str(folder), "--pictures", "40", "--json"))
    with open_store(url) as store:
        assert content(store, *TABLES) == before
    assert (folder / "dataset" / "manifest.json").read_bytes() == dataset
    assert again["scores"]["found"] <= again["scores"]["drawn"]
    assert again["labels"].keys() == {"accepted", "given", "settled"}


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "annotator.cli", "demo", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "is not empty and no earlier demo" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
