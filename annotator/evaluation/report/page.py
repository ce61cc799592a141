"""The page itself: numbers, charts and pictures in one HTML file that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from annotator.evaluation.report import figures
from annotator.evaluation.report.data import AnnotatorRow, HardPerson, PeopleColumns, Progress, ReportData


@dataclass(frozen=True, slots=True)
class Tile:
    """One number at the top of the page, with what it means."""

    value: str
    name: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """One SVG with its heading and a sentence on how to read it."""

    title: str
    text: str
    svg: str | None
    empty: str = ""
    wide: bool = False


def render(data: ReportData) -> str:
    """The page as HTML; the same data gives the same bytes."""
    return template("page.html.jinja").render(
        data=data,
        tiles=_tiles(data.progress, data.people),
        charts=_charts(data.people),
        pairs=[Chart(caption, "", svg) for caption, svg in figures.predictor_pairs(data.people)],
        annotators=[_annotator(row) for row in data.annotators],
        annotator_chart=figures.annotator_bias(data.annotators),
        hardest=[hard_person(person) for person in data.hardest],
    )


def template(name: str) -> Template:
    """A template of this folder; everything that is put into it is escaped."""
    environment = Environment(
        loader=PackageLoader("annotator.evaluation.report", "."),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(name)


def _tiles(progress: Progress, people: PeopleColumns) -> list[Tile]:
    labelled = progress.settled + progress.accepted
    tiles = [
        Tile(f"{progress.people:,}", "people found", f"on {progress.images_done:,} of {progress.images:,} images"),
        Tile(f"{progress.pre_labelled:,}", "pre-labelled"),
        Tile(f"{progress.flagged:,}", "flagged for review", _share(progress.flagged, progress.pre_labelled)),
        Tile(f"{progress.settled:,}", "settled by people", f"from {progress.votes:,} votes"),
        Tile(f"{labelled:,}", "labels in all", f"{progress.accepted:,} of them accepted pre-labels"),
        Tile(f"{progress.votes_left:,}", "votes still wanted", _hours(progress)),
    ]
    known = np.isfinite(people.error) & people.trusted
    if known.sum() >= figures.MIN_KNOWN:
        errors = people.error[known]
        note = f"{100 * np.mean(errors <= figures.LARGE_ERROR_YEARS):.1f} % within 5 years, n = {len(errors):,}"
        tiles.insert(0, Tile(f"{errors.mean():.2f} y", "MAE of the pre-labels", note))
    if progress.failures:
        tiles.append(Tile(f"{sum(count for _, _, count in progress.failures):,}", "failures", "listed below"))
    return tiles


def _charts(people: PeopleColumns) -> list[Chart]:
    needs = f"needs {figures.MIN_KNOWN} people whose truth is known from controls, the audit or the ingested data"
    coverage = figures.interval_coverage(people)
    if coverage is None:
        interval = Chart("90 % intervals", "", None, needs)
    else:
        share, count, svg = coverage
        text = f"{100 * share:.1f} % of {count:,} known ages lie inside their interval; it promises 90 %."
        interval = Chart("90 % intervals", text, svg)
    gender, by_age = figures.gender_reliability(people), figures.mae_by_age(people)
    return [
        Chart("What the review will catch", "The higher above the dashed line, the better the order of the review.",
              figures.review_curve(people), "needs pre-labelled people"),
        Chart("Risk and coverage", "What is left in the labels when the least sure people go to review.",
              figures.risk_coverage(people), needs),
        interval,
        Chart("Calibration of gender", "On the dashed line, 80 % means 80 %.", gender, needs),
        Chart("MAE by age", "Where the models are weak, with 95 % intervals.", by_age, needs, wide=True),
    ]  # fmt: skip


def _annotator(row: AnnotatorRow) -> dict[str, str]:
    return {
        "name": row.name,
        "votes": f"{row.votes:,}",
        "controls": f"{row.controls:,}",
        "mae": _number(row.age_mae),
        "bias": _number(row.age_bias, sign=True),
        "sd": _number(row.age_sd),
        "gender": "-" if np.isnan(row.gender_accuracy) else f"{100 * row.gender_accuracy:.1f} %",
        "weight": _number(row.weight),
        "seconds": "-" if row.seconds is None else f"{row.seconds:.1f}",
        "suspicions": ", ".join(row.suspicions),
    }


def hard_person(person: HardPerson) -> dict[str, str | Sequence[str] | None]:
    """One card of the gallery."""
    picture = None
    if person.picture is not None:
        picture = "data:image/jpeg;base64," + base64.b64encode(person.picture).decode("ascii")
    return {
        "id": person.person_id,
        "picture": picture,
        "verdict": person.verdict,
        "predictions": person.predictions,
        "reasons": [reason.replace("_", " ") for reason in person.reasons],
        "link": person.link,
    }


def _number(value: float, sign: bool = False) -> str:
    return "-" if np.isnan(value) else f"{value:+.2f}" if sign else f"{value:.2f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % of them" if whole else ""


def _hours(progress: Progress) -> str:
    if progress.seconds_per_vote is None or progress.votes_left == 0:
        return ""
    hours = progress.votes_left * progress.seconds_per_vote / 3600
    return f"about {hours:,.1f} hours at {progress.seconds_per_vote:.0f} s a vote"
