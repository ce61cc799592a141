"""The whole loop on drawn figures: pictures, people, predictions, review by simulated annotators, labels, a dataset."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from annotator.demo import DEMO_NOTICE
from annotator.demo.figures import write_pictures
from annotator.demo.votes import ANNOTATORS, simulate_votes
from annotator.domain import Truth
from annotator.errors import InputError
from annotator.evaluation.report.page import render
from annotator.files import write_whole
from annotator.pipeline.demo_score import DemoScores, known_people, people_to_ask, score_demo
from annotator.pipeline.demo_sheet import write_demo_sheet
from annotator.pipeline.export import export
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.project import create_project
from annotator.pipeline.refit import RefitReport
from annotator.pipeline.report import gather_report
from annotator.pipeline.settle import SettleReport, settle
from annotator.pipeline.settlement import settle_and_refit
from annotator.pipeline.status import status
from annotator.pipeline.votes import record_votes
from annotator.pipeline.watch import SILENT, Watch
from annotator.predictors.registry import open_models
from annotator.settings import CONFIG_NAME, Settings
from annotator.store.session import Store, open_store

CONTROL_SHARE = 0.1
"""Share of the pictures whose people are known beforehand: they tell how good each annotator is."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo did.

    ``fit`` is the calibration on the control pictures, by which everybody is pre-labelled; ``places`` says where
    everything lies, ``seconds`` what each part took.
    """

    pictures: int
    controls: int
    scores: DemoScores
    review: int
    people: int
    votes: int
    labels: Mapping[str, int]
    steps: Mapping[str, int]
    fit: RefitReport
    places: Mapping[str, Path]
    seconds: Mapping[str, float]
    notice: str


def run_demo(root: Path, *, pictures: int = 300, seed: int = 0, watch: Watch = SILENT) -> DemoReport:
    """Runs the loop in ``root`` (a new folder, or one of an earlier demo) on ``pictures`` drawn from ``seed``.

    The predictors get nothing but the pictures; what was drawn is only used by the simulated annotators, for the
    control pictures, and to score everybody in the end.

    Raises:
        InputError: the folder holds something else, or there are too few pictures.
    """
    if pictures < 2:
        raise InputError("a demo needs at least 2 pictures")
    clock = _Clock()
    settings = _project(root, seed)
    drawn = _draw(root, pictures, seed, watch)
    clock.lap("drawing")
    models = open_models(settings)
    with open_store(settings.resolved_database_url) as store:
        ingest(store, settings, [str(drawn.folder), str(drawn.controls)], watch)
        clock.lap("ingest")
        prelabel(store, settings, models, watch=watch)
        clock.lap("prelabel")
        fit = settle_and_refit(store, settings).fit
        verdict = prelabel(store, settings, models, watch=watch).triage
        clock.lap("calibration")
        known = known_people(store, drawn.truth)
        settled = _review(store, settings, known.truths)
        clock.lap("simulated review")
        export(store, settings, root / "dataset")
        clock.lap("export")
        scores = score_demo(store, known)
        votes = status(store, list_failures=0).votes
        places = _show(store, settings, root, known.truths)
        clock.lap("sheet and report")
    return DemoReport(
        pictures=pictures,
        controls=drawn.control_count,
        scores=scores,
        review=verdict.review,
        people=verdict.people,
        votes=votes,
        labels=settled.labels,
        steps=settled.steps,
        fit=fit,
        places={"pictures": drawn.folder, **places},
        seconds=clock.laps,
        notice=DEMO_NOTICE,
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The pictures' folder with its truth, and the table of the control pictures."""

    folder: Path
    truth: Path
    controls: Path
    control_count: int


class _Clock:
    """Seconds of each part."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 1)
        self._last = now


def _project(root: Path, seed: int) -> Settings:
    if root.exists() and any(root.iterdir()) and not (root / CONFIG_NAME).exists():
        raise InputError(f"{root} is not empty and no earlier demo; name another folder")
    return create_project(root, "demo").settings.model_copy(update={"profile": "demo", "seed": seed})


def _draw(root: Path, pictures: int, seed: int, watch: Watch) -> _Drawn:
    controls = max(1, round(CONTROL_SHARE * pictures))
    watch.note(f"drawing {pictures} pictures")
    truth = write_pictures(root / "pictures", pictures - controls, seed)
    known = write_pictures(root / "controls", controls, seed, first=pictures - controls)
    return _Drawn(root / "pictures", truth, known, controls)


def _review(store: Store, settings: Settings, truths: Mapping[str, Truth]) -> SettleReport:
    """Simulated annotators vote until the stop rule is content or all of them have: three first, then the others."""
    settled = settle(store, settings)
    for each in (min(settings.settle_min_votes, len(ANNOTATORS)), len(ANNOTATORS)):
        asked = [(person_id, truths[person_id]) for person_id in people_to_ask(store) if person_id in truths]
        record_votes(store, simulate_votes(asked, seed=settings.seed, votes_per_person=each))
        settled = settle(store, settings)
    return settled


def _show(store: Store, settings: Settings, root: Path, truths: Mapping[str, Truth]) -> dict[str, Path]:
    sheet, page = root / "sheet.png", root / "report.html"
    write_demo_sheet(store, settings, sheet, truths)
    write_whole(page, render(gather_report(store, settings, datetime.now(UTC))).encode())
    return {"dataset": root / "dataset", "sheet": sheet, "report": page, "settings": root / CONFIG_NAME}
