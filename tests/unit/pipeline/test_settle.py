from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, update

from annotator.domain import Gender, LabelSource, Vote
from annotator.errors import InputError
from annotator.pipeline.explain import explain
from annotator.pipeline.export import export
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.review.stopping import failing_annotators
from annotator.pipeline.settle import read_votes, settle
from annotator.pipeline.status import status
from annotator.pipeline.truths import in_the_draw
from annotator.pipeline.votes import record_votes
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import (
    AnnotatorRow,
    EventRow,
    ImageRow,
    LabelRow,
    PersonRow,
    PreLabelRow,
    ReviewTaskRow,
    TaskKind,
    TaskState,
    VoteRow,
)
from tests.helpers.models import model_set
from tests.helpers.pictures import write_pictures
from tests.helpers.rows import content

TABLES = (LabelRow, VoteRow, AnnotatorRow, EventRow)


@pytest.fixture
def flagged(corridor: Store, settings: Settings, tmp_path: Path) -> list[str]:
    """Twelve pre-labelled pictures; the ids of the people to review, without those picked as an audit."""
    write_pictures(tmp_path / "in", 12)
    ingest(corridor, settings, [str(tmp_path / "in")])
    prelabel(corridor, settings, model_set())
    query = select(PersonRow.person_id).join(PreLabelRow, PreLabelRow.person_key == PersonRow.id)
    with corridor.read() as session:
        return list(session.scalars(query.where(PreLabelRow.review.is_(True)).order_by(PersonRow.id)))


def ballots(person_id: str, *ages: float, gender: Gender = Gender.MALE, source: str = "studio") -> list[Vote]:
    return [
        Vote(source, f"{person_id}-{number}", person_id, f"annotator{number}", age, gender)
        for number, age in enumerate(ages)
    ]


def labels(store: Store) -> dict[str, LabelRow]:
    query = select(PersonRow.person_id, LabelRow).join(LabelRow, LabelRow.person_key == PersonRow.id)
    with store.read() as session:
        return dict(session.execute(query).all())


def test_unflagged_pre_labels_are_accepted_and_flagged_ones_wait(
    corridor: Store, settings: Settings, flagged: list[str]
) -> None:
    report = settle(corridor, settings)
    assert report.labels == {"accepted": 24 - len(flagged)}
    assert not set(labels(corridor)) & set(flagged)
    again = settle(corridor, settings)
    assert (again.changed, again.labels) == (0, report.labels)


