from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DatabaseError as SQLDatabaseError
from sqlalchemy.exc import IntegrityError, StatementError

from annotator.domain import (
    Box,
    Fused,
    Gender,
    ImageRecord,
    Label,
    LabelSource,
    Person,
    Prediction,
    PredictionStatus,
    ReviewReason,
    Truth,
    Vote,
)
from annotator.store import records
from annotator.store.session import Store, open_store
from annotator.store.tables import (
    Base,
    EventRow,
    FailureRow,
    FitRow,
    ImageRow,
    ImageState,
    LabelRow,
    PersonRow,
    PersonSource,
    PredictionRow,
    PreLabelRow,
    ReviewTaskRow,
    TaskKind,
    VoteRow,
)
from annotator.store.upsert import insert_new, upsert

SHA = "ab" * 32
IMAGE = ImageRecord(SHA, "/pictures/a.jpg", "a.jpg", "JPEG", 640, 480, 12345)
PERSON = Person(
    Person.make_id(SHA, 0), SHA, 0, Box(1, 2, 100, 200), Box(30.5, 10, 60, 50), 0.9, 0.8, Truth(33.0, Gender.FEMALE)
)
PREDICTION = Prediction(
    "mivolo", "mivolo@1", PredictionStatus.OK, 31.5, 4.0, 0.97, None, None, {"raw": "ä", "inputs": ["face"]}
)
FUSED = Fused(PERSON.person_id, 31.0, 4.0, 25.0, 38.0, 0.97, 3.1, 0.2, (ReviewReason.NO_FACE,), "uncalibrated")
LABEL = Label(PERSON.person_id, 32.0, 2.0, Gender.FEMALE, 0.99, LabelSource.SETTLED, 4, "precision+auto")
VOTE = Vote("studio", "17", PERSON.person_id, "ann", 32.0, Gender.FEMALE, 6.5)


@pytest.fixture
def person(store: Store) -> PersonRow:
    """One registered image with one person."""
    with store.write() as session:
        image = ImageRow(**records.image_values(IMAGE))
        session.add(image)
        session.flush()
        row = PersonRow(**records.person_values(image.id, PERSON, PersonSource.DETECTED))
        session.add(row)
        session.flush()
        return row


def count(store: Store, table: type[Base]) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_domain_objects_come_back_as_they_went_in(store: Store, person: PersonRow) -> None:
    with store.write() as session:
        session.add(PredictionRow(**records.prediction_values(person, PREDICTION)))
        session.add(PreLabelRow(**records.pre_label_values(person.id, "v1", FUSED)))
        session.add(LabelRow(**records.label_values(person.id, LABEL)))
        session.add(VoteRow(**records.vote_values(person.id, VOTE)))
    with store.read() as session:
        assert records.to_image(session.scalars(select(ImageRow)).one()) == IMAGE
        assert records.to_person(session.scalars(select(PersonRow)).one(), SHA) == PERSON
        assert records.to_prediction(session.scalars(select(PredictionRow)).one()) == PREDICTION
        pre_label = session.scalars(select(PreLabelRow)).one()
        assert records.to_fused(pre_label, PERSON.person_id) == FUSED
        assert records.to_pre_label(pre_label, PERSON.person_id).review is False
        assert records.to_label(session.scalars(select(LabelRow)).one(), PERSON.person_id) == LABEL
        assert records.to_vote(session.scalars(select(VoteRow)).one(), PERSON.person_id) == VOTE


def test_upsert_takes_over_what_is_given_and_nothing_else(store: Store, person: PersonRow) -> None:
    values = records.prediction_values(person, PREDICTION)
    with store.write() as session:
        upsert(session, PredictionRow, [values], keys=("person_key", "predictor", "version"))
    with store.read() as session:
        before = session.scalars(select(PredictionRow)).one()
    with store.write() as session:
        upsert(session, PredictionRow, [values | {"age": 50.0}], keys=("person_key", "predictor", "version"))
        upsert(session, PredictionRow, [], keys=("person_key", "predictor", "version"))
    with store.read() as session:
        after = session.scalars(select(PredictionRow)).one()
    assert (after.id, after.created_at) == (before.id, before.created_at)
    assert after.age == 50.0


