"""Labels: what was given, what the votes agree on, and pre-labels that nobody needs to look at."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, false, func, literal, or_, select, update
from sqlalchemy.orm import Bundle, Session

from annotator.domain import Gender, Label, LabelSource
from annotator.pipeline.decisions import decisions
from annotator.pipeline.ensemble_vote import add_ensemble
from annotator.pipeline.watch import SILENT, Watch
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import (
    AnnotatorRow,
    EventRow,
    LabelRow,
    MetaRow,
    PersonRow,
    PreLabelRow,
    ReviewTaskRow,
    TaskState,
    VoteRow,
)
from annotator.store.upsert import upsert
from annotator.voting import AnnotatorColumns, Consensus, ControlTable, VoteTable, aggregate
from annotator.voting.machine import ENSEMBLE, voted_by_ensemble
from annotator.voting.stopping import Verdict, next_step
from annotator.voting.tables import gender_code

CHUNK = 2000
"""People per transaction."""

METHODS = "settle:methods"
"""Key of the ``meta`` row that holds the methods of the last settlement."""
DEFAULT_METHODS = ["precision", "auto"]
GIVEN = "given"
"""Method of a label that is a truth as ingested."""


@dataclass(frozen=True, slots=True)
class SettleReport:
    """Labels by source, how many of all changed now, and what the stop rule says of people with votes."""

    labels: Mapping[str, int]
    changed: int
    steps: Mapping[str, int]
    age_method: str | None
    gender_method: str | None


def settle(
    store: Store,
    settings: Settings,
    *,
    age_method: str | None = None,
    gender_method: str | None = None,
    watch: Watch = SILENT,
) -> SettleReport:
    """Brings every person's label up to date; a second run changes nothing.

    A method that is not given is the one of the last settlement, at first ``precision`` and ``auto``.

    A truth that was ingested comes first, then what an expert decided, then votes that the stop rule of the settings is
    content with, then a pre-label that the triage did not flag. A label whose grounds are gone goes too. Each change is
    an event.
    """
    store.tune()
    methods = _methods(store, age_method, gender_method)
    consensus, steps, helped = _votes(store, settings, *methods)
    settled = _settled(consensus, steps, helped) if consensus else {}
    with store.read() as session:
        settled |= decisions(session)
    _keep_annotators(store, consensus)
    changed = 0
    watch.begin("people")
    for keys in _doubtful(store):
        with store.write() as session:
            changed += _update(session, keys, settled)
        watch.step(len(keys))
    return SettleReport(
        _labels(store),
        changed,
        dict(sorted(Counter(str(step) for step in steps).items())),
        consensus.age_method if consensus else None,
        consensus.gender_method if consensus else None,
    )


def _methods(store: Store, age_method: str | None, gender_method: str | None) -> tuple[str, str]:
    """The methods to use, kept for next time: whoever settles again without naming one means the same."""
    with store.read() as session:
        last = session.scalar(select(MetaRow.value).where(MetaRow.key == METHODS))
    old = json.loads(last) if last else DEFAULT_METHODS
    chosen = (age_method or old[0], gender_method or old[1])
    if last is None or list(chosen) != old:
        with store.write() as session:
            upsert(session, MetaRow, [{"key": METHODS, "value": json.dumps(chosen)}], keys=("key",))
    return chosen


def read_votes(session: Session) -> VoteTable:
    """All votes that count; of two by one annotator on one person the later one."""
    query = (
        select(VoteRow, PersonRow.person_id)
        .join(PersonRow, PersonRow.id == VoteRow.person_key)
        .where(VoteRow.counts, PersonRow.active)
        .order_by(VoteRow.id)
    )
    rows = session.execute(query.execution_options(yield_per=CHUNK))
    return VoteTable.from_votes(records.to_vote(row, person_id) for row, person_id in rows)


def read_controls(session: Session) -> ControlTable | None:
    """People with votes whose truth is known, ``None`` where there are none."""
    known = PersonRow.truth_age.is_not(None) | PersonRow.truth_gender.is_not(None)
    query = select(PersonRow.person_id, PersonRow.truth_age, PersonRow.truth_gender)
    voted = select(VoteRow.person_key).where(VoteRow.counts)
    rows = session.execute(query.where(known, PersonRow.active, PersonRow.id.in_(voted))).all()
    if not rows:
        return None
    ages = [float("nan") if age is None else age for _, age, _ in rows]
    return ControlTable.from_columns(
        [name for name, _, _ in rows], ages, [gender_code(gender) for _, _, gender in rows]
    )


def standing(store: Store, settings: Settings) -> tuple[Consensus | None, Sequence[Verdict]]:
    """What the votes say now, by the methods of the last settlement, and what the stop rule says of each person."""
    consensus, steps, _ = _votes(store, settings, *_methods(store, None, None))
    return consensus, steps


def _votes(
    store: Store, settings: Settings, age_method: str, gender_method: str
) -> tuple[Consensus | None, Sequence[Verdict], Collection[int]]:
    """The consensus, the next step of each of its people, and on whom of them the ensemble voted (their places)."""
    with store.read() as session:
        votes, controls = add_ensemble(session, settings, read_votes(session)), read_controls(session)
    if not len(votes):
        return None, [], ()
    consensus = aggregate(votes, controls, age_method=age_method, gender_method=gender_method, seed=settings.seed)
    steps = next_step(
        consensus,
        min_votes=settings.settle_min_votes,
        max_votes=settings.settle_max_votes,
        max_age_sd=settings.settle_age_sd,
        min_gender_probability=settings.settle_gender_probability,
    )
    return consensus, list(steps), voted_by_ensemble(votes)


def _settled(consensus: Consensus, steps: Sequence[Verdict], helped: Collection[int]) -> dict[str, Label]:
    method = f"{consensus.age_method}+{consensus.gender_method}"
    return {
        str(consensus.person_ids[row]): Label(
            person_id=str(consensus.person_ids[row]),
            age=float(consensus.age[row]),
            age_sd=float(consensus.age_sd[row]),
            gender=Gender.FEMALE if consensus.gender[row] == gender_code(Gender.FEMALE) else Gender.MALE,
            gender_probability=float(consensus.gender_probability[row]),
            source=LabelSource.SETTLED,
            votes=int(consensus.votes[row]),
            method=f"{method}+{ENSEMBLE}" if row in helped else method,
        )
        for row, step in enumerate(steps)
        if step == Verdict.SETTLED
    }


def _keep_annotators(store: Store, consensus: Consensus | None) -> None:
    """The quality of each annotator, as this settlement saw it; those without votes go."""
    columns = consensus.annotators if consensus else None
    names = [str(name) for name in columns.annotator_ids] if columns else []
    rows = [{"annotator_id": name, **_quality(columns, row)} for row, name in enumerate(names)] if columns else []
    with store.write() as session:
        session.execute(delete(AnnotatorRow).where(AnnotatorRow.annotator_id.not_in(names)))
        upsert(session, AnnotatorRow, rows, keys=("annotator_id",))


def _quality(columns: AnnotatorColumns, row: int) -> dict[str, float | int | None]:
    years = ("age_mae", "age_bias", "age_sd", "gender_accuracy", "age_weight")
    measured = {name: float(getattr(columns, name)[row]) for name in years}
    return {
        "votes": int(columns.votes[row]),
        "controls": int(columns.controls[row]),
        **{name: None if math.isnan(value) else value for name, value in measured.items()},
    }


def _labels(store: Store) -> dict[str, int]:
    with store.read() as session:
        query = select(LabelRow.source, func.count()).group_by(LabelRow.source)
        return dict(sorted((source.value, count) for source, count in session.execute(query)))


def _doubtful(store: Store) -> Iterator[Sequence[int]]:
    """People whose label may have to change, by id."""
    last = 0
    while True:
        query = _joined(select(PersonRow.id), last).where(PersonRow.id > last, ~_stands())
        with store.read() as session:
            keys = session.scalars(query.order_by(PersonRow.id).limit(CHUNK)).all()
        if not keys:
            return
        yield keys
        last = keys[-1]


def _joined(query: Select[Any], after: int = 0) -> Select[Any]:
    """With the pre-label that counts and the label, where there are some, of people after a key.

    The key is said of each table, so that no database reads the beginning again for every page.
    """
    current = (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current & (PreLabelRow.person_key > after)
    label = (LabelRow.person_key == PersonRow.id) & (LabelRow.person_key > after)
    return query.select_from(PersonRow).outerjoin(PreLabelRow, current).outerjoin(LabelRow, label)


def _stands() -> ColumnElement[bool]:
    """Whether a label is what :func:`_label` would say, of people without any vote.

    Said to the database, which compares a million of them in seconds.
    """
    given = PersonRow.truth_age.is_not(None) & PersonRow.truth_gender.is_not(None)
    female = PreLabelRow.female_probability
    accepted = ~given & PreLabelRow.review.is_(False) & PreLabelRow.age.is_not(None) & female.is_not(None)
    gender = LabelRow.gender.type
    unlabelled = LabelRow.id.is_(None) & ~(PersonRow.active & (given | accepted))
    as_given = and_(
        given,
        LabelRow.source == LabelSource.GIVEN,
        LabelRow.method == GIVEN,
        LabelRow.age == PersonRow.truth_age,
        LabelRow.gender == PersonRow.truth_gender,
        LabelRow.age_sd.is_(None),
        LabelRow.gender_probability.is_(None),
    )
    as_accepted = and_(
        accepted,
        LabelRow.source == LabelSource.ACCEPTED,
        LabelRow.method == PreLabelRow.version,
        LabelRow.age == PreLabelRow.age,
        LabelRow.age_sd.is_not_distinct_from(PreLabelRow.age_sd),
        LabelRow.gender == case((female >= 0.5, literal(Gender.FEMALE, gender)), else_=literal(Gender.MALE, gender)),
        LabelRow.gender_probability == case((female >= 0.5, female), else_=1.0 - female),
    )
    same = unlabelled | (PersonRow.active & (LabelRow.votes == 0) & or_(as_given, as_accepted))
    unasked = ~select(VoteRow.id).where(VoteRow.person_key == PersonRow.id).exists()
    return unasked & func.coalesce(same, false())


def _update(session: Session, keys: Sequence[int], settled: Mapping[str, Label]) -> int:
    """How many labels of these people were written or taken away."""
    query = _joined(select(_PERSON, _PRE_LABEL, _LABEL)).where(PersonRow.id.in_(keys))
    fresh, gone = [], []
    for person, current, known in session.execute(query):
        pre_label, old = (None if row.id is None else row for row in (current, known))
        label = _label(person, pre_label, settled) if person.active else None
        before = records.to_label(old, person.person_id) if old else None
        if label and label != before:
            fresh.append((person.id, label))
        elif old and not label:
            gone.append((person.id, person.person_id))
    _write(session, fresh, gone)
    return len(fresh) + len(gone)


_PERSON: Bundle[Any] = Bundle(
    "person", PersonRow.id, PersonRow.person_id, PersonRow.active, PersonRow.truth_age, PersonRow.truth_gender
)
_PRE_LABEL: Bundle[Any] = Bundle(
    "pre_label",
    *(getattr(PreLabelRow, name) for name in ("id", "version", "age", "age_sd", "female_probability", "review")),
)
_LABEL: Bundle[Any] = Bundle(
    "label", LabelRow.id, *(getattr(LabelRow, name) for name in Label.__slots__ if name != "person_id")
)
"""The columns that a label depends on: whole objects of a million people cost three times as much."""


def _label(person: PersonRow, pre_label: PreLabelRow | None, settled: Mapping[str, Label]) -> Label | None:
    if person.truth_age is not None and person.truth_gender is not None:
        return Label(person.person_id, person.truth_age, None, person.truth_gender, None, LabelSource.GIVEN, 0, GIVEN)
    return settled.get(person.person_id) or _accepted(person, pre_label)


def _accepted(person: PersonRow, row: PreLabelRow | None) -> Label | None:
    if row is None or row.review is not False or row.age is None or row.female_probability is None:
        return None
    female = row.female_probability
    gender = Gender.from_probability(female)
    sure = max(female, 1 - female)
    return Label(person.person_id, row.age, row.age_sd, gender, sure, LabelSource.ACCEPTED, 0, row.version)


def _write(session: Session, fresh: Sequence[tuple[int, Label]], gone: Sequence[tuple[int, str]]) -> None:
    upsert(session, LabelRow, [records.label_values(key, label) for key, label in fresh], keys=("person_key",))
    session.execute(delete(LabelRow).where(LabelRow.person_key.in_([key for key, _ in gone])))
    events = [EventRow(kind="labelled", subject=label.person_id, data=_facts(label)) for _, label in fresh]
    events += [EventRow(kind="unlabelled", subject=person_id, data={}) for _, person_id in gone]
    session.add_all(events)
    closed = [key for key, label in fresh if label.source == LabelSource.SETTLED]
    open_tasks = ReviewTaskRow.person_key.in_(closed) & (ReviewTaskRow.state == TaskState.OPEN)
    session.execute(update(ReviewTaskRow).where(open_tasks).values(state=TaskState.SETTLED))


def _facts(label: Label) -> dict[str, object]:
    gender = label.gender.value if label.gender else None
    return {"source": label.source.value, "age": label.age, "gender": gender, "votes": label.votes, "by": label.method}
