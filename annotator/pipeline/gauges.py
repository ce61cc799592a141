"""What the database knows, for Prometheus: counted when it is asked for, and not more often than once a minute."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.pipeline.status import StatusReport, status
from annotator.store.base import now
from annotator.store.runs import BatchRow, BatchState, RunRow, RunState
from annotator.store.session import Store

FRESH_SECONDS = 60.0


class Gauges(Collector):
    """Images and people by state, failures by reason, votes, coverage, runs and the age of the queues."""

    def __init__(self, store: Store, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._store, self._fresh = store, fresh_seconds
        self._known: list[Metric] = []
        self._at = -fresh_seconds

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks the database nothing."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures, at most a minute old."""
        if not self._known or time.monotonic() - self._at > self._fresh:
            self._known = [*_project(status(self._store, list_failures=0)), *self._runs()]
            self._at = time.monotonic()
        return self._known

    def _runs(self) -> Iterator[Metric]:
        with self._store.read() as session:
            yield from _batches(session)
            yield _last_runs(session)


def _project(report: StatusReport) -> Iterator[Metric]:
    yield _gauge("images", "Registered images, by state", ["state"], {(k,): n for k, n in report.images.items()})
    labelled = sum(report.labels.values())
    people = {
        **{(source,): count for source, count in report.labels.items()},
        ("in_review",): report.open_review,
        ("unlabelled",): max(0, report.people - labelled - report.open_review),
    }
    yield _gauge("people", "People, by where their label came from or what they wait for", ["state"], people)
    failures = {(stage, reason): n for stage, reasons in report.failures.items() for reason, n in reasons.items()}
    yield _gauge("failures", "What failed and was not mended yet, by stage and reason", ["stage", "reason"], failures)
    yield _gauge("votes", "Votes that count", [], {(): report.votes})
    share = labelled / report.people if report.people else 0.0
    yield _gauge("label_coverage", "Share of people that have a label", [], {(): share})


def _batches(session: Session) -> Iterator[Metric]:
    active = BatchRow.run_id.in_(select(RunRow.id).where(RunRow.state == RunState.RUNNING))
    counts = select(BatchRow.queue, BatchRow.state, func.count()).where(active).group_by(BatchRow.queue, BatchRow.state)
    found = {(queue, state.value): n for queue, state, n in session.execute(counts)}
    yield _gauge("batches", "Batches of runs under way, by queue and state", ["queue", "state"], found)
    waiting = active & (BatchRow.state == BatchState.WAITING) & (BatchRow.not_before <= now())
    oldest = select(BatchRow.queue, func.min(BatchRow.not_before)).where(waiting).group_by(BatchRow.queue)
    ages = {(queue,): max(0.0, (now() - at).total_seconds()) for queue, at in session.execute(oldest) if at}
    yield _gauge("queue_age_seconds", "How long the oldest batch of a queue has waited", ["queue"], ages)


def _last_runs(session: Session) -> Metric:
    query = select(RunRow.job, RunRow.state, func.max(RunRow.finished_at)).group_by(RunRow.job, RunRow.state)
    ended = {(job, state.value): at.timestamp() for job, state, at in session.execute(query) if at}
    return _gauge("run_finished_seconds", "When a job last ended so, in Unix time", ["job", "state"], ended)


def _gauge(name: str, words: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"annotator_{name}", words, labels=labels)
    for given, value in sorted(values.items()):
        family.add_metric(list(given), value)
    return family
