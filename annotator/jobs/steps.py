"""What each stage of a job does. Every step may run twice; it gives counts for the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from annotator.errors import AnnotatorError, ConfigurationError
from annotator.files import write_whole
from annotator.jobs import jobs
from annotator.jobs.ledger import Claim, FanOut
from annotator.jobs.logs import said_of
from annotator.jobs.metering import metered
from annotator.jobs.portions import pending_portions, prelabel_portion
from annotator.jobs.summary import send_summary
from annotator.jobs.training import Stopped, retrain_all
from annotator.pipeline.ingest import STUDIO, ingest
from annotator.pipeline.prelabel import Prelabelling
from annotator.pipeline.refit import refit
from annotator.pipeline.report import gather_report
from annotator.pipeline.settle import settle
from annotator.pipeline.triage import triage
from annotator.pipeline.version import was_in_force
from annotator.predictors.registry import ModelSet
from annotator.predictors.trained import read_trained
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import PreLabelRow

Counts = Mapping[str, Any]


@dataclass
class Tools:
    """What the steps of one process share. Models are opened by the first who needs them and stay loaded; ``devices``
    are those that they took.
    """

    store: Store
    settings: Settings
    open_models: Callable[[Settings], ModelSet]
    _models: ModelSet | None = None
    _work: Prelabelling | None = None
    _opened: tuple[str, ...] = ()
    devices: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def models(self) -> ModelSet:
        """The profile's models, anew where one was promoted; their weights are loaded when they are asked first."""
        with self._lock:
            promoted = _promoted(self.settings)
            if self._models is None or self._opened != promoted:
                self._opened = promoted
                self._models = metered(self.open_models(self.settings), self.devices.add)
            return self._models

    def prelabelling(self) -> Prelabelling:
        """The present version of the ensemble at work; calibrated anew where that has happened since the last time."""
        models, work = self.models, self._work
        if work is None or work.models is not models:
            work = Prelabelling(self.store, self.settings, models)
        self._work = work.up_to_date()
        return self._work


def _promoted(settings: Settings) -> tuple[str, ...]:
    return tuple(sorted(model.name for model in read_trained(settings).values() if model.promoted))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did, and the batches that it found to be necessary."""

    counts: Counts
    fan_out: FanOut | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One batch to be done: with what, which, and whether it is still wanted."""

    tools: Tools
    claim: Claim
    stopped: Callable[[], bool]

    @property
    def store(self) -> Store:
        """The database."""
        return self.tools.store

    @property
    def settings(self) -> Settings:
        """The project's settings."""
        return self.tools.settings


Step = Callable[[Order], Outcome]


class OtherVersion(AnnotatorError):
    """This worker's models are of another version than the run's; give all workers the same settings and weights."""


def collect(order: Order) -> Outcome:
    """New images of the watched places, and of tasks that others made in Label Studio."""
    studio = [STUDIO] if order.settings.label_studio_url else []
    report = ingest(order.store, order.settings, [*order.settings.watch, *studio])
    failed = {f"failed:{reason}": count for reason, count in report.failed.items()}
    counts = {"new": report.new, "known": report.known, "purged": report.purged}
    return Outcome({**counts, "failed": sum(failed.values()), **failed})


def plan(order: Order) -> Outcome:
    """Batches of whatever lacks a pre-label of the present version."""
    work = order.tools.prelabelling()
    pending = work.plan(retry_failed=False)
    portions = pending_portions(order.store, order.settings.jobs_batch_images)
    return Outcome({"pending": pending}, FanOut(jobs.PRELABEL.name, jobs.PRELABEL.queue, portions, work.version))


