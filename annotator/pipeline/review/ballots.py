"""Votes into the database, so that it equals what Label Studio holds: new, changed, withdrawn, not counting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from annotator.errors import InputError
from annotator.labelstudio.answers import PROBLEMS, marker_of, moment, read_answer
from annotator.pipeline.review.rules import NOT_BLIND, REPLACED, Ballot, Judged, annotator_name, judge, reports_problem
from annotator.pipeline.revisions import revisions
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import EventRow, PersonRow, VoteRow
from annotator.store.upsert import upsert

CHUNK = 500
ALLOWED = "vote_allowed"
"""Kind of the event that lets an edited or forged vote count."""

COMPARED = ("person_key", "annotator_id", "age", "gender", "seconds", "counts", "remark")


@dataclass(frozen=True, slots=True)
class BallotReport:
    """What became of votes: new, changed and gone ones; of those that are there, counting ones and doubtful ones.

    ``doubtful`` names annotations that somebody else than their author wrote, with what was found. ``unknown_problems``
    counts answers by each problem that the vote configuration does not offer.
    """

    new: int
    changed: int
    gone: int
    counting: int
    doubtful: Mapping[str, str]
    by_remark: Mapping[str, int]
    unknown_problems: Mapping[str, int]


def source_of(project: int) -> str:
    """The ``source`` of votes from a Label Studio project."""
    return f"labelstudio:{project}"


def vote_ballots(store: Store, project: int, tasks: Sequence[Mapping[str, Any]]) -> tuple[list[Ballot], int]:
    """The ballots of vote tasks, and how many annotated tasks are of nobody we know."""
    markers = [(marker_of(task) or "").partition("/") for task in tasks]
    with store.read() as session:
        keys = person_keys(session, {person for person, _, _ in markers})
        boxes = revisions(session)
    ballots, unknown = [], 0
    for task, (person, _, round_) in zip(tasks, markers, strict=True):
        if person not in keys:
            unknown += 1
            continue
        is_current = not round_.isdigit() or boxes.is_current(person, int(round_))
        for annotation in task["annotations"]:
            name = str(annotation["id"])
            answer = read_answer(annotation)
            ballots.append(Ballot(source_of(project), name, keys[person], person, answer, is_current=is_current))
    return ballots, unknown


def person_keys(session: Session, names: Collection[str]) -> dict[str, int]:
    """Keys of people by id."""
    found: dict[str, int] = {}
    ordered = sorted(names)
    for start in range(0, len(ordered), CHUNK):
        part = ordered[start : start + CHUNK]
        found |= dict(
            session.execute(select(PersonRow.person_id, PersonRow.id).where(PersonRow.person_id.in_(part))).all()
        )
    return found


def allow(store: Store, ballots: Sequence[Ballot], names: Collection[str]) -> None:
    """Let annotations count although somebody else than their author wrote them, as long as they say what they say now.

    Raises:
        InputError: there is no such annotation.
    """
    wanted = [one for one in ballots if one.name.partition(":")[0] in names]
    missing = set(names) - {one.name.partition(":")[0] for one in wanted}
    if missing:
        raise InputError(f"Label Studio has no annotation {min(missing)} in our projects")
    with store.write() as session:
        known = allowed_fingerprints(session)
        for one in wanted:
            if one.answer.fingerprint[:200] not in known:
                known.add(one.answer.fingerprint[:200])
                data = {"annotation": one.name, "person": one.person_id}
                session.add(EventRow(kind=ALLOWED, subject=one.answer.fingerprint[:200], data=data))


def allowed_fingerprints(session: Session) -> set[str]:
    """What leads have let through."""
    return set(session.scalars(select(EventRow.subject).where(EventRow.kind == ALLOWED)))


def reconcile(
    store: Store, settings: Settings, ballots: Sequence[Ballot], sources: Collection[str]
) -> tuple[BallotReport, list[Judged]]:
    """Make the votes of ``sources`` those of ``ballots``; every change is an event. Interrupted, it is just repeated.

    Ballots that were replaced because of their annotator stay so while they say the same.
    """
    with store.read() as session:
        known = {(row.source, row.annotation_id): row for row in _rows(session, sources)}
        allowed = allowed_fingerprints(session)
    kept = {key for key, row in known.items() if row.remark == REPLACED} & {_unchanged(one, known) for one in ballots}
    people: dict[int, list[Ballot]] = defaultdict(list)
    for one in ballots:
        people[one.person_key].append(one)
    judged = [
        one for group in people.values() for one in judge(group, allowed, kept, count_whole=settings.review_count_whole)
    ]
    fresh = [one for one in judged if _differs(one, known.get((one.ballot.source, one.ballot.name)))]
    present = {(one.source, one.name) for one in ballots}
    gone = [row for key, row in known.items() if key not in present]
    _write(store, fresh, gone)
    new = sum((one.ballot.source, one.ballot.name) not in known for one in fresh)
    return _report(judged, new, len(fresh) - new, len(gone)), judged


def reports_by_person(judged: Iterable[Judged]) -> dict[int, int]:
    """How many different people reported a problem with each person, by the person's key."""
    authors: dict[int, set[int | None]] = defaultdict(set)
    for one in judged:
        if reports_problem(one):
            authors[one.ballot.person_key].add(one.ballot.answer.author)
    return {key: len(who) for key, who in authors.items()}


