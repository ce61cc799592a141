"""Answers to ``/setup``, ``/predict`` and ``/webhook``, without HTTP.

A task that cannot be answered gets ``[]``: Label Studio then keeps the others and asks for this one again. Label Studio
shows nobody why, so every failure is recorded and logged here, with the task's number and without its contents.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from annotator.errors import AnnotatorError, ImageError, InputError
from annotator.images.fetch import Fetcher
from annotator.jobs.dues import ASKED, START_TRAINING
from annotator.jobs.logs import said_of
from annotator.labelstudio.controls import WHOLE_IMAGE, Controls, config_text, read_controls
from annotator.labelstudio.payload import ShownImage, ShownPerson, prediction
from annotator.settings import Settings
from ml_backend.drawing import answer_drawn, last_drawn
from ml_backend.engine import Prelabeller
from ml_backend.memory import Memory, Remembered, encode
from ml_backend.metrics import Metrics
from ml_backend.protocol import PredictRequest, Refused, SetupRequest, WebhookEvent
from ml_backend.workers import Workers

log = logging.getLogger(__name__)

VERSION_SECONDS = 1.0
"""Remembered answers are given for so long without asking the engine whether another version came."""

FAILED = b"[]"
"""What stands in the place of a task that was not pre-labelled."""


class Service:
    """The backend's work: reads task addresses, has images pre-labelled, says it in Label Studio's words."""

    def __init__(self, settings: Settings, engine: Prelabeller, fetcher: Fetcher) -> None:
        self._engine, self._fetcher = engine, fetcher
        self._seconds = settings.backend_seconds
        self._workers: Workers[ShownImage] = Workers(settings.backend_threads)
        self._drawers: Workers[ShownPerson] = Workers(1)
        self._memory = Memory()
        self._version, self._asked_at = engine.version, time.monotonic()
        self.metrics = Metrics()
        self.metrics.watch_pending(lambda: self._workers.pending)

    @property
    def known_version(self) -> str:
        """The ensemble's version as of the last request that asked for it; takes no time."""
        return self._version

    def version(self) -> str:
        """The ensemble's version as of now."""
        self._version, self._asked_at = self._engine.version, time.monotonic()
        return self._version

    def stop(self) -> None:
        """Let running work finish for a moment and drop the rest."""
        self._drawers.stop()
        self._workers.stop()

    def setup(self, request: SetupRequest) -> dict[str, Any]:
        """Check the labeling configuration and say which version would answer.

        Raises:
            Refused: 422, the configuration cannot hold a pre-label; says what it lacks.
        """
        if not (request.labeling_config or "").strip():
            raise Refused(422, "the project has no labeling configuration yet; save one, then connect the backend")
        controls_of(request.labeling_config or "")
        return {"model_version": self.version()}

    def predict(self, request: PredictRequest) -> bytes:
        """The answer as JSON: one entry for each task, in order.

        After ``backend_seconds`` the rest is answered with ``[]`` and goes on in the background, so that the next call
        finds it done.

        Raises:
            Refused: 422, the labeling configuration cannot hold a pre-label.
        """
        with self.metrics.requests.time():
            return self._predict(request)

    def remembered(self, request: PredictRequest) -> bytes | None:
        """The answer where every task's is remembered: no waiting, no database. ``None`` where that is not so.

        Raises:
            Refused: 422, the labeling configuration cannot hold a pre-label.
        """
        start = time.monotonic()
        if request.drawn is not None or start > self._asked_at + VERSION_SECONDS:
            return None
        controls = controls_of(request.label_config or "")
        found = [self._recall(task, controls) for task in request.tasks]
        entries = [one.entry(controls) for one in found if one is not None]
        if len(entries) < len(found):
            return None
        self.metrics.tasks.labels("remembered").inc(len(entries))
        self.metrics.requests.observe(time.monotonic() - start)
        return _answer(entries, self._version)

    def _recall(self, task: Any, controls: Controls) -> Remembered | None:
        try:
            return self._memory.get(_address(task, controls), self._version)
        except ImageError:
            return None

    def hear(self, event: WebhookEvent) -> None:
        """Keep a webhook's action and ids as a hint; what is lost here is found by pulling.

        A wish for training is served by the jobs: `annotator.jobs.dues`.
        """
        ids = event.ids()
        asks = event.action == START_TRAINING
        subject = ASKED if asks else f"labelstudio:{ids.get('project', ['?'])[0]}"
        self.metrics.webhooks.labels(event.action if event.action in KNOWN_ACTIONS else "other").inc()
        self._engine.record_event("webhook", subject, {"action": event.action, "ids": ids})

    def _predict(self, request: PredictRequest) -> bytes:
        deadline = time.monotonic() + self._seconds
        controls = controls_of(request.label_config or "")
        version = self.version()
        waiting = [self._begin(task, controls, version, len(request.tasks)) for task in request.tasks]
        wait([future for future in waiting if future is not None], timeout=max(0.0, deadline - time.monotonic()))
        shown = [self._outcome(future) for future in waiting]
        if request.drawn is not None:
            about = [
                self._person_drawn(task, image, request.drawn, controls, deadline)
                for task, image in zip(request.tasks, shown, strict=True)
            ]
            drawn = [answer_drawn(*pair, controls, version) for pair in zip(shown, about, strict=True)]
            return _answer([encode(one) for one in drawn], version)
        entries = [FAILED if image is None else encode(prediction(image, controls, version)) for image in shown]
        return _answer(entries, version)

    def _person_drawn(
        self, task: Any, image: ShownImage | None, regions: Sequence[Any], controls: Controls, deadline: float
    ) -> ShownPerson | None:
        """Whom the last drawn box is about, unless that person is on the canvas; whom nobody found is looked at now."""
        drawn = last_drawn(image, regions, controls) if image is not None else None
        if drawn is None or drawn.is_shown:
            return None
        if drawn.found is not None:
            return drawn.found
        address = _address(task, controls)
        future = self._drawers.submit(
            f"{address} {drawn.box}", lambda: self._engine.judge(self._fetcher.read(address), drawn.box), 0
        )
        wait([future], timeout=max(0.0, deadline - time.monotonic()))
        if not future.done() or future.cancelled():
            return None
        error = future.exception()
        if error is None:
            return future.result()
        if not isinstance(error, Exception):
            raise error
        self._fail(address, task.get("id"), error)
        return None

    def _begin(self, task: Any, controls: Controls, version: str, urgency: int) -> Future[ShownImage] | None:
        """The future answer of one task; ``None`` where the task has no address to look at."""
        number = task.get("id") if isinstance(task, dict) else None
        try:
            address = _address(task, controls)
        except ImageError as error:
            self._fail(f"task {number}", number, error)
            return None
        known = self._memory.get(address, version)
        if known is not None:
            self.metrics.tasks.labels("remembered").inc()
            future: Future[ShownImage] = Future()
            future.set_result(known.image)
            return future
        return self._workers.submit(f"{version} {address}", lambda: self._work(address, number, version), urgency)

    def _work(self, address: str, number: Any, version: str) -> ShownImage:
        """Fetch and pre-label one image, on a worker's thread."""
        with said_of(image=address, model=version):
            return self._prelabel(address, number, version)

    def _prelabel(self, address: str, number: Any, version: str) -> ShownImage:
        try:
            with self.metrics.images.time():
                data = self._fetcher.read(address)
                image = self._engine.prelabel(data, name=_name(address), uri=address)
        except Exception as error:
            self._fail(address, number, error)
            raise
        self.metrics.tasks.labels("done").inc()
        if self._engine.version == version:  # else a new fit arrived meanwhile, and the image is already by that
            self._memory.put(address, version, image)
        return image

    def _outcome(self, future: Future[ShownImage] | None) -> ShownImage | None:
        if future is None:
            return None
        if not future.done():
            self.metrics.tasks.labels("late").inc()
            return None
        return None if future.cancelled() or future.exception() is not None else future.result()

    def _fail(self, subject: str, number: Any, error: Exception) -> None:
        """Count, log and record a failure; what failed must not be hidden by a database that fails too."""
        expected = isinstance(error, AnnotatorError)
        reason = error.reason if isinstance(error, ImageError) else ("failed" if expected else "internal_error")
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        self.metrics.tasks.labels(reason).inc()
        log.warning("task %s: %s", number, message, exc_info=None if expected else error)
        try:
            self._engine.record_failure(subject=subject, name=_name(subject), reason=reason, message=message)
        except Exception:
            log.exception("the failure could not be recorded")


