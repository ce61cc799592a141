"""The verdict over everybody: who goes to review, in which order, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, bindparam, func, select, update
from sqlalchemy.orm import Session

from annotator.domain import Fused, PreLabel, ReviewReason
from annotator.ensemble import verdicts as judges
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import PersonRow, PreLabelRow


@dataclass(frozen=True, slots=True)
class TriageReport:
    """How many people have a pre-label, how many of them go to review, and how often each reason was given."""

    people: int
    review: int
    reasons: Mapping[str, int]


def triage(store: Store, settings: Settings) -> TriageReport:
    """Judges all current pre-labels together and stores what changed; the same rows whatever happened before."""
    store.tune()
    with store.read() as session:
        rows = session.execute(_current().order_by(PersonRow.person_id)).all()
    verdicts = _judge([records.to_fused(row, person_id) for row, person_id in rows], settings, settings.review_rate)
    changed = [
        {"key": row.id, "priority": verdict.priority, "review": verdict.review, "reasons": verdict.reasons}
        for (row, _), verdict in zip(rows, verdicts, strict=True)
        if (row.priority, row.review, row.reasons) != (verdict.priority, verdict.review, verdict.reasons)
    ]
    if changed:
        with store.write() as session:
            _write(session, changed)
    reasons = Counter(reason.value for verdict in verdicts for reason in verdict.reasons)
    return TriageReport(len(rows), sum(verdict.review for verdict in verdicts), dict(sorted(reasons.items())))


def triage_few(session: Session, settings: Settings, fused: Sequence[Fused]) -> list[PreLabel]:
    """Verdicts on a few people by the standard that the last full triage set; before one, every reason is heard.

    The next full triage may judge otherwise: whether a person is among the top share depends on all others.
    """
    if settings.target_error is not None or not fused:
        return _judge(fused, settings, settings.review_rate)
    bar = _lowest_flagged(session)
    flags = [
        bool(person.reasons) if bar is None else priority >= bar
        for person, priority in zip(fused, judges.priorities(fused).tolist(), strict=True)
    ]
    everybody = _judge(fused, settings, 1.0)
    nobody = _judge(fused, settings, 0.0)
    return [yes if flag else no for flag, yes, no in zip(flags, everybody, nobody, strict=True)]


def _judge(fused: Sequence[Fused], settings: Settings, review_rate: float) -> list[PreLabel]:
    return judges.triage(
        fused,
        review_rate=review_rate,
        audit_rate=settings.audit_rate,
        seed=settings.seed,
        target_error=settings.target_error,
    )


def _current() -> Select[PreLabelRow, str]:
    join = PersonRow.id == PreLabelRow.person_key
    return (
        select(PreLabelRow, PersonRow.person_id).join(PersonRow, join).where(PreLabelRow.is_current, PersonRow.active)
    )


def _lowest_flagged(session: Session) -> float | None:
    flagged = PreLabelRow.is_current & PreLabelRow.review & (PreLabelRow.reasons != (ReviewReason.AUDIT,))
    return session.scalar(select(func.min(PreLabelRow.priority)).where(flagged, PreLabelRow.age.is_not(None)))


def _write(session: Session, changed: Sequence[dict[str, object]]) -> None:
    statement = (
        update(PreLabelRow)
        .where(PreLabelRow.id == bindparam("key"))
        .values(priority=bindparam("priority"), review=bindparam("review"), reasons=bindparam("reasons"))
    )
    session.connection().execute(statement, list(changed))
