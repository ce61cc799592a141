"""The pre-labeller that is made of the project's pipeline and database."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, cast
from urllib.parse import urljoin

from prometheus_client.registry import Collector
from sqlalchemy import select

from annotator.domain import Box
from annotator.jobs.metering import metered
from annotator.jobs.metrics import MODEL_SECONDS
from annotator.labelstudio.payload import ShownImage, ShownPerson
from annotator.pipeline import failures
from annotator.pipeline.drawn import judge_drawn
from annotator.pipeline.failures import Failure
from annotator.pipeline.gauges import Gauges
from annotator.pipeline.prelabel import Prelabelling
from annotator.pipeline.single import ImageResult, prelabel_image, stored_result
from annotator.predictors.registry import ModelSet, open_models
from annotator.settings import Settings
from annotator.store.session import Store, open_store
from annotator.store.tables import EventRow, FailureRow
from ml_backend.child import Child

STAGE = "labelstudio"
"""The stage under which failures of the backend are kept; the subject is the task's image address."""


class PipelineEngine:
    """Pre-labels with the project's models and keeps everything in its database."""

    def __init__(self, store: Store, settings: Settings, models: ModelSet) -> None:
        self._store, self._notices = store, models.notices
        self._work = Prelabelling(store, settings, models)
        self._renewal = threading.Lock()
        self._studio = settings.label_studio_url

    @property
    def version(self) -> str:
        """The ensemble's version, by the fit that counts now: it may be calibrated anew while the backend runs."""
        return self._current().version

    def _current(self) -> Prelabelling:
        with self._renewal:
            self._work = self._work.up_to_date()
            return self._work

    def prelabel(self, data: bytes, *, name: str, uri: str) -> ShownImage:
        """The people on one image; a read where this version has seen the same bytes.

        Raises:
            ImageError: the image cannot be used.
        """
        full = urljoin(self._studio, uri) if self._studio else uri
        result = prelabel_image(self._current(), data, name=name, uri=full)
        self._forget_failure(uri)
        return shown(result, self._notices)

    def judge(self, data: bytes, box: Box) -> ShownPerson:
        """A person whom nobody found, by a box in pixels that an annotator drew; nothing is stored.

        Raises:
            ImageError: the image cannot be used, or the box holds nothing of it.
        """
        result = judge_drawn(self._current(), data, box)
        return ShownPerson(result.person, result.predictions, result.pre_label)

    def collectors(self) -> list[Collector]:
        """What the database knows and how long the models take, for Prometheus."""
        return [Gauges(self._store), MODEL_SECONDS]

    def record_failure(self, *, subject: str, name: str, reason: str, message: str) -> None:
        """Keep a failure row; `annotator status` counts it."""
        with self._store.write() as session:
            failures.record(session, STAGE, [Failure(subject, name, reason, message)])

    def record_event(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        """Append to the history."""
        with self._store.write() as session:
            session.add(EventRow(kind=kind, subject=subject, data=dict(data)))

    def _forget_failure(self, subject: str) -> None:
        query = select(FailureRow.id).where(FailureRow.stage == STAGE, FailureRow.subject == subject)
        with self._store.read() as session:
            known = session.scalar(query)
        if known is not None:
            with self._store.write() as session:
                failures.forget(session, STAGE, [subject])


class RemoteEngine(PipelineEngine):
    """Reads what is known itself, and has a child process work out the rest; loads no model."""

    def __init__(self, store: Store, settings: Settings, models: ModelSet, child: Child) -> None:
        super().__init__(store, settings, models)
        self._child = child

    def prelabel(self, data: bytes, *, name: str, uri: str) -> ShownImage:
        """The people on one image; a read where this version has seen the same bytes.

        Raises:
            ImageError: the image cannot be used.
            ServiceError: the child died of it.
        """
        known = stored_result(self._current(), hashlib.sha256(data).hexdigest())
        if known is None:
            return self._child.prelabel(data, name=name, uri=uri)
        self._forget_failure(uri)
        return shown(known, self._notices)

    def judge(self, data: bytes, box: Box) -> ShownPerson:
        """As the child's models see that person.

        Raises:
            ImageError: the image cannot be used, or the box holds nothing of it.
            ServiceError: the child died of it.
        """
        return self._child.judge(data, box)

    def collectors(self) -> list[Collector]:
        """What the database knows and how long the child's models take, for Prometheus."""
        return [Gauges(self._store), cast("Collector", self._child)]


@contextmanager
def open_remote_engine(settings: Settings) -> Iterator[RemoteEngine]:
    """The pre-labeller of one project with its models loaded in a process of their own, as long as the context lasts.

    Raises:
        DatabaseError: the database has no tables, or those of another version.
        AnnotatorError: the profile names a model that is not known, not here, or broken.
    """
    share_cores(settings.backend_threads)
    with open_store(settings.resolved_database_url) as store, closing(Child(settings)) as child:
        models = open_models(settings)
        child.start()
        yield RemoteEngine(store, settings, models, child)


@contextmanager
def open_engine(settings: Settings) -> Iterator[PipelineEngine]:
    """The pre-labeller of one project with its models loaded, as long as the context lasts.

    They are loaded before anybody is served: importing and loading holds up the whole process, and a ``/health`` that
    takes longer than a second makes Label Studio skip the backend.

    Raises:
        DatabaseError: the database has no tables, or those of another version.
        UnknownName, WeightsMissing, WeightsInvalid: the profile names a model that is not known, not here, or broken.
    """
    share_cores(settings.backend_threads)
    with open_store(settings.resolved_database_url) as store:
        models = metered(open_models(settings))
        for model in (models.detector, *models.predictors):
            if model is not None:
                model.get()
        yield PipelineEngine(store, settings, models)


def share_cores(workers: int) -> None:
    """Give each of some worker threads its share of the cores; must happen before torch is loaded.

    More computing threads than cores wait for each other in busy loops: on two busy cores that made a picture of the
    demo take 80 s instead of 0.5 s. What the environment says already stays.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def shown(result: ImageResult, notices: Mapping[str, str]) -> ShownImage:
    """A pipeline's result as annotators are shown it."""
    people = tuple(ShownPerson(one.person, one.predictions, one.pre_label) for one in result.people)
    return ShownImage(result.image.width, result.image.height, people, dict(notices))