KNOWN_ACTIONS = frozenset(
    f"{noun}_{verb}"
    for noun in ("ANNOTATION", "ANNOTATIONS", "TASKS", "PROJECT", "LABEL_LINK")
    for verb in ("CREATED", "UPDATED", "DELETED")
) | {START_TRAINING}
"""Actions that are counted by name; a label value of a metric must not be the sender's choice."""


@lru_cache(maxsize=16)
def controls_of(xml: str) -> Controls:
    """The controls of a labeling configuration; of ours where it is empty.

    Raises:
        Refused: 422, it cannot hold a pre-label; says what it lacks.
    """
    try:
        return read_controls(xml if xml.strip() else config_text(WHOLE_IMAGE))
    except InputError as error:
        raise Refused(422, str(error)) from None


def _answer(entries: Sequence[bytes], version: str) -> bytes:
    return b'{"results":[' + b",".join(entries) + b'],"model_version":' + encode(version) + b"}"


def _address(task: Any, controls: Controls) -> str:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise ImageError("no_address", "the task has no data")
    address = data.get(controls.data_key)
    if not isinstance(address, str) or not address.strip():
        raise ImageError("no_address", f"the task's data has no address under '{controls.data_key}'")
    return address.strip()


def _name(address: str) -> str:
    """The file name in an address, for people to read."""
    path = address.partition("?d=")[2] or address.partition("?")[0]
    return unquote(path).rstrip("/").rpartition("/")[2] or address
