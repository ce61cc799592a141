"""One benchmark from its folder to its rows: read, checked, asked, fused, measured, compared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from annotator.demo.evaluate import EVALUATION_SEED
from annotator.demo.figures import write_pictures
from annotator.errors import InputError, StorageError
from annotator.evaluation.answers import Answers
from annotator.evaluation.measuring import Row, Versus, compare_pairs, measure
from annotator.pipeline.evaluate.cache import PredictionCache
from annotator.pipeline.evaluate.ensembles import cross_fitted, uncalibrated
from annotator.pipeline.evaluate.run import Run, ask_everybody
from annotator.pipeline.evaluate.variants import Answer, Crops, Variant
from annotator.pipeline.watch import SILENT, Watch
from annotator.protocols.catalogue import DEMO_TRUTH, Benchmark
from annotator.protocols.checks import FolderCheck, check_folder, images_there, refuse_partial
from annotator.protocols.folders import read_own
from annotator.protocols.nano import draw_nano, nano_list
from annotator.protocols.people import People
from annotator.settings import Settings

CACHE_NAME = "evaluation.db"
DEMO_PICTURES = 100
PRIVATE = "{0} is a private set of the paper; measure your own photos with --benchmark custom --annotations CSV"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a benchmark lies: its ``folder``, or ``annotations`` in LAGENDA columns with their ``images``."""

    folder: Path
    annotations: Path | None = None
    images: Path | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """How to run. ``limit`` stops after so many people; a folder that is not whole is refused unless ``partial``.

    ``crops`` is the rule of MiVOLO's crops, ``answer`` the estimate of multimodal models (``None``: as set).
    """

    crops: Crops = "dataset"
    answer: Answer | None = None
    partial: bool = False
    limit: int | None = None
    seed: int = 0
    cross_fit: bool = False
    grouped: bool = True


@dataclass(frozen=True, slots=True)
class Loaded:
    """A benchmark that was read and checked; ``drawn`` is the list of NanoLAGENDA, ``partial`` marks a part of it."""

    benchmark: Benchmark
    people: People
    check: FolderCheck
    partial: bool
    drawn: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that came out of a benchmark; ``answers`` are the predictors' and then the ensembles'."""

    loaded: Loaded
    run: Run
    answers: tuple[Answers, ...]
    rows: tuple[Row, ...]
    versus: tuple[Versus, ...]
    notes: tuple[str, ...]


def load_benchmark(benchmark: Benchmark, place: Place, request: Request) -> Loaded:
    """The people of a benchmark, checked against what was published.

    Raises:
        StorageError, InputError: it cannot be read, or is not whole and ``partial`` was not asked for; says what is
            wrong where.
    """
    if benchmark.name == "demo":
        _draw(place.folder)
    problem = None if place.annotations else absent(benchmark, place.folder)
    if problem:
        raise StorageError(problem)
    if place.annotations is not None:
        people = read_own(place.annotations, place.images, benchmark.classes)
    else:
        people = benchmark.read(place.folder)
        people = people if place.images is None else replace(people, root=place.images)
    if not people.known.any():
        raise InputError(f"{benchmark.name}: nobody in the annotations has an age or a gender; nothing can be measured")
    check = check_folder(benchmark, people)
    if not request.partial:
        refuse_partial(benchmark, people, check)
    there = images_there(people)
    if not there.any():
        raise InputError(f"{benchmark.name}: none of the images is in {people.root}; give their folder with --images")
    people = people if there.all() else people.on_images(there)
    drawn = None
    if benchmark.name == "nanolagenda":
        people = draw_nano(people, request.seed)
        drawn = nano_list(people)
    limited = request.limit is not None and request.limit < int(people.known.sum())
    return Loaded(benchmark, _first(people, request.limit), check, limited or not check.whole, drawn)


def absent(benchmark: Benchmark, folder: Path) -> str | None:
    """Why there is nothing to run on; ``None`` where there is a folder."""
    if folder.is_dir():
        return None
    if benchmark.private:
        return PRIVATE.format(benchmark.title)
    return f"{benchmark.title} is not in {folder}; `annotator evaluate --list` says where to get it"


def evaluate(
    loaded: Loaded, variants: Sequence[Variant], request: Request, settings: Settings, *, watch: Watch = SILENT
) -> Evaluation:
    """Runs the variants in one pass; predictions that are known are reused.

    Raises:
        WeightsInvalid, ConfigurationError: a predictor cannot be used.
        InputError: nobody got an answer.
    """
    cache = PredictionCache(cache_path(settings))
    try:
        run = ask_everybody(loaded.people, variants, cache, settings, classes=loaded.benchmark.classes, watch=watch)
    finally:
        cache.close()
    watch.begin("rows measured")
    ensembles, notes = _ensembles(run, request)
    answers = (*run.answers, *ensembles)
    rows = measure(run.truths, answers, grouped=request.grouped, seed=request.seed)
    if not any(row.n for row in rows):
        raise InputError(f"{loaded.benchmark.name}: no predictor had an answer for anybody; {_dropped(rows)}")
    versus = compare_pairs(run.truths, answers, seed=request.seed)
    return Evaluation(loaded, run, answers, tuple(rows), tuple(versus), (*_notes(loaded, variants), *notes))


def cache_path(settings: Settings) -> Path:
    """Where predictions for people of benchmarks are kept."""
    return settings.path(settings.data_dir) / CACHE_NAME


def _draw(folder: Path) -> None:
    """Draws the demo's benchmark where there is none yet; a folder is whole or not there."""
    if (folder / DEMO_TRUTH).is_file():
        return
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        write_pictures(part, DEMO_PICTURES, EVALUATION_SEED)
        part.rename(folder)
    except OSError as error:
        raise StorageError(f"cannot draw the benchmark into {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _first(people: People, limit: int | None) -> People:
    """The first ``limit`` people with a truth; the others are there to be blanked."""
    known = np.flatnonzero(people.known)
    if limit is None or limit >= len(known):
        return people
    beyond = np.zeros(len(people), np.bool_)
    beyond[known[limit:]] = True
    return people.unlabelled(beyond)


def _ensembles(run: Run, request: Request) -> tuple[list[Answers], list[str]]:
    """One ensemble per kind of input that two predictors or more were given, and why one could not be fitted."""
    found: list[Answers] = []
    notes = []
    for inputs in dict.fromkeys(one.inputs for one in run.answers):
        members = [one for one in run.answers if one.inputs == inputs]
        if len(members) < 2:
            continue
        found.append(uncalibrated(run.truths, members))
        if request.cross_fit:
            try:
                found.append(cross_fitted(run.truths, members, request.seed))
            except InputError as error:
                notes.append(f"the ensemble was not cross-fitted: {error}")
    return found, notes


def _notes(loaded: Loaded, variants: Sequence[Variant]) -> list[str]:
    notes = [f"note: {notice}" for notice in sorted({v.model.notice for v in variants if v.model.notice})]
    if loaded.benchmark.note:
        notes.append(f"note: {loaded.benchmark.note}")
    if loaded.people.rule is not None:
        notes.append("note: boxes follow from the size of each image, for there were no annotations of the reference")
    if loaded.check.missing:
        notes.append(f"left out: {len(loaded.check.missing):,} images that are not there")
    return notes


def _dropped(rows: Sequence[Row]) -> str:
    return "; ".join(
        f"{row.predictor}: " + ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in row.dropped.items())
        for row in rows
    )
