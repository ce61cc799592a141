"""The report page: complete, self-contained, and honest where there is nothing to measure."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from annotator.evaluation.report import figures
from annotator.evaluation.report.data import AnnotatorRow, HardPerson, PeopleColumns, Progress, ReportData
from annotator.evaluation.report.page import render


def people(count: int, known_share: float = 0.5, seed: int = 0) -> PeopleColumns:
    rng = np.random.default_rng(seed)
    truth, difficulty = rng.uniform(0, 90, count), rng.uniform(1, 8, count)
    shared = rng.normal(0, 1, count) * difficulty
    ages = {name: np.clip(truth + 0.7 * shared + rng.normal(0, 2, count), 0, 120) for name in ("one", "two")}
    fused = (ages["one"] + ages["two"]) / 2
    known = rng.random(count) < known_share
    female = rng.integers(0, 2, count).astype(np.float64)
    return PeopleColumns(
        age=fused,
        age_low=fused - 2 * difficulty,
        age_high=fused + 2 * difficulty,
        female_probability=np.clip(female + rng.normal(0, 0.2, count), 0, 1),
        expected_error=difficulty,
        large_error_probability=difficulty / 10,
        priority=difficulty,
        review=difficulty > 6.5,
        settled=known,
        truth_age=np.where(known, truth, np.nan),
        truth_female=np.where(known, female, np.nan),
        trusted=known,
        predictions=ages,
    )


def report(columns: PeopleColumns) -> ReportData:
    progress = Progress(300, 298, len(columns), len(columns), 40, 12, 150, 500, 90, 7.5, [("ingest", "truncated", 2)])
    nan = float("nan")
    rows = [
        AnnotatorRow("ann@example.org", 120, 30, 3.1, 0.4, 3.9, 0.97, 1.2, 6.5),
        AnnotatorRow("<script>alert(1)</script>", 80, 0, nan, nan, nan, nan, 0.5, None, ("constant answers",)),
    ]
    hard = [
        HardPerson("0123456789abcdef-00", b"\xff\xd8jpeg", "female 33 (21-48)", ["one: 28"], ["no_face"], "http://ls/1")
    ]
    return ReportData("A report", "v1", "uncalibrated", "2026-01-02", progress, columns, rows, hard, ["only figures"])


class _Sources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.fetched += [value or "" for name, value in attrs if name in {"src", "srcset"} or (tag == "link")]


def test_the_page_needs_no_network_and_runs_no_script() -> None:
    parser = _Sources()
    parser.feed(render(report(people(400))))
    assert parser.fetched
    assert all(source.startswith("data:") for source in parser.fetched)
    assert parser.scripts == 0


def test_the_same_data_gives_the_same_bytes() -> None:
    data = report(people(400))
    assert render(data) == render(data)


def test_every_section_is_there_with_its_numbers() -> None:
    data = report(people(400))
    html = render(data)
    error = data.people.error[np.isfinite(data.people.error)]
    assert f"{error.mean():.2f} y" in html
    for text in (
        "What the review will catch",
        "Risk and coverage",
        "MAE by age",
        "truncated",
        "constant answers",
        "no face",
    ):
        assert text in html
    assert html.count("<svg") == 5 + 1 + 1
    assert "only figures" in html


def test_colours_follow_the_theme() -> None:
    html = render(report(people(400)))
    assert not re.search(r"#0[1a]0[02]0\d", html)
    assert "prefers-color-scheme: dark" in html


def test_without_truth_it_says_what_is_missing() -> None:
    html = render(report(people(400, known_share=0.0)))
    assert html.count("Not yet:") == 4
    assert "MAE of the pre-labels" not in html
    assert figures.review_curve(people(400, known_share=0.0)) is not None


def test_an_empty_project_renders() -> None:
    empty = people(0)
    progress = Progress(0, 0, 0, 0, 0, 0, 0, 0, 0, None)
    html = render(ReportData("Empty", "-", "-", "-", progress, empty))
    assert "No votes yet." in html


def test_coverage_is_that_of_the_trusted_people_only() -> None:
    columns = people(1000, known_share=1.0)
    wrong = replace(
        columns, trusted=np.arange(1000) < 500, truth_age=np.where(np.arange(1000) < 500, columns.age, -50.0)
    )
    measured = figures.interval_coverage(wrong)
    assert measured is not None
    assert measured[:2] == (1.0, 500)


@pytest.mark.parametrize("count", [50, 5000])
def test_a_scatter_shows_a_bounded_number_of_people(count: int) -> None:
    ((caption, svg),) = figures.predictor_pairs(people(count))
    assert caption.startswith("one and two")
    assert svg.count("<use") <= 3000 + 100
