"""`annotator evaluate` as a user types it; the drawn benchmark is measured with the demo's real weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.protocols.catalogue import BENCHMARKS
from tests.helpers.benchmark_folders import fairface, lagenda

Run = Callable[..., Any]


def test_the_demo_benchmark_from_nothing_and_again_from_what_is_known(run: Run, tmp_path: Path) -> None:
    done = run("evaluate", "--benchmark", "demo", "--limit", 60)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "drawn figures: 60 people"
    rows = [line for line in lines if line.startswith("measured on a part")]
    assert [line.split("  ")[1].strip() for line in rows] == ["demo-mivolo", "demo-mllm", "ensemble"]
    assert "note: demo weights: they know drawn figures only" in lines
    data = json.loads((tmp_path / "evaluation" / "demo" / "results.json").read_text())
    assert all(row["mae"] < 6 and row["gender_accuracy"] > 0.9 for row in data["rows"])
    again = run("evaluate", "--benchmark", "demo", "--limit", 60, "--json")
    known = json.loads(again.out)
    assert (known["reused"], known["asked"]) == (120, {})
    assert [row["mae"] for row in known["rows"]] == [row["mae"] for row in data["rows"]]


def test_a_recommendation_ends_with_one_sentence(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from annotator.pipeline.evaluate import speed

    assert run("evaluate", "--benchmark", "demo", "--limit", 1, "--predictor", "demo-mivolo").code == 0
    monkeypatch.setattr(speed, "SECONDS", 0.2)
    truth = tmp_path / "benchmarks" / "demo" / "truth.csv"
    done = run("evaluate", "--recommend", "--annotations", truth, "--limit", 20, "--predictor", "demo-mivolo")
    assert done.code == 0, done.err
    *_, head, row, _, sentence = done.out.splitlines()
    assert head.split()[-3:] == ["MB", "ensemble's", "gain"]
    cells = [cell.strip() for cell in row.split("  ") if cell.strip()]
    assert cells[0] == "demo-mivolo"
    assert float(cells[-4].replace(",", "")) > 1  # people a second
    assert 100 < float(cells[-3].replace(",", "")) < 20_000  # MB
    assert sentence.startswith("Use demo-mivolo on body+face: on your ")
    assert sentence in (tmp_path / "evaluation" / "custom" / "results.md").read_text()


def test_the_list_names_everything_to_get(run: Run) -> None:
    done = run("evaluate", "--list")
    assert done.code == 0
    for benchmark in BENCHMARKS:
        assert f"{benchmark.name}: {benchmark.title}" in done.out
    assert "wild104: Wild104 (private)" in done.out
    assert "84,192 people, 67,159 images" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name one with --benchmark or --table"),
        (("--benchmark", "custom"), "needs --annotations"),
        (("--recommend",), "needs --annotations"),
        (("--table", "8", "--benchmark", "lagenda"), "leave out --benchmark"),
        (("--table", "11"), "10"),
        (("--benchmark", "lagend"), "lagend"),
        (("--table", "8", "--as", "mine"), "MODEL=NAME"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run("evaluate", *arguments)
    assert done.code == 2
    assert message in done.err


def one_line(done: Any) -> str:
    assert done.code == 1
    lines = [line for line in done.err.splitlines() if line.startswith("annotator: ")]
    assert len(lines) == 1, done.err
    return str(lines[0])


def test_what_is_wrong_with_a_benchmark_is_one_line(run: Run, tmp_path: Path) -> None:
    assert "LAGENDA test set is not in benchmarks/lagenda" in one_line(run("evaluate", "--benchmark", "lagenda"))
    assert "Wild104 is a private set" in one_line(run("evaluate", "--benchmark", "wild104"))
    lagenda(tmp_path / "benchmarks" / "lagenda")
    assert "67,159 images were published" in one_line(run("evaluate", "--benchmark", "lagenda"))
    unknown = run("evaluate", "--benchmark", "lagenda", "--partial", "--predictor", "gpt-9")
    assert "unknown predictor 'gpt-9'; known are: demo-mivolo" in one_line(unknown)
    (tmp_path / "truth.csv").write_text("img_name,age\na.jpg,3\n")
    lost = run("evaluate", "--benchmark", "custom", "--annotations", "truth.csv")
    assert "no column gender, face_x0" in one_line(lost)
    assert not (tmp_path / "evaluation").exists()


def test_check_compares_counts(run: Run, tmp_path: Path) -> None:
    fairface(tmp_path / "data" / "fairface")
    done = run("evaluate", "--benchmark", "fairface", "--check", "--partial", "--data", "data")
    assert done.code == 0
    assert "people              5   published 10,954   differs" in done.out
    assert done.out.splitlines()[-1].endswith("fairface-img-margin125-trainval: a part")


def test_a_table_without_anything_is_printed_whole_and_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    done = run("evaluate", "--table", 10)
    assert done.code == 1
    assert sum(line.startswith("published") for line in done.out.splitlines()) == 6
    assert "Wild104 is a private set of the paper" in done.out
    assert "0 of 6 rows measured" in done.out
    assert "nothing of table 10 could be measured" in one_line(done)
    assert json.loads((tmp_path / "evaluation" / "table-10" / "table.json").read_text())["table"] == 10
