"""Whatever annotators do, and whatever becomes of the webhooks: after the next pull the database equals Label Studio's
state."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from annotator.domain import Gender
from annotator.errors import ServiceError
from annotator.labelstudio.payload import ShownImage
from annotator.pipeline.review.studio import SECRET_HEADER, webhook_secret
from annotator.store.tables import EventRow, PersonRow, ReviewTaskRow, TaskKind, TaskState, VoteRow
from ml_backend.app import create_app

EXAMPLES = int(os.environ.get("ANNOTATOR_SEQUENCES", "15"))
USERS = (2, 3, 4, 5)
GENDERS = ("male", "female", "cannot_tell")
which = st.integers(0, 30)
step = st.one_of(
    st.tuples(st.just("vote"), which, st.sampled_from(USERS), st.integers(0, 130), st.sampled_from(GENDERS)),
    st.tuples(st.just("forge"), which, st.sampled_from(USERS), st.integers(0, 130), st.sampled_from(USERS)),
    st.tuples(st.just("problem"), which, st.sampled_from(USERS)),
    st.tuples(st.just("skip"), which, st.sampled_from(USERS)),
    st.tuples(st.just("edit"), which, st.sampled_from(USERS), st.integers(0, 130)),
    st.tuples(st.just("delete"), st.integers(0, 30)),
    st.tuples(st.just("pull")),
    st.tuples(st.just("broken pull"), st.integers(0, 6)),
    st.tuples(st.just("webhooks"), st.permutations(range(6)), st.integers(0, 6)),
)  # fmt: skip


class Recorder:
    """The backend's engine, as far as webhooks go."""

    version = "v"

    def __init__(self, world: Any) -> None:
        self._world = world

    def prelabel(self, data: bytes, *, name: str, uri: str) -> ShownImage:
        raise NotImplementedError

    def record_failure(self, *, subject: str, name: str, reason: str, message: str) -> None:
        raise NotImplementedError

    def record_event(self, kind: str, subject: str, data: Any) -> None:
        with self._world.store.write() as session:
            session.add(EventRow(kind=kind, subject=subject, data=dict(data)))


@given(steps=st.lists(step, max_size=25))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_a_pull_the_database_is_label_studios_state(steps: list[Any], prepared: Any, tmp_path: Path) -> None:
    with prepared.copy(tmp_path / uuid.uuid4().hex) as world:
        app = create_app(world.settings, Recorder(world))
        with TestClient(app, headers={SECRET_HEADER: webhook_secret(world.settings) or ""}) as backend:
            for one in steps:
                act(world, backend, *one)
        world.pull()
        check(world)
        written = world.studio.writes
        again = world.pull()
        assert (again.votes.new, again.votes.changed, again.votes.gone) == (0, 0, 0)
        assert world.studio.writes == written


def act(world: Any, backend: TestClient, kind: str, *given_: Any) -> None:
    studio, tasks = world.studio, world.vote_tasks()
    present = sorted(studio.annotations)
    if kind == "vote":
        number, user, age, gender = given_
        studio.vote(tasks[number % len(tasks)], user, age, gender)
    elif kind == "forge":
        number, user, age, by = given_
        studio.vote(tasks[number % len(tasks)], user, age, "male", by=by)
    elif kind == "problem":
        number, user = given_
        studio.vote(tasks[number % len(tasks)], user, 30, "male", problems=("not_a_person",))
    elif kind == "skip":
        number, user = given_
        studio.vote(tasks[number % len(tasks)], user, None, "male", skip=True)
    elif kind == "edit" and present:
        number, user, age = given_
        studio.edit(present[number % len(present)], user, age)
    elif kind == "delete" and present:
        studio.delete(present[given_[0] % len(present)])
    elif kind == "pull":
        world.pull()
    elif kind == "broken pull":
        broken_pull(world, given_[0])
    elif kind == "webhooks":
        deliver(studio, backend, *given_)


def deliver(studio: Any, backend: TestClient, order: list[int], lost: int) -> None:
    """Waiting webhooks: some in another order, the first of them twice, ``lost`` of them never."""
    waiting, studio.sent = studio.sent[:6], studio.sent[6:]
    chosen = [waiting[index] for index in order if index < len(waiting)][lost:]
    for event in chosen[:1] + chosen:
        assert backend.post("/webhook", json=event).status_code == 200


def broken_pull(world: Any, nth: int) -> None:
    """A pull whose ``nth`` call breaks off."""
    seen = [0]

    def fail(method: str, path: str) -> str | None:
        seen[0] += 1
        return "after" if seen[0] == nth + 1 else None

    world.studio.fail = fail
    with contextlib.suppress(ServiceError):
        world.pull()
    world.studio.fail = lambda method, path: None


def check(world: Any) -> None:
    """Every annotation is a vote and nothing else is; what counts follows the rules, as written here once more."""
    studio = world.studio
    with world.store.read() as session:
        rows = {int(row.annotation_id): row for row in session.scalars(select(VoteRow))}
        people = dict(session.execute(select(PersonRow.id, PersonRow.person_id)).all())
        tasks = {row.external: row for row in session.scalars(select(ReviewTaskRow))}
    expected = {key: row for key, row in studio.annotations.items() if row["project"] == world.vote_project}
    assert set(rows) == set(expected)
    for key, annotation in expected.items():
        row = rows[key]
        said = {item["from_name"]: item["value"] for item in annotation["result"]}
        assert people[row.person_key] == studio.tasks[annotation["task"]]["meta"]["annotator"].split("/")[0]
        assert row.annotator_id == f"ls-{annotation['completed_by']}"
        assert row.age == said.get("age", {}).get("number")
        gender = said.get("gender", {}).get("choices", ["cannot_tell"])[0]
        assert row.gender == (None if gender == "cannot_tell" else Gender(gender))
        assert row.counts == (key == counting(studio, annotation))
    for task in world.vote_tasks():
        row = tasks[f"{world.vote_project}:{task}"]
        answers = sum(not one["was_cancelled"] for one in studio.of(task))
        assert row.wanted_votes == studio.tasks[task]["overlap"]
        if row.kind is TaskKind.CONTROL:
            assert row.wanted_votes == 3
        else:
            is_asked = row.state is TaskState.OPEN and row.kind is not TaskKind.EXPERT
            assert studio.offered(task) == (is_asked or answers == 0)


def counting(studio: Any, annotation: dict[str, Any]) -> int | None:
    """The annotation that counts of those by the same author on the same task: the last proper one."""
    same = [one for one in studio.of(annotation["task"]) if one["completed_by"] == annotation["completed_by"]]
    proper = [
        one
        for one in same
        if not one["was_cancelled"]
        and one["updated_by"] == one["completed_by"]
        and not any(item["from_name"] == "problem" for item in one["result"])
    ]
    return max(proper, key=lambda one: (one["updated_at"], one["id"]))["id"] if proper else None