def withdraw(store: Store, gone: Sequence[VoteRow]) -> None:
    """Votes that Label Studio does not hold any more; their events stay."""
    for start in range(0, len(gone), CHUNK):
        rows = gone[start : start + CHUNK]
        with store.write() as session:
            session.execute(delete(VoteRow).where(VoteRow.id.in_([row.id for row in rows])))
            data = [{"source": row.source, "annotation": row.annotation_id, "by": row.annotator_id} for row in rows]
            names = dict(
                session.execute(
                    select(PersonRow.id, PersonRow.person_id).where(PersonRow.id.in_([row.person_key for row in rows]))
                ).all()
            )
            session.add_all(
                [
                    EventRow(kind="vote_withdrawn", subject=names[row.person_key], data=facts)
                    for row, facts in zip(rows, data, strict=True)
                ]
            )


def _rows(session: Session, sources: Collection[str]) -> Iterable[VoteRow]:
    return session.scalars(select(VoteRow).where(VoteRow.source.in_(sources)))


def _unchanged(ballot: Ballot, known: Mapping[tuple[str, str], VoteRow]) -> tuple[str, str] | None:
    row = known.get((ballot.source, ballot.name))
    answer = ballot.answer
    same = row is not None and (row.age, row.gender) == (answer.age, answer.gender)
    return (ballot.source, ballot.name) if same else None


def _values(one: Judged) -> dict[str, Any]:
    answer = one.ballot.answer
    said = {"age": None, "gender": None} if answer.is_skipped else {"age": answer.age, "gender": answer.gender}
    return {
        "source": one.ballot.source,
        "annotation_id": one.ballot.name,
        "person_key": one.ballot.person_key,
        "annotator_id": annotator_name(answer.author),
        **said,
        "seconds": answer.seconds,
        "counts": one.counts,
        "remark": one.remark,
        "created_at": datetime.fromtimestamp(moment(answer.created), UTC),
    }


def _differs(one: Judged, row: VoteRow | None) -> bool:
    values = _values(one)
    return row is None or any(getattr(row, name) != values[name] for name in COMPARED)


def _write(store: Store, fresh: Sequence[Judged], gone: Sequence[VoteRow]) -> None:
    for start in range(0, len(fresh), CHUNK):
        part = fresh[start : start + CHUNK]
        with store.write() as session:
            upsert(session, VoteRow, [_values(one) for one in part], keys=("source", "annotation_id"))
            session.add_all([EventRow(kind="voted", subject=one.ballot.person_id, data=_facts(one)) for one in part])
    withdraw(store, gone)


def _facts(one: Judged) -> dict[str, Any]:
    values = _values(one)
    gender = values["gender"]
    return {
        "source": values["source"],
        "annotation": values["annotation_id"],
        "by": values["annotator_id"],
        "age": values["age"],
        "gender": gender.value if gender else None,
        "counts": one.counts,
        "remark": one.remark,
    }


def _report(judged: Sequence[Judged], new: int, changed: int, gone: int) -> BallotReport:
    remarks: dict[str, int] = defaultdict(int)
    strange: dict[str, int] = defaultdict(int)
    doubtful = {}
    for one in judged:
        for problem in set(one.ballot.answer.problems).difference(PROBLEMS):
            strange[problem] += 1
        if one.remark and one.remark != NOT_BLIND:
            remarks[one.remark.partition(":")[0].partition(" by ")[0]] += 1
        if one.remark and one.remark.startswith("written by "):
            doubtful[one.ballot.name.partition(":")[0]] = f"{one.ballot.person_id}: {one.remark}"
    return BallotReport(
        new,
        changed,
        gone,
        sum(one.counts for one in judged),
        dict(sorted(doubtful.items())),
        dict(sorted(remarks.items())),
        dict(sorted(strange.items())),
    )