class Looked:
    """A watch that counts."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self, what: str, total: int | None = None) -> None:
        self.count = 0

    def step(self, count: int = 1, people: int = 0) -> None:
        self.count += count

    def note(self, text: str) -> None:
        raise AssertionError(text)


def test_a_second_run_looks_only_at_people_with_votes(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    record_votes(corridor, ballots(flagged[0], 40, 40, 40))
    given = {"truth_age": 33.0, "truth_gender": Gender.FEMALE}
    with corridor.write() as session:
        session.execute(update(PersonRow).where(PersonRow.person_id == flagged[1]).values(given))
        session.execute(update(PersonRow).where(PersonRow.person_id == flagged[2]).values(active=False))
    looked = Looked()
    settle(corridor, settings, watch=looked)
    assert looked.count == 24 - len(flagged) + 2  # accepted ones, the one with votes, the given one
    assert settle(corridor, settings, watch=looked).changed == 0
    assert looked.count == 1


WRONG: list[dict[str, object]] = [
    {"age": 77.5}, {"age": None}, {"age_sd": 0.125}, {"gender": None}, {"gender_probability": 0.51}, {"votes": 2},
    {"method": "other"},
]  # fmt: skip
WRONG_ACCEPTED: list[dict[str, object]] = [
    {"age_sd": None}, {"gender_probability": None}, {"source": LabelSource.GIVEN},
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "truth"),
    [(wrong, truth) for wrong in WRONG for truth in (False, True)] + [(wrong, False) for wrong in WRONG_ACCEPTED],
)
def test_a_label_that_differs_in_anything_is_written_again(
    corridor: Store, settings: Settings, flagged: list[str], wrong: dict[str, object], truth: bool
) -> None:
    if truth:
        with corridor.write() as session:
            session.execute(update(PersonRow).values(truth_age=33.0, truth_gender=Gender.FEMALE))
    settle(corridor, settings)
    before = content(corridor, LabelRow)
    person = next(iter(labels(corridor).values()))
    with corridor.write() as session:
        session.execute(update(LabelRow).where(LabelRow.id == person.id).values(wrong))
    assert settle(corridor, settings).changed == 1
    assert content(corridor, LabelRow) == before


def test_votes_that_agree_settle_a_person(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    first, second = flagged[:2]
    record_votes(corridor, ballots(first, 40, 41, 42) + ballots(second, 10, 11))
    report = settle(corridor, settings.model_copy(update={"settle_age_sd": 6.0}), age_method="mean")
    found = labels(corridor)
    assert found[first].source == LabelSource.SETTLED
    assert (found[first].age, found[first].gender, found[first].votes) == (41.0, Gender.MALE, 3)
    assert second not in found
    assert report.steps == {"ask": 1, "settled": 1}
    assert found[first].method == f"{report.age_method}+{report.gender_method}"


def test_a_person_nobody_agrees_on_goes_to_an_expert(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    record_votes(corridor, ballots(flagged[0], *range(5, 95, 9)))
    assert settle(corridor, settings).steps == {"expert": 1}


def test_a_second_run_changes_nothing_at_all(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    record_votes(corridor, ballots(flagged[0], 40, 40, 40) + ballots(flagged[1], 20, 20, 21))
    settle(corridor, settings)
    before = content(corridor, *TABLES)
    record_votes(corridor, ballots(flagged[0], 40, 40, 40))
    assert settle(corridor, settings).changed == 0
    assert content(corridor, *TABLES) == before


def test_a_label_goes_when_its_grounds_go(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    record_votes(corridor, ballots(flagged[0], 40, 40, 40))
    settle(corridor, settings)
    with corridor.write() as session:
        session.execute(update(VoteRow).values(counts=False))
    report = settle(corridor, settings)
    assert report.changed == 1
    assert flagged[0] not in labels(corridor)
    kinds = [event.kind for event in explain(corridor, flagged[0]).events]
    assert kinds[-2:] == ["labelled", "unlabelled"]
    assert content(corridor, AnnotatorRow) == {"annotator": []}


def test_a_given_truth_comes_before_votes(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    with corridor.write() as session:
        known = PersonRow.person_id == flagged[0]
        session.execute(update(PersonRow).where(known).values(truth_age=33.0, truth_gender=Gender.FEMALE))
    record_votes(corridor, ballots(flagged[0], 60, 60, 60))
    settle(corridor, settings)
    label = labels(corridor)[flagged[0]]
    assert (label.source, label.age, label.gender) == (LabelSource.GIVEN, 33.0, Gender.FEMALE)
    with corridor.read() as session:
        quality = session.scalars(select(AnnotatorRow)).all()
    assert [(row.controls, row.age_mae, row.age_bias) for row in quality] == [(1, 27.0, 27.0)] * 3


def test_half_a_truth_is_no_label(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    with corridor.write() as session:
        session.execute(update(PersonRow).where(PersonRow.person_id == flagged[0]).values(truth_age=33.0))
    settle(corridor, settings)
    assert flagged[0] not in labels(corridor)


def test_review_tasks_of_settled_people_are_closed(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    with corridor.write() as session:
        keys = dict(session.execute(select(PersonRow.person_id, PersonRow.id)).all())
        for person_id in flagged[:2]:
            session.add(ReviewTaskRow(person_key=keys[person_id], kind=TaskKind.REVIEW, wanted_votes=3))
    record_votes(corridor, ballots(flagged[0], 40, 40, 40))
    settle(corridor, settings)
    with corridor.read() as session:
        states = dict(session.execute(select(ReviewTaskRow.person_key, ReviewTaskRow.state)).all())
    assert states == {keys[flagged[0]]: TaskState.SETTLED, keys[flagged[1]]: TaskState.OPEN}


def test_votes_are_keyed_by_annotation(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    record_votes(corridor, ballots(flagged[0], 40, 41))
    record_votes(corridor, ballots(flagged[0], 50, 41))
    record_votes(corridor, ballots(flagged[0], 60, source="elsewhere"))
    with corridor.read() as session:
        ages = sorted(session.scalars(select(VoteRow.age)))
        table = read_votes(session)
    assert ages == [41, 50, 60]
    assert sorted(table.age.tolist()) == [41, 60]  # the later one of an annotator's two counts


def test_a_vote_on_nobody_is_refused(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    with pytest.raises(InputError, match="no person 'nobody-00'"):
        record_votes(corridor, ballots("nobody-00", 4))


def test_status_counts_what_is_there(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    record_votes(corridor, ballots(flagged[0], 40, 40, 40))
    settle(corridor, settings)
    report = status(corridor)
    assert report.images == {"done": 12}
    assert (report.people, report.votes, report.annotators) == (24, 3, 3)
    assert (report.review, report.open_review) == (len(flagged), len(flagged) - 1)
    assert report.labels == {"accepted": 24 - len(flagged), "settled": 1}
    assert report.predictions == {"mean@1": {"ok": 24}, "other@1": {"ok": 24}}
    assert sum(report.versions.values()) == 24
    assert report.reasons
    assert set(report.reasons.values()) <= set(range(1, len(flagged) + 1))


def test_the_story_of_a_person(corridor: Store, settings: Settings, flagged: list[str]) -> None:
    record_votes(corridor, ballots(flagged[0], 40, 40, 40))
    settle(corridor, settings)
    story = explain(corridor, flagged[0])
    assert [one.predictor for one in story.predictions] == ["mean", "other"]
    assert len(story.votes) == 3
    assert list(story.weights) == ["annotator0", "annotator1", "annotator2"]
    assert story.pre_label is not None
    assert story.pre_label.review
    assert story.label is not None
    assert [event.kind for event in story.events] == ["detected", "prelabelled", "labelled"]
    assert [event.at for event in story.events] == sorted(event.at for event in story.events)


def test_the_ensemble_votes_along_where_asked_but_not_on_the_audits_draw(
    corridor: Store, settings: Settings, flagged: list[str]
) -> None:
    content_with_all = {"settle_age_sd": 60.0, "settle_gender_probability": 0.51}
    half = settings.model_copy(update={"ensemble_votes": True, "audit_rate": 0.5, **content_with_all})
    with corridor.read() as session:
        everybody = session.scalars(select(PersonRow.person_id).order_by(PersonRow.id)).all()
    drawn = [name for name, yes in zip(everybody, in_the_draw(everybody, half), strict=True) if yes]
    others = [name for name in flagged if name not in drawn] + sorted(set(everybody) - {*flagged, *drawn})
    voted = [drawn[0], *others[:2]]
    record_votes(corridor, [vote for name in voted for vote in ballots(name, 30, 31, 32)])
    settle(corridor, half)
    methods = {name: row.method for name, row in labels(corridor).items() if row.source == LabelSource.SETTLED}
    assert {name: method.endswith("+ensemble") for name, method in methods.items()} == {
        drawn[0]: False, **dict.fromkeys(others[:2], True),
    }  # fmt: skip
    assert all(row.votes == 3 for name, row in labels(corridor).items() if name in voted)
    with corridor.read() as session:
        quality = {row.annotator_id: row.votes for row in session.scalars(select(AnnotatorRow))}
    assert quality == {"annotator0": 3, "annotator1": 3, "annotator2": 3, "ensemble": 2}
    assert failing_annotators(corridor, half.model_copy(update={"review_min_controls": 0, "review_max_mae": 0.1})) == ()
    assert settle(corridor, half).changed == 0
    # nobody is settled by the ensemble and too few humans
    record_votes(corridor, ballots(others[2], 30, 31))
    settle(corridor, half)
    assert others[2] not in {n for n, row in labels(corridor).items() if row.source == LabelSource.SETTLED}


def test_the_history_is_told_in_order(corridor: Store, settings: Settings, flagged: list[str], tmp_path: Path) -> None:
    record_votes(corridor, ballots(flagged[0], 40, 40, 40))
    settle(corridor, settings)
    for _ in range(2):
        export(corridor, settings, tmp_path / "dataset")
    with corridor.write() as session:
        moved = {"annotation": 7, "moved": {flagged[0]: [None, None]}, "closed": [], "added": 0}
        sha = session.scalars(select(ImageRow.sha256).join(PersonRow).where(PersonRow.person_id == flagged[0])).one()
        session.add(EventRow(kind="corrected", subject=sha, data=moved))
    words = [moment.words for moment in explain(corridor, flagged[0]).history]
    patterns = [
        "registered, boxes detected", "halves@1 found 2", "mean@1 said ", "other@1 said ", "fused by uncalibrated to ",
        "vote by annotator0: 40 years, male", "vote by annotator1", "vote by annotator2", "labelled 40.0 years, male: ",
        "exported in dataset ", "boxes moved by a human in annotation 7",
    ]  # fmt: skip
    assert len(words) == len(patterns)
    for pattern in patterns:
        assert sum(one.startswith(pattern) for one in words) == 1, pattern
    assert words[-1] == patterns[-1]
    assert words.index(next(one for one in words if one.startswith("labelled"))) > words.index(
        next(one for one in words if one.startswith("vote by annotator2"))
    )


def test_on_both_databases(store: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 5)
    ingest(store, settings, [str(tmp_path / "in")])
    prelabel(store, settings, model_set())
    with store.read() as session:
        everybody = list(session.scalars(select(PersonRow.person_id)))
    record_votes(store, [vote for person in everybody for vote in ballots(person, 30, 30, 31)])
    assert settle(store, settings).labels == {"settled": 10}
    assert settle(store, settings).changed == 0
    assert status(store).labels == {"settled": 10}
