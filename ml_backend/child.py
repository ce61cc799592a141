"""Models in a process of their own, so that computing never holds up answering.

Python lets one thread of a process run at a time: beside two threads that prepare crops, an answer that takes half a
millisecond waited for a hundred. A crash of native code takes the child alone, too; it is started again.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from prometheus_client import Metric

from annotator.domain import Box
from annotator.errors import AnnotatorError, ImageError, ServiceError
from annotator.jobs.metrics import MODEL_SECONDS
from annotator.labelstudio.payload import ShownImage, ShownPerson
from annotator.settings import Settings

log = logging.getLogger(__name__)

NICE = 5
"""How much less urgent than answering the heavy work is, as in ``nice``."""

Trouble = tuple[str | None, str, bool]
"""An error on its way between the processes: an image's reason, the message, whether it was raised on purpose."""

Asked = tuple[bytes, str, str] | tuple[bytes, Box] | None
"""An image's bytes, name and address, or its bytes and a drawn box; ``None`` asks for the models' metrics."""

DIED = "the process with the models ended while it worked; it is started again"


class Child:
    """One process that pre-labels images; safe to use from several threads.

    It is started by ``start`` and, where it died, by the next call.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._numbers, self._lock = settings, itertools.count(), threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start it and wait until its models are loaded.

        Raises:
            AnnotatorError: the models cannot be opened, or it ended at once.
        """
        with self._lock:
            if self._pipe is None:
                self._start()

    def prelabel(self, data: bytes, *, name: str, uri: str) -> ShownImage:
        """The people on one image.

        Raises:
            ImageError: the image cannot be used.
            ServiceError: the process died.
        """
        found: ShownImage = self._ask((data, name, uri))
        return found

    def judge(self, data: bytes, box: Box) -> ShownPerson:
        """The person in a box that somebody drew on an image.

        Raises:
            ImageError: the image cannot be used, or the box holds nothing of it.
            ServiceError: the process died.
        """
        found: ShownPerson = self._ask((data, box))
        return found

    def collect(self) -> list[Metric]:
        """How long the models took, for Prometheus; nothing where the process died."""
        try:
            found: list[Metric] = self._ask(None)
        except ServiceError:
            return []
        return found

    def _ask(self, what: Asked) -> Any:
        future: Future[Any] = Future()
        with self._lock:
            pipe = self._pipe or self._start()
            number = next(self._numbers)
            self._waiting[number] = future
            try:
                pipe.send((number, what))
            except OSError:
                self._waiting.pop(number)
                raise ServiceError(DIED) from None
        return future.result()

    def close(self) -> None:
        """Let it end; what it works on is given up."""
        with self._lock:
            if self._pipe is not None:
                self._pipe.close()
                self._pipe = None

    def _start(self) -> Connection:
        ours, theirs = get_context("spawn").Pipe()
        process = get_context("spawn").Process(target=serve, args=(self._settings, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            trouble = ours.recv()
        except (EOFError, OSError):
            raise ServiceError("the process with the models ended while it started; is there enough memory?") from None
        if trouble is not None:
            process.join(10)
            raise ServiceError(f"the models cannot be opened: {trouble[1]}")
        self._pipe = ours
        threading.Thread(target=self._listen, args=(ours, process), name="child", daemon=True).start()
        return ours

    def _listen(self, pipe: Connection, process: SpawnProcess) -> None:
        """Hand answers to those who wait, until the process ends."""
        try:
            while True:
                number, result, trouble = pipe.recv()
                with self._lock:
                    future = self._waiting.pop(number)
                if trouble is None:
                    future.set_result(result)
                else:
                    future.set_exception(_raised(trouble))
        except (EOFError, OSError):
            process.join(10)  # so that nothing is left of it
            self._give_up(pipe)

    def _give_up(self, pipe: Connection) -> None:
        with self._lock:
            if self._pipe is pipe:
                log.error("%s", DIED)
                self._pipe = None
            left, self._waiting = self._waiting, {}
        for future in left.values():
            future.set_exception(ServiceError(DIED))


def serve(settings: Settings, pipe: Connection) -> None:
    """What runs in the process: load the models, then pre-label ``backend_threads`` images at a time."""
    from ml_backend.pipeline_engine import open_engine

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us by closing the pipe
    os.nice(NICE)
    try:
        opened = open_engine(settings)
        engine = opened.__enter__()
    except Exception as error:  # noqa: BLE001  (it belongs to the parent)
        pipe.send(_trouble(error))
        return
    pipe.send(None)
    lock = threading.Lock()

    def work(number: int, data: bytes, *about: Any) -> None:
        result: ShownImage | ShownPerson | None = None
        trouble = None
        try:
            if isinstance(about[0], Box):
                result = engine.judge(data, about[0])
            else:
                result = engine.prelabel(data, name=about[0], uri=about[1])
        except Exception as error:  # noqa: BLE001  (it belongs to the caller, in the parent)
            trouble = _trouble(error)
        with lock:
            pipe.send((number, result, trouble))

    with ThreadPoolExecutor(settings.backend_threads, thread_name_prefix="predict") as pool:
        for number, asked in _requests(pipe):
            if asked is not None:
                pool.submit(work, number, *asked)
                continue
            with lock:
                pipe.send((number, list(MODEL_SECONDS.collect()), None))


def _requests(pipe: Connection) -> Iterator[tuple[int, Asked]]:
    try:
        while True:
            yield pipe.recv()
    except (EOFError, OSError):
        os._exit(0)  # the parent is gone or wants no more; nobody waits for what is still worked on


def _trouble(error: Exception) -> Trouble:
    reason = error.reason if isinstance(error, ImageError) else None
    expected = isinstance(error, AnnotatorError)
    return reason, str(error) if expected else f"{type(error).__name__}: {error}", expected


def _raised(trouble: Trouble) -> Exception:
    reason, message, expected = trouble
    if reason is not None:
        return ImageError(reason, message)
    return ServiceError(message) if expected else RuntimeError(message)