def test_insert_new_keeps_what_was_there(store: Store) -> None:
    with store.write() as session:
        insert_new(session, ImageRow, [records.image_values(IMAGE)], keys=("sha256",))
    with store.write() as session:
        again = records.image_values(IMAGE) | {"name": "other.jpg"}
        other = records.image_values(IMAGE) | {"sha256": "cd" * 32}
        insert_new(session, ImageRow, [again, other], keys=("sha256",))
    with store.read() as session:
        rows = session.scalars(select(ImageRow).order_by(ImageRow.id)).all()
    assert [(row.name, row.state) for row in rows] == [("a.jpg", ImageState.PENDING)] * 2


def duplicates(person: PersonRow) -> dict[str, tuple[Base, Base]]:
    """Two rows with the same natural key, for each table that has one."""
    moved = records.person_values(person.image_key, PERSON, PersonSource.GIVEN)
    prediction = records.prediction_values(person, PREDICTION)
    vote = records.vote_values(person.id, VOTE)
    failure = {"stage": "ingest", "subject": "/x", "name": "x", "reason": "truncated", "message": "m"}
    fit: dict[str, Any] = {"version": "f1", "people": 3, "parameters": {}, "scores": {}}
    rows: dict[str, tuple[type[Base], dict[str, Any], dict[str, Any]]] = {
        "image.sha256": (ImageRow, records.image_values(IMAGE), records.image_values(IMAGE)),
        "person.index": (PersonRow, moved | {"index": 7, "person_id": "p"}, moved | {"index": 7, "person_id": "q"}),
        "person.person_id": (PersonRow, moved | {"index": 7, "person_id": "p"}, moved | {"index": 8, "person_id": "p"}),
        "prediction": (PredictionRow, prediction, prediction | {"age": 1.0}),
        "pre_label.version": (
            PreLabelRow,
            records.pre_label_values(person.id, "v1", FUSED),
            records.pre_label_values(person.id, "v1", FUSED) | {"is_current": False},
        ),
        "pre_label.current": (
            PreLabelRow,
            records.pre_label_values(person.id, "v1", FUSED),
            records.pre_label_values(person.id, "v2", FUSED),
        ),
        "vote": (VoteRow, vote, vote | {"age": 1.0}),
        "label": (LabelRow, records.label_values(person.id, LABEL), records.label_values(person.id, LABEL)),
        "failure": (FailureRow, failure, failure | {"reason": "other"}),
        "fit.version": (FitRow, fit, fit),
        "fit.current": (FitRow, fit | {"is_current": True}, fit | {"version": "f2", "is_current": True}),
        "review_task": (
            ReviewTaskRow,
            {"person_key": person.id, "kind": TaskKind.REVIEW, "wanted_votes": 3},
            {"person_key": person.id, "kind": TaskKind.EXPERT, "wanted_votes": 1},
        ),
    }
    return {name: (kind(**first), kind(**second)) for name, (kind, first, second) in rows.items()}


