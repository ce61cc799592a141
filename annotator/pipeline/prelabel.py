"""Pre-labelling: people, predictions and one fused opinion for whatever is pending.

Everything is written under natural keys and an image leaves ``pending`` in the same transaction that writes its
pre-labels, so a run that was killed anywhere is continued by the next one and ends in the same rows.
"""

from __future__ import annotations

import copy
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from annotator.domain import Evidence, Prediction, PredictionStatus
from annotator.ensemble.fusion import fuse
from annotator.ensemble.model import Fit
from annotator.pipeline import failures
from annotator.pipeline.aside import AtOnce
from annotator.pipeline.cascade import cascade_in_force
from annotator.pipeline.detect import People, keep, known_people, look
from annotator.pipeline.failures import Failure
from annotator.pipeline.loading import LoadedBatch, LoadedImage, pending_batches, pending_rows
from annotator.pipeline.model_time import Stopwatch, add_time
from annotator.pipeline.predict import predictions
from annotator.pipeline.triage import TriageReport, triage
from annotator.pipeline.version import current_fit, ensemble_version, fits_in_force, remember_predictors
from annotator.pipeline.views import views_of
from annotator.pipeline.watch import SILENT, Watch
from annotator.predictors.base import PersonView, Predictor
from annotator.predictors.lazy import Lazy
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import EventRow, ImageRow, ImageState, MetaRow, PersonRow, PredictionRow, PreLabelRow
from annotator.store.upsert import insert_new, upsert

FUSED_AT_A_TIME = 500
"""Images whose people are fused in one transaction where all predictions are known."""

Known = dict[tuple[int, str], Prediction]
"""Predictions by person key and predictor name."""

Kept = tuple[People, list[tuple[ImageRow, Failure]]]
"""What `keep` gives: the people of images, and the images on which the detector failed."""


@dataclass(frozen=True, slots=True)
class PrelabelReport:
    """What one run did: counts of images and people, the version, and the triage over everybody."""

    version: str
    images: int
    people: int
    failed: int
    triage: TriageReport


