"""An expert closes the case of somebody whom votes do not settle."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from annotator.domain import Gender, LabelSource
from annotator.errors import InputError
from annotator.pipeline.decisions import Decision, decide, withdraw_decision
from annotator.pipeline.explain import explain
from annotator.pipeline.review.status import review_status
from annotator.pipeline.settle import settle
from annotator.pipeline.truths import trusted_people
from annotator.store.tables import LabelRow, PersonRow, ReviewTaskRow, TaskKind, TaskState


@pytest.fixture
def disputed(pushed: Any) -> Any:
    """Annotators differ on one person, and the rule leaves them to an expert; everybody is in the audit's draw."""
    pushed.settings = pushed.settings.model_copy(update={"settle_max_votes": 3, "audit_rate": 1.0})
    for user, age in enumerate((10, 40, 80), start=2):
        pushed.studio.vote(pushed.tasks_of(TaskKind.REVIEW)[0], user, age, "male")
    pushed.pull()
    return pushed


def the_case(world: Any) -> tuple[ReviewTaskRow, PersonRow]:
    return next((row, person) for row, person in world.rows(TaskKind.EXPERT))


def label_of(world: Any, person: PersonRow) -> LabelRow | None:
    with world.store.read() as session:
        return session.scalar(select(LabelRow).where(LabelRow.person_key == person.id))


def test_a_decision_is_the_label_until_it_is_withdrawn(disputed: Any) -> None:
    row, person = the_case(disputed)
    assert (row.state, label_of(disputed, person)) == (TaskState.OPEN, None)
    for age in (30.0, 34.0):
        decide(disputed.store, Decision(person.person_id, age, Gender.FEMALE, "ada"))
        settle(disputed.store, disputed.settings)
    assert settle(disputed.store, disputed.settings).changed == 0
    written = disputed.studio.writes
    report = disputed.pull()
    assert "expert" not in report.stop.tasks
    assert disputed.studio.writes == written
    label = label_of(disputed, person)
    assert label
    assert (label.age, label.gender, label.source, label.method) == (34.0, Gender.FEMALE, LabelSource.SETTLED, "expert")
    assert the_case(disputed)[0].state is TaskState.SETTLED
    status = review_status(disputed.store, disputed.settings)
    assert (status.expert, status.not_counted) == (0, {})
    assert "ada" not in [line.annotator for line in status.annotators]
    words = [moment.words for moment in explain(disputed.store, person.person_id).history]
    assert [one for one in words if one.startswith("decided")] == [
        "decided by ada: 30 years, female", "decided by ada: 34 years, female",
    ]  # fmt: skip

    withdraw_decision(disputed.store, person.person_id)
    disputed.pull()
    assert label_of(disputed, person) is None
    assert the_case(disputed)[0].state is TaskState.OPEN
    with pytest.raises(InputError, match="nothing was decided"):
        withdraw_decision(disputed.store, person.person_id)


def test_somebody_with_problems_and_no_vote_that_counts_is_decided_on(pushed: Any) -> None:
    for user in (2, 3):
        pushed.studio.vote(pushed.tasks_of(TaskKind.REVIEW)[0], user, 30, "male", problems=("box_is_wrong",))
    pushed.pull()
    _, person = the_case(pushed)
    decide(pushed.store, Decision(person.person_id, 34.0, Gender.FEMALE, "ada"))
    settle(pushed.store, pushed.settings)
    label = label_of(pushed, person)
    assert label
    assert label.method == "expert"
    withdraw_decision(pushed.store, person.person_id)
    settle(pushed.store, pushed.settings)
    assert label_of(pushed, person) is None


def test_no_calibration_learns_from_a_decision(disputed: Any) -> None:
    _, person = the_case(disputed)
    voted = disputed.tasks_of(TaskKind.REVIEW)[0]
    for user in (2, 3, 4):
        disputed.studio.vote(voted, user, 40, "female")
    disputed.pull()
    decide(disputed.store, Decision(person.person_id, 34.0, Gender.FEMALE, "ada"))
    settle(disputed.store, disputed.settings)
    with disputed.store.read() as session:
        trusted = {one.row.person_id for one in trusted_people(session, disputed.settings)}
        settled = select(PersonRow.person_id).join(LabelRow).where(LabelRow.source == LabelSource.SETTLED)
        people = set(session.scalars(settled))
    assert person.person_id in people
    assert people - trusted == {person.person_id}


def test_a_decision_ends_with_the_box(disputed: Any) -> None:
    _, person = the_case(disputed)
    decide(disputed.store, Decision(person.person_id, 34.0, Gender.FEMALE, "ada"))
    settle(disputed.store, disputed.settings)
    task = next(
        task for task in disputed.whole_tasks() if disputed.studio.tasks[task]["meta"]["annotator"][:16]
        == person.person_id[:16]
    )  # fmt: skip
    box = {"x": 50.0, "y": 50.0, "width": 30.0, "height": 40.0, "rectanglelabels": ["person"]}
    drawn = {"id": person.person_id, "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": box}
    annotation = disputed.studio.annotate(task, 2, [drawn])
    disputed.pull()
    assert label_of(disputed, person) is None
    disputed.studio.delete(annotation)
    disputed.pull()
    label = label_of(disputed, person)
    assert label
    assert label.age == 34.0


def test_only_cases_of_an_expert_are_decided(disputed: Any) -> None:
    other = disputed.rows(TaskKind.REVIEW)[0][1].person_id
    case = the_case(disputed)[1].person_id
    for name, age, words in ((other, 30.0, "does not wait"), ("nobody", 30.0, "no person"), (case, 131.0, "0 to 130")):
        with pytest.raises(InputError, match=words):
            decide(disputed.store, Decision(name, age, Gender.MALE, "ada"))