def prelabel(order: Order) -> Outcome:
    """One batch of images, from pixels to pre-labels.

    A calibration or a promotion since the run was planned counts at once; the next run does earlier batches anew.

    Raises:
        OtherVersion: this process has other models than the one that planned the run.
    """
    work, planned = order.tools.prelabelling(), order.claim.version
    if work.version != planned and not (planned and was_in_force(order.store, order.settings, work.models, planned)):
        raise OtherVersion(f"this worker's models make {work.version}, run {order.claim.run} is for {planned}")
    with said_of(model=work.version):
        return Outcome(prelabel_portion(work, order.claim.images or (), order.stopped))


def judge(order: Order) -> Outcome:
    """Who goes to review, over everybody."""
    report = triage(order.store, order.settings)
    return Outcome({"people": report.people, "review": report.review})


def push(order: Order) -> Outcome:
    """Pre-labels and vote tasks to Label Studio."""
    from annotator.pipeline.review.push import push as run

    if not order.settings.label_studio_url:
        return NO_STUDIO
    report = run(order.store, order.settings, order.tools.models)
    sent = {"tasks": report.whole.created, "filled": report.whole.filled, "open": report.votes.open}
    return Outcome({**sent, "asked": sum(report.votes.created.values())})


def pull(order: Order) -> Outcome:
    """Votes and corrected boxes from Label Studio."""
    from annotator.pipeline.review.pull import pull as run

    if not order.settings.label_studio_url:
        return NO_STUDIO
    report = run(order.store, order.settings)
    votes = report.votes
    return Outcome({"new": votes.new, "changed": votes.changed, "gone": votes.gone, "counting": votes.counting})


def settle_labels(order: Order) -> Outcome:
    """Labels from votes, accepted pre-labels and truths."""
    report = settle(order.store, order.settings)
    return Outcome({"changed": report.changed, **report.labels})


def calibrate(order: Order) -> Outcome:
    """The ensemble, fitted again where enough new truth has arrived."""
    report = refit(order.store, order.settings)
    return Outcome({"outcome": report.outcome.value, "people": report.people})


def report_page(order: Order) -> Outcome:
    """The report page, where something is pre-labelled."""
    from annotator.evaluation.report.page import render

    with order.store.read() as session:
        anything = session.scalar(select(PreLabelRow.id).limit(1))
    if anything is None:
        return Outcome({"skipped": "nothing is pre-labelled yet"})
    page = render(gather_report(order.store, order.settings, datetime.now(UTC))).encode()
    path = order.settings.path(order.settings.jobs_report)
    write_whole(path, page)
    return Outcome({"bytes": len(page)})


def summarise(order: Order) -> Outcome:
    """A summary of the run to the webhook of the settings."""
    if order.settings.jobs_webhook_url is None:
        return Outcome({"skipped": "jobs_webhook_url is not set"})
    send_summary(order.store, order.settings.jobs_webhook_url.get_secret_value(), order.claim.run)
    return Outcome({"sent": 1})


def train(order: Order) -> Outcome:
    """Predictors retrained on what was settled; stopped ones are gone on with by the next attempt."""
    try:
        return Outcome(retrain_all(order.store, order.settings, order.stopped))
    except Stopped:
        return Outcome({})


NO_STUDIO = Outcome({"skipped": "label_studio_url is not set"})

STEPS: dict[str, Step] = {
    jobs.COLLECT.name: collect,
    jobs.PLAN.name: plan,
    jobs.PRELABEL.name: prelabel,
    jobs.TRIAGE.name: judge,
    jobs.PUSH.name: push,
    jobs.PULL.name: pull,
    jobs.SETTLE.name: settle_labels,
    jobs.REFIT.name: calibrate,
    jobs.REPORT.name: report_page,
    jobs.SUMMARY.name: summarise,
    jobs.TRAIN.name: train,
}
"""The step behind each stage's name."""


def step_of(claim: Claim) -> Step:
    """What a batch's stage does.

    Raises:
        ConfigurationError: this version of the software knows no such stage.
    """
    try:
        return STEPS[claim.step]
    except KeyError:
        raise ConfigurationError(f"this version knows no step '{claim.step}'; upgrade the worker") from None
