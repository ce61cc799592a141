"""The page itself: numbers, charts and pictures in one HTML file that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from annotator.evaluation.report import figures
from annotator.evaluation.report.data import (
    AnnotatorRow,
    CascadePrice,
    HardPerson,
    PeopleColumns,
    Progress,
    ReportData,
)


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
        annotators=[_annotator(row) for row in _worth_a_look(data.annotators)],
        biases=_biases(_worth_a_look(data.annotators)),
        annotators_hidden=max(0, len(data.annotators) - figures.MOST_ANNOTATORS),
        annotator_chart=figures.annotator_bias(data.annotators),
        hardest=[hard_person(person) for person in data.hardest],
        cascade=_cascade(data.cascade) if data.cascade else None,
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
    labelled = progress.settled + progress.accepted + progress.given
    tiles = [
        Tile(f"{progress.people:,}", "people found", f"on {progress.images_done:,} of {progress.images:,} images"),
        Tile(f"{progress.pre_labelled:,}", "pre-labelled"),
        Tile(f"{progress.flagged:,}", "flagged for review", _share(progress.flagged, progress.pre_labelled)),
        Tile(f"{progress.settled:,}", "settled by people", f"from {progress.votes:,} votes"),
        Tile(f"{labelled:,}", "labels in all", f"{progress.accepted:,} accepted, {progress.given:,} given"),
        Tile(f"{progress.votes_left:,}", "votes wanted at least", _hours(progress)),
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
        Chart("Calibration of gender", "On the dashed line, 80 % means 80 %; with 95 % intervals.", gender, needs),
        Chart("MAE by age", "Where the models are weak; 95 % intervals from five people on.", by_age, needs, wide=True),
    ]  # fmt: skip


def _worth_a_look(rows: Sequence[AnnotatorRow]) -> Sequence[AnnotatorRow]:
    """Those who look odd first, the others by their votes."""
    return sorted(rows, key=lambda row: (not row.suspicions, -row.votes, row.name))[: figures.MOST_ANNOTATORS]


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


def _biases(rows: Sequence[AnnotatorRow]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Age groups as headings, and each annotator's bias in them with the number of controls."""
    starts = sorted({start for row in rows for start, _, _ in row.bias_by_age})
    lines = []
    for row in rows:
        known = {start: f"{bias:+.1f} ({count:,})" for start, bias, count in row.bias_by_age}
        if known:
            lines.append((row.name, [known.get(start, "-") for start in starts]))
    return [f"from {start}" for start in starts], lines


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


def _cascade(price: CascadePrice) -> dict[str, list[Tile] | str]:
    played = price.played
    tiles = [
        Tile(f"{price.asked:,}", "people asked", f"of {price.people:,} that {price.first} saw"),
        Tile(duration(price.seconds_saved), "model time saved", f"{duration(price.seconds_spent)} were spent"),
    ]
    if played:
        tiles += [
            Tile(f"{played.mae_cascade:.2f} y", "MAE with the cascade", f"{played.mae_all:.2f} y with everybody asked"),
            Tile(
                f"{100 * played.recall_cascade:.0f} %",
                "large errors caught at 20 % review",
                f"{100 * played.recall_all:.0f} % with everybody asked",
            ),
        ]
    rule = (
        f"The other predictors see people on whom {price.first} alone is expected to err by more than {price.above:g} "
        "years, the audit's draw, people whose truth is given, and a random few."
    )
    measured = (
        f" Its price is played on {played.people:,} people whose truth is trusted."
        if played
        else " Its price is not known yet: too few people have a trusted truth."
    )
    return {"tiles": tiles, "text": rule + measured}


def duration(seconds: float) -> str:
    """A time span as people say it.

    >>> duration(42), duration(600), duration(7200)
    ('42 s', '10 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _number(value: float, sign: bool = False) -> str:
    return "-" if np.isnan(value) else f"{value:+.2f}" if sign else f"{value:.2f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % of them" if whole else ""


def _hours(progress: Progress) -> str:
    if progress.seconds_per_vote is None or progress.votes_left == 0:
        return ""
    hours = progress.votes_left * progress.seconds_per_vote / 3600
    return f"about {hours:,.1f} hours at {progress.seconds_per_vote:.0f} s a vote"
