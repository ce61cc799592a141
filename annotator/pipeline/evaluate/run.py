"""All predictors over all people of a benchmark in one pass over its images.

Worker threads read, decode and crop a bounded number of images ahead; the calling thread fills full batches and asks
the models. Every batch is on disk before the next one is asked, so a run that was killed goes on where it was. What is
held in memory are columns of numbers, some images, and less than a batch of crops for each predictor.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from annotator.domain import Prediction
from annotator.evaluation.answers import STATES, Answers, Truths, empty_answers
from annotator.evaluation.metrics import Ints
from annotator.pipeline.evaluate.cache import ImageFacts, PredictionCache
from annotator.pipeline.evaluate.looking import Asked, Look, Looker
from annotator.pipeline.evaluate.variants import Variant
from annotator.pipeline.predict import predict_batch
from annotator.pipeline.watch import SILENT, Watch
from annotator.protocols.people import People
from annotator.settings import Settings

FACTS_AT_ONCE = 256


@dataclass(slots=True)
class Timing:
    """Seconds of a run: in all, loading models, inside models by version; ``asked`` counts people by version."""

    total: float = 0.0
    loading: float = 0.0
    models: dict[str, float] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def around(self) -> float:
        """Seconds neither inside the models nor spent on loading them: reading, cropping, waiting, keeping."""
        return self.total - self.loading - sum(self.models.values())


@dataclass(frozen=True, slots=True)
class Run:
    """What came out. ``rows`` are the people's rows that ``truths`` and ``answers`` are over.

    ``reused`` counts answers that were known already, ``unreadable`` the images that could not be read, by reason.
    """

    rows: Ints
    truths: Truths
    answers: tuple[Answers, ...]
    reused: int
    unreadable: Mapping[str, int]
    timing: Timing


def ask_everybody(
    people: People,
    variants: Sequence[Variant],
    cache: PredictionCache,
    settings: Settings,
    *,
    classes: str | None = None,
    watch: Watch = SILENT,
) -> Run:
    """Asks every variant about everybody with a truth, reusing what the cache knows.

    Raises:
        WeightsMissing, WeightsInvalid, ConfigurationError: a predictor cannot be loaded.
        StorageError: predictions cannot be kept.
    """
    asking = _Asking(people, variants, cache, settings)
    started = time.perf_counter()
    images = [(image, rows) for image, rows in enumerate(people.image_rows()) if people.known[rows].any()]
    watch.begin("images evaluated", len(images))
    for look in _looks(asking.looker, images, settings):
        asking.take(look)
        watch.step()
    asking.finish()
    asking.timing.loading = asking.looker.loading_seconds
    asking.timing.total = time.perf_counter() - started
    return asking.result(classes)


def _looks(looker: Looker, images: Sequence[tuple[int, Ints]], settings: Settings) -> Iterator[Look]:
    """Looks at images in order, at most ``batch_images`` of them ahead."""
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="look")
    try:
        ahead: deque[Future[Look]] = deque()
        for image, rows in images:
            ahead.append(pool.submit(looker.look, image, rows))
            if len(ahead) >= settings.batch_images:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Asking:
    """The state of one run: columns to fill, and crops that wait for a full batch."""

    def __init__(self, people: People, variants: Sequence[Variant], cache: PredictionCache, settings: Settings) -> None:
        self.looker = Looker(people, variants, cache, settings)
        self.timing = Timing()
        self._people, self._variants, self._cache = people, variants, cache
        self._rows = np.flatnonzero(people.known)
        self._place = np.full(len(people), -1, np.int64)
        self._place[self._rows] = np.arange(len(self._rows))
        self._answers = [_empty(variant, len(self._rows)) for variant in variants]
        self._heights = np.full((2, len(self._rows)), np.nan)
        self._waiting: dict[int, list[Asked]] = {}
        self._fresh: list[ImageFacts] = []
        self._unreadable: Counter[str] = Counter()
        self._reused = 0

    def take(self, look: Look) -> None:
        """What is known goes into the columns, what is not waits for its batch."""
        if look.error is not None:
            self._unreadable[look.error.reason] += 1
        if look.fresh is not None:
            self._fresh.append(look.fresh)
            if len(self._fresh) >= FACTS_AT_ONCE:
                self._keep_facts()
        for row, heights in look.heights.items():
            self._heights[:, self._place[row]] = [np.nan if height is None else height for height in heights]
        for row, variant, answer in look.known:
            self._fill(row, variant, answer)
        self._reused += len(look.known)
        for one in look.asked:
            waiting = self._waiting.setdefault(one.variant, [])
            waiting.append(one)
            if len(waiting) >= self._variants[one.variant].model.get().batch_size:
                self._ask(one.variant)

    def finish(self) -> None:
        """Asks about those who still wait."""
        for variant in list(self._waiting):
            self._ask(variant)
        self._keep_facts()

    def result(self, classes: str | None) -> Run:
        """The columns."""
        people, rows = self._people, self._rows
        truths = Truths(
            tuple(people.person_id(row) for row in rows.tolist()),
            people.image[rows],
            people.age[rows],
            people.age_class[rows],
            people.gender[rows],
            people.fold[rows],
            self._heights[0],
            self._heights[1],
            classes,
        )
        answers = tuple(replace(one, doubt=one.age_sd) for one in self._answers)
        return Run(rows, truths, answers, self._reused, dict(self._unreadable), self.timing)

    def _ask(self, variant: int) -> None:
        batch = self._waiting.pop(variant, [])
        if not batch:
            return
        model = self._variants[variant].model.get()
        started = time.perf_counter()
        answers = predict_batch(model, [one.prepared for one in batch])
        version = model.version
        self.timing.models[version] = self.timing.models.get(version, 0.0) + time.perf_counter() - started
        self.timing.asked[version] += len(batch)
        self._cache.keep((one.view, answer) for one, answer in zip(batch, answers, strict=True))
        same = [place for place, other in enumerate(self._variants) if other.model.version == version]
        for one, answer in zip(batch, answers, strict=True):
            for place in same:
                self._fill(one.row, place, answer)

    def _fill(self, row: int, variant: int, answer: Prediction) -> None:
        columns, place = self._answers[variant], self._place[row]
        columns.state[place] = STATES.index(answer.status.value)
        columns.age[place] = _number(answer.age)
        columns.age_sd[place] = _number(answer.age_sd)
        columns.female[place] = _number(answer.female_probability)
        columns.format_probability[place] = _number(answer.format_probability)

    def _keep_facts(self) -> None:
        self._cache.keep_images(self._fresh)
        self._fresh.clear()


def _empty(variant: Variant, n: int) -> Answers:
    model = variant.model
    return empty_answers(variant.name, variant.inputs, variant.sees, model.version, n, model.notice)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
