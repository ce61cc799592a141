"""A few threads that do the heavy work: urgent jobs first, the same job never twice at a time."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass
class _Job(Generic[Result]):
    key: str
    call: Callable[[], Result]
    urgency: int
    started: bool = False
    future: Future[Result] = field(default_factory=Future)


class Workers(Generic[Result]):
    """Runs jobs on ``threads`` daemon threads, lowest ``urgency`` first and oldest first among equals.

    A job is known by its key: as long as it is queued or running, whoever asks for the same key shares its future. A
    waiting job that is asked for again with a lower urgency moves forward.
    """

    def __init__(self, threads: int) -> None:
        self._jobs: dict[str, _Job[Result]] = {}
        self._queue: queue.PriorityQueue[tuple[int, int, _Job[Result] | None]] = queue.PriorityQueue()
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, name=f"predict-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, key: str, call: Callable[[], Result], urgency: int) -> Future[Result]:
        """The future of the job ``key``, which is started if it is not under way."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                job = self._jobs[key] = _Job(key, call, urgency)
            elif job.started or job.urgency <= urgency:
                return job.future
            job.urgency = urgency
            # a job that moves forward stays in the queue at its old place too; it is skipped there once started
            self._queue.put((urgency, next(self._count), job))
            return job.future

    @property
    def pending(self) -> int:
        """Jobs that are queued or running."""
        return len(self._jobs)

    def stop(self, seconds: float = 5.0) -> None:
        """Drop what is queued and wait that long for what is running."""
        with self._lock:
            for job in self._jobs.values():
                if not job.started:
                    job.started = True
                    job.future.cancel()
        for _ in self._threads:
            self._queue.put((-1, next(self._count), None))
        for thread in self._threads:
            thread.join(seconds / len(self._threads))

    def _work(self) -> None:
        while True:
            job = self._queue.get()[2]
            if job is None:
                return
            with self._lock:
                if job.started:
                    continue
                job.started = True
            self._run(job)

    def _run(self, job: _Job[Result]) -> None:
        try:
            job.future.set_result(job.call())
        except Exception as error:  # noqa: BLE001  (whatever one job raises belongs to those who wait for it)
            job.future.set_exception(error)
        finally:
            with self._lock:
                del self._jobs[job.key]
