"""Filling a benchmark's page: tables, groups of the best predictor, and pictures of those it was most wrong about."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from annotator.domain import Gender
from annotator.evaluation.answers import STATES, Answers, Truths
from annotator.evaluation.benchmark_files import group_grid, versus_line
from annotator.evaluation.beside import benchmark_grid
from annotator.evaluation.classes import CLASS_RANGES
from annotator.evaluation.measuring import age_loss
from annotator.evaluation.report.benchmark import BenchmarkPage, render_benchmark
from annotator.evaluation.report.data import HardPerson
from annotator.pipeline.evaluate.benchmark import Evaluation
from annotator.pipeline.thumbnail import file_reader, readable, thumbnail
from annotator.settings import Settings

WORST = 24
"""People in the gallery."""

_LETTERS = {1: Gender.FEMALE.value, 0: Gender.MALE.value}


def benchmark_page(result: Evaluation, settings: Settings) -> str:
    """The page of an evaluation as HTML."""
    loaded, truths = result.loaded, result.run.truths
    best = best_row(result)
    row = result.rows[best]
    return render_benchmark(
        BenchmarkPage(
            title=f"{loaded.benchmark.title}: measured",
            created=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            lead=f"{len(truths):,} people on {len(set(truths.image.tolist())):,} images"
            + (", a part of what was published" if loaded.partial else ""),
            grid=benchmark_grid(loaded.benchmark.name, result.rows, loaded.partial),
            versus=[versus_line(one, truths.classes is not None) for one in result.versus],
            truths=truths,
            answers=result.answers,
            rows=result.rows,
            groups=[(f"{row.predictor}, {row.sees}: by {kind}", group_grid(row, kind)) for kind in row.groups],
            worst=_worst(result, result.answers[best], settings),
            notices=result.notes,
        )
    )


def best_row(result: Evaluation) -> int:
    """Which row has the least error of age; the first where nobody has one."""
    metric = "mae" if result.run.truths.classes is None else "class_mae"
    values = [row.metrics[metric].value for row in result.rows]
    return int(np.argmin([np.inf if np.isnan(value) else value for value in values]))


def _worst(result: Evaluation, best: Answers, settings: Settings) -> list[HardPerson]:
    loss = age_loss(result.run.truths, best)
    order = np.argsort(-np.nan_to_num(loss, nan=-1.0), kind="stable")[:WORST]
    return [_person(result, int(place), settings) for place in order if np.isfinite(loss[place])]


def _person(result: Evaluation, place: int, settings: Settings) -> HardPerson:
    people, truths, row = result.loaded.people, result.run.truths, int(result.run.rows[place])
    pixels = readable(file_reader(people.root / people.images[people.image[row]], settings), settings)
    box = None
    if pixels is not None:
        face, body = people.boxes(row, pixels.shape[1], pixels.shape[0])
        box = body or face
    said = [f"{one.predictor}, {one.sees}: {_said(one, place)}" for one in result.answers]
    return HardPerson(truths.ids[place], thumbnail(pixels, box), f"true: {_true(truths, place)}", said, ())


def _true(truths: Truths, place: int) -> str:
    if truths.classes is not None:
        age = CLASS_RANGES[truths.classes][truths.age_class[place]] if truths.age_class[place] >= 0 else "unknown age"
    else:
        age = "unknown age" if np.isnan(truths.age[place]) else f"{truths.age[place]:g}"
    return f"{age} {_LETTERS.get(int(truths.gender[place]), '')}".strip()


def _said(one: Answers, place: int) -> str:
    if np.isnan(one.age[place]):
        return str(STATES[one.state[place]]).replace("_", " ")
    return f"{one.age[place]:.1f} {_LETTERS.get(int(one.gender[place]), '')}".strip()
