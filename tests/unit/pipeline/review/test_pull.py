"""Pulling: which votes count, what becomes of people, and corrected boxes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from annotator.domain import Gender, LabelSource
from annotator.errors import InputError, ServiceError
from annotator.pipeline.explain import explain
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.review.status import review_status
from annotator.store.tables import (
    EventRow,
    ImageRow,
    ImageState,
    LabelRow,
    PersonRow,
    PersonSource,
    PredictionRow,
    TaskKind,
    TaskState,
    VoteRow,
)


def votes(world: Any) -> dict[int, tuple[object, ...]]:
    is_vote = VoteRow.source.startswith(f"labelstudio:{world.vote_project}")
    with world.store.read() as session:
        rows = session.scalars(select(VoteRow).where(is_vote).order_by(VoteRow.id)).all()
    return {int(row.annotation_id): (row.annotator_id, row.age, row.gender, row.counts, row.remark) for row in rows}


def state_of(world: Any, task: int) -> tuple[TaskKind, TaskState, int]:
    name = f"{world.vote_project}:{task}"
    row = next(row for row, _ in world.rows() if row.external == name)
    return row.kind, row.state, row.wanted_votes


def person_of(world: Any, task: int) -> PersonRow:
    return next(person for row, person in world.rows() if row.external == f"{world.vote_project}:{task}")


def agree(world: Any, task: int, *ages: int, first: int = 1, gender: str = "female") -> list[int]:
    return [world.studio.vote(task, user, age, gender) for user, age in enumerate(ages, start=first)]


def test_votes_that_agree_settle_a_person(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    agree(pushed, task, 40, 41, 40)
    report = pushed.pull()
    assert (report.votes.new, report.votes.counting) == (3, 3)
    assert state_of(pushed, task) == (TaskKind.REVIEW, TaskState.SETTLED, 3)
    assert not pushed.studio.offered(task)
    with pushed.store.read() as session:
        label = session.scalars(select(LabelRow).where(LabelRow.source == LabelSource.SETTLED)).one()
    assert label.age == pytest.approx(40.3, abs=1)
    assert (label.gender, label.votes) == (Gender.FEMALE, 3)


def test_pull_again_changes_nothing(pushed: Any) -> None:
    for task in pushed.vote_tasks():
        agree(pushed, task, 30, 60, 35)
    pushed.pull()
    with pushed.store.read() as session:
        events = len(session.scalars(select(EventRow)).all())
    before = (votes(pushed), pushed.studio.writes, [row.wanted_votes for row, _ in pushed.rows()])
    report = pushed.pull()
    assert (report.votes.new, report.votes.changed, report.votes.gone, report.stop.raised) == (0, 0, 0, 0)
    assert (votes(pushed), pushed.studio.writes, [row.wanted_votes for row, _ in pushed.rows()]) == before
    with pushed.store.read() as session:
        assert len(session.scalars(select(EventRow)).all()) == events


def test_votes_that_differ_are_asked_of_one_more_person_each_time_and_go_to_an_expert(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    pushed.settings = pushed.settings.model_copy(update={"settle_max_votes": 5})
    agree(pushed, task, 10, 40, 80)
    for users in (4, 5):
        pushed.pull()
        assert state_of(pushed, task) == (TaskKind.REVIEW, TaskState.OPEN, users)
        assert pushed.studio.tasks[task]["overlap"] == users
        pushed.studio.vote(task, users, 5 + 30 * users % 100, "male")
    report = pushed.pull()
    assert state_of(pushed, task)[:2] == (TaskKind.EXPERT, TaskState.OPEN)
    assert not pushed.studio.offered(task)
    assert report.stop.tasks["expert"] == 1
    assert review_status(pushed.store, pushed.settings).expert_people == [person_of(pushed, task).person_id]
    for annotation in [row["id"] for row in pushed.studio.of(task)][:4]:
        pushed.studio.delete(annotation)
    pushed.pull()
    assert state_of(pushed, task)[:2] == (TaskKind.REVIEW, TaskState.OPEN)
    assert pushed.studio.offered(task)


def test_a_pull_that_broke_off_after_label_studio_did_as_told_is_made_good_by_the_next(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    forged = pushed.studio.vote(task, 2, 30, "male", by=3)
    pushed.studio.fail = lambda method, path: "after" if method == "PATCH" else None
    with pytest.raises(ServiceError):
        pushed.pull()
    assert pushed.studio.tasks[task]["overlap"] == 4
    pushed.studio.fail = lambda method, path: None
    pushed.studio.delete(forged)
    pushed.pull()
    assert state_of(pushed, task) == (TaskKind.REVIEW, TaskState.OPEN, 3)
    assert pushed.studio.tasks[task]["overlap"] == 3


def test_an_edited_and_a_forged_vote_are_kept_and_count_when_a_lead_allows_them(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    edited = pushed.studio.vote(task, 2, 30, "female")
    pushed.studio.edit(edited, 3, 70)
    forged = pushed.studio.vote(task, 4, 31, "female", by=3)
    report = pushed.pull()
    assert set(report.votes.doubtful) == {str(edited), str(forged)}
    found = votes(pushed)
    assert found[edited] == ("ls-2", 70.0, Gender.FEMALE, False, "written by ls-3 in the name of ls-2")
    assert found[forged] == ("ls-4", 31.0, Gender.FEMALE, False, "written by ls-3 in the name of ls-4")
    assert pushed.studio.tasks[task]["overlap"] == 5  # both left their place to others
    pushed.pull(forged)
    assert votes(pushed)[forged][3:] == (True, None)
    assert votes(pushed)[edited][3] is False
    pushed.pull()
    assert votes(pushed)[forged][3:] == (True, None)
    pushed.studio.edit(forged, 3, 90)
    pushed.pull()
    assert votes(pushed)[forged][3] is False  # what was allowed is not what it says now
    with pytest.raises(InputError, match="no annotation 999999"):
        pushed.pull(999_999)


def test_a_second_vote_by_the_same_person_counts_once(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    first, second = pushed.studio.vote(task, 2, 30, "female"), pushed.studio.vote(task, 2, 34, "female")
    pushed.pull()
    assert [votes(pushed)[one][3] for one in (first, second)] == [False, True]
    pushed.studio.edit(first, 2, 33)
    pushed.pull()
    assert [votes(pushed)[one][3] for one in (first, second)] == [True, False]


def test_skipped_withdrawn_and_impossible_answers_do_not_count(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    skipped = pushed.studio.vote(task, 2, 50, "male", skip=True)
    empty = pushed.studio.vote(task, 3, 999, "cannot_tell")
    partly = pushed.studio.vote(task, 4, 20, "cannot_tell")
    strange = pushed.studio.annotate(task, 5, [{"a": 1}])
    gone = pushed.studio.vote(task, 6, 20, "male")
    pushed.pull()
    found = votes(pushed)
    assert found[skipped][1:] == (None, None, False, "skipped")
    assert found[empty][1:] == found[strange][1:] == (None, None, False, "empty")
    assert found[partly][1:] == (20.0, None, True, None)
    pushed.studio.delete(gone)
    assert pushed.pull().votes.gone == 1
    assert gone not in votes(pushed)
    with pushed.store.read() as session:
        assert session.scalars(select(EventRow).where(EventRow.kind == "vote_withdrawn")).one().data["by"] == "ls-6"


def test_two_reports_of_a_problem_send_a_person_to_an_expert(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    first = pushed.studio.vote(task, 2, 30, "male", problems=("several_people",))
    pushed.pull()
    assert votes(pushed)[first][3:] == (False, "problem: several_people")
    assert state_of(pushed, task) == (TaskKind.REVIEW, TaskState.OPEN, 4)
    pushed.studio.vote(task, 3, 30, "male", problems=("box_is_wrong",))
    pushed.pull()
    assert state_of(pushed, task)[0] == TaskKind.EXPERT


def test_a_problem_that_is_none_of_ours_is_kept_and_reported(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    first = pushed.studio.vote(task, 2, 30, "male", problems=("a statue", "box_is_wrong"))
    report = pushed.pull()
    assert report.votes.unknown_problems == {"a statue": 1}
    assert votes(pushed)[first][3:] == (False, "problem: box_is_wrong, a statue")
    pushed.studio.vote(task, 3, 30, "male", problems=("a statue",))
    assert pushed.pull().votes.unknown_problems == {"a statue": 2}
    assert state_of(pushed, task)[0] == TaskKind.EXPERT


def test_controls_tell_who_is_careless_and_their_open_votes_are_replaced_if_wanted(pushed: Any) -> None:
    control = pushed.tasks_of(TaskKind.CONTROL)[0]
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    agree(pushed, control, 31, 90, 29, first=2)
    careless = pushed.studio.vote(task, 3, 88, "male")
    careful = pushed.studio.vote(task, 2, 30, "female")
    assert pushed.pull().stop.failing == ("ls-3",)
    assert votes(pushed)[careless][3]
    pushed.settings = pushed.settings.model_copy(update={"review_replace_failed": True})
    report = pushed.pull()
    assert (report.stop.replaced, report.stop.failing) == (1, ("ls-3",))
    assert votes(pushed)[careless][3:] == (False, "replaced: its annotator failed the controls")
    assert votes(pushed)[careful][3]
    assert state_of(pushed, task)[2] == 4
    again = pushed.pull()
    assert (again.votes.changed, again.stop.replaced, again.stop.raised) == (0, 0, 0)
    assert state_of(pushed, control) == (TaskKind.CONTROL, TaskState.SETTLED, 3)
    pushed.pull(careless)
    assert votes(pushed)[careless][3:] == (True, None)
    assert pushed.pull().stop.replaced == 0


def test_status_tells_what_is_left_and_who_is_good(pushed: Any) -> None:
    task = pushed.tasks_of(TaskKind.REVIEW)[0]
    control = pushed.tasks_of(TaskKind.CONTROL)[0]
    agree(pushed, task, 30, 31)
    agree(pushed, control, 90, 30)
    pushed.pull()
    status = review_status(pushed.store, pushed.settings)
    assert status.open == len(pushed.rows())
    assert status.by_reason["control"] == 2
    assert status.votes == 4
    assert status.votes_left == 1 + 1 + 3 * (status.open - 2)
    assert status.votes_per_hour == 720.0
    assert status.hours_left == pytest.approx(status.votes_left * 5 / 3600, abs=0.01)
    lead, other = status.annotators
    assert (lead.name, lead.failing, lead.age_mae, lead.controls) == ("lead@example.com", True, 60.0, 1)
    assert (other.name, other.failing, other.age_mae) == ("ls-2", False, 0.0)


def whole_annotation(world: Any, task: int) -> list[dict[str, Any]]:
    """What the editor sends back untouched: the ensemble's regions."""
    version = world.studio.projects[world.whole_project]["model_version"]
    rows = [row for row in world.studio.predictions.values() if row["task"] == task]
    return [dict(item, value=dict(item.get("value", {}))) for row in rows if row["model_version"] == version
            for item in row["result"]]  # fmt: skip


