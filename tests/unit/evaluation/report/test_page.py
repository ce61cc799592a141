"""The report page: complete, self-contained, and honest where there is nothing to measure."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from annotator.ensemble.cascade import CascadeReport
from annotator.evaluation.report import figures
from annotator.evaluation.report.data import AnnotatorRow, CascadePrice, Progress, ReportData
from annotator.evaluation.report.page import render
from tests.helpers.report_data import people, report


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
    progress = Progress(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None)
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
    assert re.fullmatch(
        r"two - one: [+-]\d.\d years on average, for 95 % of the people between [+-].* and [+-].*", caption
    )
    assert svg.count("<use") <= 3000 + 100


def test_alarms_stand_at_the_top_and_the_cascade_has_its_price() -> None:
    played = CascadeReport(2000, 600, 0.0, 3.2, 3.35, 0.44, 0.41)
    price = CascadePrice("mivolo", 4.0, 10_000, 3_000, 7_200.0, 3_600.0, played)
    html = render(replace(report(people(400)), alarms=["the intervals held only 80 %"], cascade=price))
    assert html.index("the intervals held only 80 %") < html.index("Summary")
    for words in ("2.0 h", "of 10,000 that mivolo saw", "3.35 y", "3.20 y with everybody asked", "41 %"):
        assert words in html


def test_intervals_stay_within_what_is_possible() -> None:
    columns = people(60, known_share=1.0)
    sure = replace(columns, age_low=columns.age - 90, age_high=columns.age + 90)
    measured = figures.interval_coverage(sure)
    assert measured is not None
    assert measured[0] == 1.0
    assert "105" not in measured[2]
    few = replace(columns, truth_age=np.where(np.arange(60) < 58, 30.0, 80.0))
    assert figures.mae_by_age(few) is not None


def test_biases_by_age_are_a_table_of_their_own() -> None:
    rows = [
        AnnotatorRow("ann", 100, 5, 3.0, 0.1, 4.0, 0.9, 1.0, 7.0, (), ((0, 1.25, 12), (70, -3.0, 4))),
        AnnotatorRow("bo", 90, 3, 3.0, 0.1, 4.0, 0.9, 1.0, 7.0, (), ((20, 0.5, 3),)),
        AnnotatorRow("without controls", 80, 0, 3.0, 0.1, 4.0, 0.9, 1.0, 7.0),
    ]
    html = render(replace(report(people(50)), annotators=rows))
    assert "<th>from 0</th><th>from 20</th><th>from 70</th>" in html
    assert "<td>ann</td><td>+1.2 (12)</td><td>-</td><td>-3.0 (4)</td>" in html
    assert html.count("without controls") == 1
    assert "Bias by the age" not in render(report(people(50)))


def test_given_labels_are_labels() -> None:
    assert "<b>170</b>labels in all" in render(report(people(50)))  # 12 settled, 150 accepted, 8 given


def test_annotators_who_look_odd_come_first_and_thousands_are_not_listed() -> None:
    rows = [AnnotatorRow(f"ann{n:04d}", 100, 5, 3.0, 0.1, 4.0, 0.9, 1.0, 7.0) for n in range(2000)]
    rows.append(AnnotatorRow("the odd one", 20, 5, 3.0, 0.1, 4.0, 0.9, 1.0, 7.0, ("answers 30 most of the time",)))
    html = render(replace(report(people(50)), annotators=rows))
    assert html.index("the odd one") < html.index("ann0000")
    assert "1,961 more are left out" in html
    assert len(html) < 2_000_000