def prelabel(
    store: Store,
    settings: Settings,
    models: ModelSet,
    *,
    limit: int | None = None,
    retry_failed: bool = False,
    watch: Watch = SILENT,
) -> PrelabelReport:
    """Pre-labels up to ``limit`` pending images, then triages everybody again.

    Pending are new images and those whose pre-label is of another version; with ``retry_failed`` also those that
    failed. One image's failure becomes a row with its reason. Models are loaded only if something is pending.
    """
    work = Prelabelling(store, settings, models)
    pending = work.plan(retry_failed=retry_failed)
    images = people = failed = 0
    watch.begin("images pre-labelled", pending if limit is None else min(pending, limit))
    for rows in pending_rows(store, FUSED_AT_A_TIME, limit):
        done = work.fuse_known(rows)
        images, people = images + done.images, people + done.people
        watch.step(done.images, done.people)
    for done in work.stream(pending_batches(store, settings, None if limit is None else limit - images)):
        images, people, failed = images + done.images, people + done.people, failed + len(done.failed)
        watch.step(done.images + len(done.failed), done.people)
    return PrelabelReport(work.version, images, people, failed, triage(store, settings))


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of one batch: pre-labelled images, the people on them, and what failed."""

    images: int
    people: int
    failed: list[Failure]


class Prelabelling:
    """One version of the ensemble at work on batches of images."""

    def __init__(self, store: Store, settings: Settings, models: ModelSet) -> None:
        self.store, self.settings, self.models = store, settings, models
        self._locks = tuple(threading.Lock() for _ in range(64))
        self.pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="prepare")
        self._calibrate()

    def _calibrate(self) -> None:
        self._in_force = fits_in_force(self.store)
        self.fit: Fit | None = current_fit(self.store, self.models)
        self.cascade = cascade_in_force(self.store, self.settings, self.models)
        self.version = ensemble_version(self.models, self.fit, self.cascade)

    def up_to_date(self) -> Prelabelling:
        """This one, or, where the ensemble was calibrated since, one with the new fit, the same models and locks."""
        if fits_in_force(self.store) == self._in_force:
            return self
        renewed = copy.copy(self)
        renewed._calibrate()
        return renewed

    def alone_with(self, sha256: str) -> threading.Lock:
        """A lock that keeps two threads from working on the same image at once."""
        return self._locks[int(sha256[:8], 16) % len(self._locks)]

    def plan(self, *, retry_failed: bool) -> int:
        """Marks what needs this version as pending; returns how many images are."""
        with self.store.write() as session:
            stale = (ImageRow.state == ImageState.DONE) & or_(
                ImageRow.version.is_(None), ImageRow.version != self.version
            )
            session.execute(update(ImageRow).where(stale).values(state=ImageState.PENDING))
            _remember_weights(session, self.models)
            remember_predictors(session, self.models)
            if retry_failed:
                _reopen_failed(session, [model.version for model in self.models.predictors])
            pending = select(func.count()).select_from(ImageRow).where(ImageRow.state == ImageState.PENDING)
            return session.scalar(pending) or 0

    def fuse_known(self, images: Sequence[ImageRow]) -> BatchReport:
        """Fuses the people of those images on which nothing is left to find or to ask; no picture is read."""
        found = known_people(self.store, self.models, images)
        everybody = [row for rows in found.values() for row in rows]
        with self.store.read() as session:
            known = stored_predictions(session, self.models, everybody)
        first = [image for image in images if image.id in found and not self._lack_first(found[image.id], known)]
        others = self._whom_others_see(first, found, known)
        ready = [image for image in first if not any(self._lacks(row, others, known) for row in found[image.id])]
        if ready:
            with self.store.write() as session:
                self._finish(session, ready, found, known)
        return BatchReport(len(ready), sum(len(found[image.id]) for image in ready), [])

    def process(self, batch: LoadedBatch) -> BatchReport:
        """Takes a batch from pixels to pre-labels."""
        return self._judge(batch, *keep(self.store, look(self.store, self.models, batch.images)), AtOnce()).result()

    def stream(self, batches: Iterable[LoadedBatch]) -> Iterator[BatchReport]:
        """`process` for each batch, with all writing beside the models' work; what was yielded is stored.

        Models never work at the same time: they would only take memory and cores from each other.
        """
        before: tuple[LoadedBatch, Future[Kept]] | None = None
        judged: deque[Future[BatchReport]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="write") as aside:  # one thread: what comes first is stored first
            for batch in batches:
                kept = aside.submit(keep, self.store, look(self.store, self.models, batch.images))
                if before:
                    judged.append(self._judge(before[0], *before[1].result(), aside))
                before = batch, kept
                while len(judged) > 1:
                    yield judged.popleft().result()
            if before:
                judged.append(self._judge(before[0], *before[1].result(), aside))
            yield from (one.result() for one in judged)

    def _judge(
        self, batch: LoadedBatch, people: People, undetected: list[tuple[ImageRow, Failure]], aside: Executor
    ) -> Future[BatchReport]:
        """Asks the predictors; the answers, and then the pre-labels, are stored by ``aside``."""
        lost = {row.id for row, _ in undetected}
        good = [image for image in batch.images if image.row.id not in lost]
        known, writes = self._predict(good, people, aside)
        images, failed = [image.row for image in good], [*batch.failed, *undetected]
        return aside.submit(self._close, images, people, known, failed, writes)

    def _close(
        self,
        images: Sequence[ImageRow],
        people: People,
        known: Known,
        failed: list[tuple[ImageRow, Failure]],
        writes: Sequence[Future[None]],
    ) -> BatchReport:
        for write in writes:
            write.result()
        with self.store.write() as session:
            _fail(session, failed)
            self._finish(session, images, people, known)
        count = sum(len(people[image.id]) for image in images)
        return BatchReport(len(images), count, [failure for _, failure in failed])

    def _predict(
        self, images: Sequence[LoadedImage], people: People, aside: Executor
    ) -> tuple[Known, list[Future[None]]]:
        """All predictions of these people: those in the store, and the missing ones, stored batch by batch."""
        rows = [row for image in images for row in people[image.row.id]]
        views = {row.id: view for image in images for row, view in views_of(image, people[image.row.id])}
        with self.store.read() as session:
            known = stored_predictions(session, self.models, rows)
        writes: list[Future[None]] = []
        for place, model in enumerate(self.models.predictors):
            if place == 1:
                others = self._whom_others_see([image.row for image in images], people, known)
                rows = [row for row in rows if row.id in others]
            missing = [row for row in rows if (row.id, model.name) not in known]
            if missing:
                busy = Stopwatch()
                for answered in self._ask(model, [(row, views[row.id]) for row in missing], busy):
                    writes.append(aside.submit(self._store, answered))
                    known.update({(row.id, answer.predictor): answer for row, answer in answered})
                writes.append(aside.submit(self._add_time, model.version, len(missing), busy.seconds))
        return known, writes

    def _whom_others_see(self, images: Sequence[ImageRow], people: People, known: Known) -> set[int]:
        """Keys of the people whom the predictors after the first should see; the first one's opinion is known."""
        rows = [(image, row) for image in images for row in people[image.id]]
        if self.cascade is None:
            return {row.id for _, row in rows}
        evidence = self._evidence(rows, known)
        return {
            row.id
            for (_, row), asked in zip(rows, self.cascade.asks(evidence), strict=True)
            if asked or row.truth_age is not None or row.truth_gender is not None
        }

    def _lack_first(self, rows: Sequence[PersonRow], known: Known) -> bool:
        first = self.models.predictors[0].name
        return any((row.id, first) not in known for row in rows)

    def _lacks(self, row: PersonRow, others: set[int], known: Known) -> bool:
        return row.id in others and any((row.id, one.name) not in known for one in self.models.predictors[1:])

    def _evidence(self, rows: Sequence[tuple[ImageRow, PersonRow]], known: Known) -> list[Evidence]:
        names = [model.name for model in self.models.predictors]
        return [
            records.to_evidence(row, image.sha256, [known[(row.id, name)] for name in names if (row.id, name) in known])
            for image, row in rows
        ]

    def _ask(
        self, model: Lazy[Predictor], people: Sequence[tuple[PersonRow, PersonView]], busy: Stopwatch
    ) -> Iterator[list[tuple[PersonRow, Prediction]]]:
        """Batches of people with their answers, as these come."""
        asked, predictor = iter(people), model.get()
        for batch in busy.over(predictions(predictor, [view for _, view in people], self.pool)):
            yield [(next(asked)[0], answer) for answer in batch]

    def _store(self, answered: Sequence[tuple[PersonRow, Prediction]]) -> None:
        values = [records.prediction_values(row, answer) for row, answer in answered]
        with self.store.write() as session:
            upsert(session, PredictionRow, values, keys=("person_key", "predictor", "version"))

    def _add_time(self, version: str, people: int, seconds: float) -> None:
        with self.store.write() as session:
            add_time(session, version, people, seconds)

    def _finish(self, session: Session, images: Sequence[ImageRow], people: People, known: Known) -> None:
        """Fuses and writes pre-labels, and marks the images as done."""
        rows = [(image, row) for image in images for row in people[image.id]]
        evidence = self._evidence(rows, known)
        fused = self.cascade.fuse(evidence, self.fit) if self.cascade else fuse(evidence, self.fit)
        keys = [row.id for _, row in rows]
        _retire(session, keys)
        values = [records.pre_label_values(key, self.version, one) for key, one in zip(keys, fused, strict=True)]
        upsert(session, PreLabelRow, values, keys=("person_key", "version"))
        done = [image.id for image in images]
        finished = _finished(session, done, self.version)
        for image in images:
            if image.id not in finished:
                data = {"version": self.version, "people": len(people[image.id])}
                session.add(EventRow(kind="prelabelled", subject=image.sha256, data=data))
        values_done = {"state": ImageState.DONE, "version": self.version}
        session.execute(update(ImageRow).where(ImageRow.id.in_(done)).values(values_done))
        failures.forget(session, failures.PRELABEL, [image.sha256 for image in images])