def image_of(world: Any, task: int) -> tuple[ImageRow, list[PersonRow]]:
    with world.store.read() as session:
        sha = world.studio.tasks[task]["meta"]["annotator"]
        image = session.scalars(select(ImageRow).where(ImageRow.sha256 == sha)).one()
        people = session.scalars(select(PersonRow).where(PersonRow.image_key == image.id).order_by(PersonRow.index))
        return image, list(people)


def test_an_untouched_annotation_changes_no_box(pushed: Any) -> None:
    for task in pushed.whole_tasks():
        pushed.studio.annotate(task, 2, whole_annotation(pushed, task))
    report = pushed.pull()
    assert (report.boxes.images, report.boxes.moved, report.boxes.added, report.boxes.closed) == (0, 0, 0, 0)
    with pushed.store.read() as session:
        assert set(session.scalars(select(PersonRow.revision))) == {1}
        assert set(session.scalars(select(ImageRow.state))) == {ImageState.DONE}


def test_corrected_boxes_become_the_peoples_and_are_predicted_and_asked_again(pushed: Any) -> None:
    task = pushed.whole_tasks()[-1]
    image, (left, right) = image_of(pushed, task)
    result = [item for item in whole_annotation(pushed, task) if right.person_id not in str(item.get("id"))]
    for item in result:
        if item.get("id") == left.person_id:
            item["value"]["width"] = 80.0
    new = {"x": 60.0, "y": 0.0, "width": 40.0, "height": 50.0, "rotation": 0, "rectanglelabels": ["person"]}
    result.append({"id": "drawn", "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": new})
    pushed.studio.annotate(task, 2, result)
    report = pushed.pull()
    assert (report.boxes.images, report.boxes.moved, report.boxes.added, report.boxes.closed) == (1, 1, 1, 1)
    image, people = image_of(pushed, task)
    assert image.state == ImageState.PENDING
    assert [(one.active, one.source, one.revision) for one in people] == [
        (True, PersonSource.CORRECTED, 2), (False, PersonSource.CORRECTED, 1), (True, PersonSource.CORRECTED, 1),
    ]  # fmt: skip
    assert people[0].body_x1 == pytest.approx(0.8 * image.width)
    assert (people[2].body_x0, people[2].body_y1) == pytest.approx((0.6 * image.width, 0.5 * image.height))
    closed = [row.state for row, person in pushed.rows() if person.id == right.id]
    assert closed in ([], [TaskState.CLOSED])
    assert pushed.pull().boxes.images == 0

    prelabel(pushed.store, pushed.settings, pushed.models)
    with pushed.store.read() as session:
        revisions = session.scalars(select(PredictionRow.revision).where(PredictionRow.person_key == left.id)).all()
        assert revisions == [2, 2]
        assert session.scalars(select(PredictionRow).where(PredictionRow.person_key == people[2].id)).all()
    pushed.push()
    assert pushed.pull().boxes.images == 0
    boxes = [item for item in whole_annotation(pushed, task) if item["type"] == "rectanglelabels"]
    assert sum(item["value"]["rectanglelabels"] == ["person"] for item in boxes) == 2


