"""How far the project is: counts of everything by state and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session

from annotator.store.session import Store
from annotator.store.tables import FailureRow, ImageRow, LabelRow, PersonRow, PredictionRow, PreLabelRow, VoteRow


@dataclass(frozen=True, slots=True)
class FailureLine:
    """One thing that failed, and why."""

    stage: str
    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Counts of a project.

    ``predictions`` are by predictor version and status, ``versions`` are current pre-labels by ensemble version,
    ``open_review`` counts flagged people without a label, ``failures`` all failures by stage and reason;
    ``failed`` lists the first of them.
    """

    images: Mapping[str, int]
    people: int
    predictions: Mapping[str, Mapping[str, int]]
    versions: Mapping[str, int]
    review: int
    open_review: int
    reasons: Mapping[str, int]
    votes: int
    annotators: int
    labels: Mapping[str, int]
    failures: Mapping[str, Mapping[str, int]]
    failed: Sequence[FailureLine]


def status(store: Store, *, list_failures: int = 50) -> StatusReport:
    """Counts everything in one reading of the database, and lists up to ``list_failures`` failures."""
    with store.read() as session:
        versions, review, reasons = _pre_labels(session)
        labelled = select(LabelRow.id).where(LabelRow.person_key == PreLabelRow.person_key).exists()
        waiting = select(func.count()).where(PreLabelRow.is_current, PreLabelRow.review.is_(True), ~labelled)
        return StatusReport(
            images=_grouped(session, select(ImageRow.state, func.count()).group_by(ImageRow.state)),
            people=_count(session, select(func.count()).select_from(PersonRow).where(PersonRow.active)),
            predictions=_nested(session, _predictions()),
            versions=versions,
            review=review,
            open_review=_count(session, waiting),
            reasons=reasons,
            votes=_count(session, select(func.count()).select_from(VoteRow).where(VoteRow.counts)),
            annotators=_count(session, select(func.count(VoteRow.annotator_id.distinct()))),
            labels=_grouped(session, select(LabelRow.source, func.count()).group_by(LabelRow.source)),
            failures=_nested(session, _failures()),
            failed=_failed(session, list_failures),
        )


def _pre_labels(session: Session) -> tuple[dict[str, int], int, dict[str, int]]:
    """Current pre-labels by version, how many of them are flagged, and why; all in one reading of a large table."""
    why = case((PreLabelRow.review.is_(True), PreLabelRow.reasons))
    columns = (PreLabelRow.version, PreLabelRow.review, why)
    versions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    flagged = 0
    query = select(*columns, func.count()).where(PreLabelRow.is_current).group_by(*columns)
    for version, review, named, count in session.execute(query):
        versions[version] += count
        flagged += count if review else 0
        reasons.update({reason.value: count for reason in named or ()})
    return dict(sorted(versions.items())), flagged, dict(sorted(reasons.items()))


def _predictions() -> Select[str, str, int]:
    columns = (PredictionRow.version, PredictionRow.status)
    return select(*columns, func.count()).group_by(PredictionRow.predictor, *columns)


def _failures() -> Select[str, str, int]:
    columns = (FailureRow.stage, FailureRow.reason)
    return select(*columns, func.count()).group_by(*columns)


def _count(session: Session, query: Select[int]) -> int:
    return session.scalar(query) or 0


def _grouped(session: Session, query: Select[str, int]) -> dict[str, int]:
    return dict(sorted((str(name), count) for name, count in session.execute(query)))


def _nested(session: Session, query: Select[str, str, int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for outer, inner, count in session.execute(query):
        found.setdefault(str(outer), {})[str(inner)] = count
    return {outer: dict(sorted(found[outer].items())) for outer in sorted(found)}


def _failed(session: Session, most: int) -> list[FailureLine]:
    query = select(FailureRow).order_by(FailureRow.stage, FailureRow.name, FailureRow.subject).limit(most)
    return [FailureLine(row.stage, row.name, row.reason, row.message) for row in session.scalars(query)]