def _remember_weights(session: Session, models: ModelSet) -> None:
    """Datasets name their predictors' weights, also when these are long gone from the machine."""
    known = [model for model in models.predictors if model.digest]
    rows = [{"key": MetaRow.WEIGHTS + model.version, "value": model.digest} for model in known]
    insert_new(session, MetaRow, rows, keys=("key",))


def stored_predictions(session: Session, models: ModelSet, people: Sequence[PersonRow]) -> Known:
    """What these versions of the predictors said of people and their present boxes."""
    versions = [model.version for model in models.predictors]
    revisions = {row.id: row.revision for row in people}
    said = PredictionRow.person_key.in_(list(revisions)) & PredictionRow.version.in_(versions)
    return {
        (row.person_key, row.predictor): records.to_prediction(row)
        for row in session.scalars(select(PredictionRow).where(said))
        if row.revision == revisions[row.person_key]
    }


def _finished(session: Session, image_keys: Sequence[int], version: str) -> set[int]:
    """Those of the images that another process has finished with this version; the others are ours until the end."""
    rows = session.execute(
        select(ImageRow.id, ImageRow.state, ImageRow.version).where(ImageRow.id.in_(image_keys)).with_for_update()
    )
    return {key for key, state, known in rows if state == ImageState.DONE and known == version}


def _reopen_failed(session: Session, versions: Sequence[str]) -> None:
    """Failed images become pending, failed predictions of these versions are forgotten."""
    wrong = (PredictionRow.status == PredictionStatus.FAILED) & PredictionRow.version.in_(versions)
    images = select(PersonRow.image_key).join(PredictionRow, PredictionRow.person_key == PersonRow.id).where(wrong)
    again = or_(ImageRow.state == ImageState.FAILED, ImageRow.id.in_(images))
    session.execute(
        update(ImageRow).where(again).values(state=ImageState.PENDING), execution_options={"synchronize_session": False}
    )
    session.execute(delete(PredictionRow).where(wrong))


def _fail(session: Session, failed: Sequence[tuple[ImageRow, Failure]]) -> None:
    failures.record(session, failures.PRELABEL, [failure for _, failure in failed])
    keys = [row.id for row, _ in failed]
    session.execute(update(ImageRow).where(ImageRow.id.in_(keys)).values(state=ImageState.FAILED))


def _retire(session: Session, person_keys: Sequence[int]) -> None:
    current = PreLabelRow.person_key.in_(person_keys) & PreLabelRow.is_current
    session.execute(update(PreLabelRow).where(current).values(is_current=False))