def test_a_moved_person_who_was_asked_about_is_asked_again_and_old_votes_end(pushed: Any) -> None:
    pushed.settings = pushed.settings.model_copy(update={"review_rate": 1.0})
    prelabel(pushed.store, pushed.settings, pushed.models)
    pushed.push()
    vote_task = pushed.tasks_of(TaskKind.REVIEW)[0]
    person = person_of(pushed, vote_task)
    old = pushed.studio.vote(vote_task, 2, 30, "male")
    pushed.pull()
    task = next(task for task in pushed.whole_tasks() if image_of(pushed, task)[0].id == person.image_key)
    result = whole_annotation(pushed, task)
    for item in result:
        if item.get("id") == person.person_id:
            item["value"].update(x=0.0, y=50.0, width=20.0, height=50.0)
    pushed.studio.annotate(task, 2, result)
    pushed.pull()
    with pushed.store.read() as session:
        row = session.scalars(select(VoteRow).where(VoteRow.annotation_id == str(old))).one()
        assert (row.counts, row.remark) == (False, "given on an earlier box")
    states = {row.round: row.state for row, one in pushed.rows() if one.id == person.id}
    assert states == {1: TaskState.CLOSED}
    assert not pushed.studio.offered(vote_task)
    prelabel(pushed.store, pushed.settings, pushed.models)
    pushed.push()
    states = {row.round: row.state for row, one in pushed.rows() if one.id == person.id}
    assert states == {1: TaskState.CLOSED, 2: TaskState.OPEN}


