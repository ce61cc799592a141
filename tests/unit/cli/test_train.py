"""`annotator train` as it is typed, wrongly: one line, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.demo import weights_dir

Run = Callable[..., Any]


@pytest.mark.parametrize(("option", "value"), [("--precision", "float7"), ("--device", "gpu")])
@pytest.mark.parametrize("command", [("mivolo",), ("mllm", "--from", "demo-mllm")])
def test_unknown_values_are_refused(run: Run, command: tuple[str, ...], option: str, value: str) -> None:
    done = run("train", *command, "dataset", "out", option, value)
    assert done.code == 2
    assert f"'{value}' is none of" in done.err
    assert not Path("out").exists()


@pytest.mark.parametrize("command", [("mivolo",), ("mllm", "--from", "demo-mllm")])
def test_a_run_has_a_folder_of_its_own(run: Run, command: tuple[str, ...]) -> None:
    Path("file").touch()
    Path("dataset").mkdir()
    Path("dataset/manifest.json").write_text("{}")
    for out, says in (("file", "file is a file"), ("dataset", "dataset holds a dataset")):
        done = run("train", *command, "dataset", out)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert says in done.err
    assert [path.name for path in Path("dataset").iterdir()] == ["manifest.json"]


def test_a_base_is_named_by_its_folder(run: Run) -> None:
    file = weights_dir("demo-mllm") / "model.safetensors"
    for base, says in (
        (file, f"takes the folder that holds the model: {file.parent}"),
        ("models/nowhere", "there is no folder models/nowhere"),
        ("nowhere", "unknown predictor 'nowhere'"),
    ):
        done = run("train", "mllm", "dataset", "out", "--from", base)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert says in done.err
