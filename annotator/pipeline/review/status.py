"""How far the review is: open tasks by reason, the pace, the work left, and how good the annotators are."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.errors import AnnotatorError
from annotator.labelstudio.administration import user_names
from annotator.pipeline.decisions import EXPERT
from annotator.pipeline.review.ask import STAGE
from annotator.pipeline.review.rules import annotator_name
from annotator.pipeline.review.stopping import failing_annotators
from annotator.pipeline.review.studio import open_studio
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import (
    AnnotatorRow,
    FailureRow,
    PersonRow,
    PreLabelRow,
    ReviewTaskRow,
    TaskKind,
    TaskState,
    VoteRow,
)

DEFAULT_SECONDS = 8.0
"""Seconds for a vote where nothing was measured yet."""


@dataclass(frozen=True, slots=True)
class AnnotatorLine:
    """One annotator: ``name`` is the e-mail address where Label Studio could be asked, else the id.

    ``age_mae`` in years and ``gender_accuracy`` are on control people; ``seconds`` is the median for a vote.
    """

    annotator: str
    name: str
    votes: int
    not_counted: int
    controls: int
    age_mae: float | None
    gender_accuracy: float | None
    seconds: float | None
    failing: bool


@dataclass(frozen=True, slots=True)
class ReviewStatus:
    """The review in figures.

    ``open`` counts tasks that wait for votes, ``by_reason`` why these people are asked about (a person may have several
    reasons), ``expert`` people whom votes cannot settle, ``votes_left`` the votes that are wanted before the stop rule
    looks again. ``votes_per_hour`` is what one annotator at work gives, by the median time of a vote; ``hours_left`` is
    ``votes_left`` at that pace. ``expert_people`` lists the first of those.
    """

    open: int
    by_reason: Mapping[str, int]
    by_kind: Mapping[str, int]
    settled: int
    closed: int
    expert: int
    expert_people: Sequence[str]
    votes: int
    not_counted: Mapping[str, int]
    votes_last_day: int
    votes_left: int
    votes_per_hour: float
    hours_left: float
    failed: int
    annotators: Sequence[AnnotatorLine]


def review_status(store: Store, settings: Settings, *, list_experts: int = 20) -> ReviewStatus:
    """Reads everything from the database; only the annotators' names come from Label Studio, if it answers."""
    names = _names(settings)
    failing = failing_annotators(store, settings)
    with store.read() as session:
        tasks = session.scalars(select(ReviewTaskRow).order_by(ReviewTaskRow.id)).all()
        experts = [row for row in tasks if row.kind is TaskKind.EXPERT and row.state is TaskState.OPEN]
        waiting = [row for row in tasks if row.kind is not TaskKind.EXPERT and row.state is TaskState.OPEN]
        seconds = _seconds(session)
        median = statistics.median(value for each in seconds.values() for value in each) if seconds else DEFAULT_SECONDS
        left = _votes_left(session, settings, waiting)
        return ReviewStatus(
            open=len(waiting),
            by_reason=_reasons(session, waiting),
            by_kind=_count(row.kind.value for row in waiting),
            settled=sum(row.state is TaskState.SETTLED for row in tasks),
            closed=sum(row.state is TaskState.CLOSED for row in tasks),
            expert=len(experts),
            expert_people=_people(session, experts[:list_experts]),
            votes=session.scalar(select(func.count()).select_from(VoteRow).where(VoteRow.counts)) or 0,
            not_counted=_remarks(session),
            votes_last_day=_recent(session),
            votes_left=left,
            votes_per_hour=round(3600 / max(median, 0.1), 1),
            hours_left=round(left * median / 3600, 2),
            failed=session.scalar(select(func.count()).select_from(FailureRow).where(FailureRow.stage == STAGE)) or 0,
            annotators=_annotators(session, names, failing, seconds),
        )


def _names(settings: Settings) -> dict[str, str]:
    if not settings.label_studio_url or settings.label_studio_api_key is None:
        return {}
    try:
        with open_studio(settings) as client:
            return {annotator_name(number): name for number, name in user_names(client).items()}
    except AnnotatorError:
        return {}  # the figures are ours; only the names are Label Studio's


def _count(values: object) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))  # type: ignore[call-overload]


def _reasons(session: Session, waiting: Sequence[ReviewTaskRow]) -> dict[str, int]:
    keys = {row.person_key: row.kind for row in waiting}
    counts: Counter[str] = Counter()
    query = select(PreLabelRow.person_key, PreLabelRow.reasons).where(PreLabelRow.is_current)
    for key, reasons in session.execute(query):
        if keys.get(key) in (TaskKind.REVIEW, TaskKind.AUDIT):
            counts.update(reason.value for reason in reasons or ())
    counts.update("control" for kind in keys.values() if kind is TaskKind.CONTROL)
    return dict(sorted(counts.items()))


def _people(session: Session, rows: Sequence[ReviewTaskRow]) -> list[str]:
    keys = [row.person_key for row in rows]
    query = select(PersonRow.person_id).where(PersonRow.id.in_(keys))
    return list(session.scalars(query.order_by(PersonRow.person_id)))


def _remarks(session: Session) -> dict[str, int]:
    query = (
        select(VoteRow.remark, func.count()).where(~VoteRow.counts, VoteRow.source != EXPERT).group_by(VoteRow.remark)
    )
    counts: Counter[str] = Counter()
    for remark, count in session.execute(query):
        counts[(remark or "not counted").partition(":")[0].partition(" by ")[0]] += count
    return dict(sorted(counts.items()))


def _recent(session: Session) -> int:
    recent = (VoteRow.created_at >= datetime.now(UTC) - timedelta(days=1)) & (VoteRow.source != EXPERT)
    return session.scalar(select(func.count()).select_from(VoteRow).where(recent)) or 0


def _votes_left(session: Session, settings: Settings, waiting: Sequence[ReviewTaskRow]) -> int:
    counted: Counter[int] = Counter(session.scalars(select(VoteRow.person_key).where(VoteRow.counts)))
    return sum(max(settings.settle_min_votes - counted[row.person_key], 1) for row in waiting)


def _seconds(session: Session) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    query = select(VoteRow.annotator_id, VoteRow.seconds).where(VoteRow.counts, VoteRow.seconds > 0)
    for name, value in session.execute(query):
        found.setdefault(name, []).append(float(value or 0))
    return found


def _annotators(
    session: Session, names: Mapping[str, str], failing: Sequence[str], seconds: Mapping[str, Sequence[float]]
) -> list[AnnotatorLine]:
    quality = {row.annotator_id: row for row in session.scalars(select(AnnotatorRow))}
    each = (VoteRow.annotator_id, VoteRow.counts)
    query = select(*each, func.count()).where(VoteRow.source != EXPERT).group_by(*each)
    counts = {(name, counted): count for name, counted, count in session.execute(query)}
    lines = []
    for name in sorted({name for name, _ in counts}):
        row = quality.get(name)
        lines.append(
            AnnotatorLine(
                annotator=name,
                name=names.get(name, name),
                votes=counts.get((name, True), 0),
                not_counted=counts.get((name, False), 0),
                controls=row.controls if row else 0,
                age_mae=row.age_mae if row else None,
                gender_accuracy=row.gender_accuracy if row else None,
                seconds=statistics.median(seconds[name]) if seconds.get(name) else None,
                failing=name in failing,
            )
        )
    return lines