def test_closing_somebody_nobody_voted_on_takes_their_task_away(pushed: Any) -> None:
    vote_task = pushed.tasks_of(TaskKind.REVIEW)[0]
    person = person_of(pushed, vote_task)
    task = next(task for task in pushed.whole_tasks() if image_of(pushed, task)[0].id == person.image_key)
    result = [item for item in whole_annotation(pushed, task) if person.person_id not in str(item.get("id"))]
    pushed.studio.annotate(task, 2, result)
    pushed.pull()
    assert vote_task not in pushed.studio.tasks
    row = next(row for row, one in pushed.rows() if one.id == person.id)
    assert (row.state, row.external) == (TaskState.CLOSED, None)
    assert pushed.push().votes.found_again == 0


def people_of(world: Any, task: int) -> list[tuple[object, ...]]:
    columns = ("person_id", "active", "source", "body_x0", "body_y0", "body_x1", "body_y1", "body_score", "face_x0")
    return [tuple(getattr(row, name) for name in columns) for row in image_of(world, task)[1]]


def test_people_are_as_before_when_the_annotation_is_deleted(pushed: Any) -> None:
    """Moved, removed and drawn people alike; votes on the first boxes count again, those in between do not."""
    vote_task = next(task for task in pushed.tasks_of(TaskKind.REVIEW))
    left = person_of(pushed, vote_task)
    task = next(task for task in pushed.whole_tasks() if image_of(pushed, task)[0].id == left.image_key)
    right = next(one for one in image_of(pushed, task)[1] if one.id != left.id)
    vote = pushed.studio.vote(vote_task, 2, 30, "male")
    before = people_of(pushed, task)
    result = [item for item in whole_annotation(pushed, task) if right.person_id not in str(item.get("id"))]
    for item in result:
        if item.get("id") == left.person_id:
            item["value"].update(x=0.0, y=50.0, width=20.0, height=50.0)
    new = {"x": 60.0, "y": 0.0, "width": 30.0, "height": 40.0, "rotation": 0, "rectanglelabels": ["person"]}
    result.append({"id": "drawn", "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": new})
    corrected = pushed.studio.annotate(task, 2, result)
    pushed.studio.annotate(task, 3, [])
    pushed.pull()
    assert votes(pushed)[vote][3:] == (False, "given on an earlier box")
    assert people_of(pushed, task)[:2] != before
    pushed.studio.delete(corrected)
    boxes = pushed.pull().boxes
    assert (boxes.images, boxes.moved, boxes.closed, boxes.withdrawn) == (1, 2, 1, 1)
    assert people_of(pushed, task)[:2] == before
    assert [row[1] for row in people_of(pushed, task)] == [True, True, False]
    assert votes(pushed)[vote][3:] == (True, None)
    image, people = image_of(pushed, task)
    assert image.state == ImageState.PENDING
    assert {one.revision for one in people if one.id == left.id} == {3}
    assert "as before" in " ".join(one.words for one in explain(pushed.store, left.person_id).history)
    prelabel(pushed.store, pushed.settings, pushed.models)
    assert pushed.push().votes.created  # about the boxes that are there now
    assert pushed.pull().boxes.images == 0