NAMES = [
    *("image.sha256", "person.index", "person.person_id", "prediction", "pre_label.version", "pre_label.current"),
    *("vote", "label", "failure", "fit.version", "fit.current", "review_task"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_natural_key_exists_once(store: Store, person: PersonRow, name: str) -> None:
    first, second = duplicates(person)[name]
    if name != "image.sha256":  # the fixture's image is the first one already
        with store.write() as session:
            session.add(first)
    with pytest.raises(IntegrityError), store.write() as session:
        session.add(second)


BAD_ROWS: dict[str, tuple[type[Base], dict[str, Any]]] = {
    "vote of nobody": (VoteRow, {"person_key": 10**9}),
    "vote of age 131": (VoteRow, {"age": 131.0}),
    "image without width": (ImageRow, {"width": 0}),
    "person without any box": (PersonRow, records.box_values("body", None) | records.box_values("face", None)),
    "probability above one": (PredictionRow, {"female_probability": 1.5}),
    "negative sd": (PredictionRow, {"age_sd": -1.0}),
    "negative age": (PreLabelRow, {"age": -1.0}),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_impossible_values_are_refused(store: Store, person: PersonRow, name: str) -> None:
    table, wrong = BAD_ROWS[name]
    good: dict[type[Base], dict[str, Any]] = {
        VoteRow: records.vote_values(person.id, VOTE),
        ImageRow: records.image_values(IMAGE) | {"sha256": "cd" * 32},
        PersonRow: records.person_values(person.image_key, PERSON, PersonSource.GIVEN) | {"index": 1, "person_id": "p"},
        PredictionRow: records.prediction_values(person, PREDICTION),
        PreLabelRow: records.pre_label_values(person.id, "v1", FUSED),
    }
    with pytest.raises(IntegrityError), store.write() as session:
        session.add(table(**(good[table] | wrong)))
    with store.write() as session:
        session.add(table(**good[table]))


def test_an_unknown_word_is_refused_by_the_database_itself(store: Store, person: PersonRow) -> None:
    with pytest.raises(IntegrityError), store.write() as session:
        session.execute(text("UPDATE image SET state = 'odd'"))


def test_events_are_append_only_but_can_be_purged(store: Store) -> None:
    with store.write() as session:
        session.add(EventRow(kind="ingested", subject=SHA, data={"n": 1}))
    with pytest.raises(SQLDatabaseError, match="never changed"), store.write() as session:
        session.execute(update(EventRow).values(kind="other"))
    with store.write() as session:
        session.execute(text("DELETE FROM event"))
    assert count(store, EventRow) == 0


def test_what_belongs_to_an_image_goes_with_it(store: Store, person: PersonRow) -> None:
    with store.write() as session:
        session.add(PredictionRow(**records.prediction_values(person, PREDICTION)))
        session.add(VoteRow(**records.vote_values(person.id, VOTE)))
    with store.write() as session:
        session.execute(text("DELETE FROM image"))
    assert [count(store, table) for table in (PersonRow, PredictionRow, VoteRow)] == [0, 0, 0]


def test_a_failing_block_writes_nothing(store: Store) -> None:
    def fail() -> None:
        with store.write() as session:
            session.add(ImageRow(**records.image_values(IMAGE)))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert count(store, ImageRow) == 0


def test_times_keep_their_moment(store: Store) -> None:
    moment = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    with store.write() as session:
        session.add(EventRow(kind="k", subject="s", data={}, at=moment))
    with store.read() as session:
        read = session.scalars(select(EventRow)).one().at
    assert read == moment
    assert read.tzinfo == UTC
    with pytest.raises(StatementError, match="time zone"), store.write() as session:
        session.add(EventRow(kind="k", subject="s", data={}, at=datetime(2026, 3, 1)))


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_two_writers_wait_for_each_other(store: Store) -> None:
    """Each reads a number and writes it back plus one; a deferred transaction would lose or fail here on SQLite."""
    with store.write() as session:
        session.execute(text("INSERT INTO meta (key, value) VALUES ('n', '0')"))

    def add() -> None:
        for _ in range(25):
            with store.write() as session:
                value = int(session.scalar(text("SELECT value FROM meta")))
                session.execute(text("UPDATE meta SET value = :value"), {"value": str(value + 1)})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        assert session.scalar(text("SELECT value FROM meta")) == "100"


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_sqlite_is_set_up_for_several_processes(store: Store) -> None:
    with store.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA busy_timeout")) >= 10_000


def test_a_persons_current_pre_label_is_found_by_the_person(blank_sqlite: Path) -> None:
    current = (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current
    query = select(PersonRow, PreLabelRow).outerjoin(PreLabelRow, current).where(PersonRow.id.between(1, 2000))
    with open_store(f"sqlite:///{blank_sqlite}") as opened, opened.read() as session:
        words = str(query.compile(session.get_bind(), compile_kwargs={"literal_binds": True}))
        plan = " ".join(str(row[3]) for row in session.execute(text(f"EXPLAIN QUERY PLAN {words}")))
    assert "SEARCH pre_label USING INDEX uq_pre_label_current (person_key=?)" in plan