def test_votes_end_when_small_corrections_add_up(pushed: Any) -> None:
    vote_task = pushed.tasks_of(TaskKind.REVIEW)[0]
    person = person_of(pushed, vote_task)
    task = next(task for task in pushed.whole_tasks() if image_of(pushed, task)[0].id == person.image_key)
    vote = pushed.studio.vote(vote_task, 2, 30, "male")
    counts = []
    for user, share in enumerate((0.8, 0.64, 0.9), start=2):
        result = whole_annotation(pushed, task)
        for item in result:
            if item.get("id") == person.person_id:
                item["value"]["height"] *= share
        pushed.studio.annotate(task, user, result)
        pushed.pull()
        counts.append(votes(pushed)[vote][3])
    assert counts == [True, False, True]


def test_an_annotation_without_boxes_closes_nobody_unless_it_says_so(pushed: Any) -> None:
    task = pushed.whole_tasks()[0]
    slip = pushed.studio.annotate(task, 2, [])
    report = pushed.pull()
    assert "does not say no_person" in report.boxes.notes[0]
    assert report.boxes.closed == 0
    pushed.studio.delete(slip)
    flag = {"id": "f", "from_name": "image_flags", "to_name": "image", "type": "choices"}
    pushed.studio.annotate(task, 2, [{**flag, "value": {"choices": ["no_person"]}}])
    assert pushed.pull().boxes.closed == 2


def test_ages_on_whole_pictures_are_kept_and_count_only_if_wanted(pushed: Any) -> None:
    task = pushed.whole_tasks()[-1]
    pushed.studio.annotate(task, 2, whole_annotation(pushed, task))
    assert pushed.pull().votes.counting == 0
    with pushed.store.read() as session:
        rows = session.scalars(select(VoteRow)).all()
    assert len(rows) == 2
    assert all(row.remark.startswith("not blind") for row in rows)
    assert pushed.with_settings(review_count_whole=True).pull().votes.counting == 2


def test_votes_outlive_a_label_studio_that_was_lost(pushed: Any) -> None:
    """The new one gives its projects the same numbers; what was voted in the old one is not withdrawn."""
    for task in pushed.tasks_of(TaskKind.REVIEW):
        pushed.studio.vote(task, 2, 40, "male")
    pushed.pull()
    known = votes(pushed)
    for table in ("projects", "tasks", "annotations", "predictions", "backends", "webhooks", "views", "storages"):
        getattr(pushed.studio, table).clear()
    pushed.studio.last_id = 0
    pushed.setup()
    report = pushed.push()
    open_tasks = [row for row, _ in pushed.rows() if row.state is TaskState.OPEN]
    assert sum(report.votes.created.values()) == len(open_tasks)
    assert report.whole.created == 5
    assert (pushed.pull().votes.gone, len(votes(pushed))) == (0, len(known))
