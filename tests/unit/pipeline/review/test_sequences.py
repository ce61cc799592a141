"""Whatever annotators do, and whatever becomes of the webhooks: after the next pull the database equals Label Studio's
state."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from annotator.errors import ServiceError
from annotator.labelstudio.payload import ShownImage
from annotator.pipeline.review.studio import SECRET_HEADER, webhook_secret
from annotator.store.tables import EventRow
from ml_backend.app import MAX_WEBHOOK_BYTES, create_app
from tests.helpers.agreement import NOBODY, annotated, check_boxes, check_votes, redrawn, shown_boxes

EXAMPLES = int(os.environ.get("ANNOTATOR_SEQUENCES", "15"))
USERS = (2, 3, 4, 5)
GENDERS = ("male", "female", "cannot_tell")
PROBLEMS = ("not_a_person", "none of ours")
REFUSED = {"no secret": 401, "wrong secret": 401, "oversized": 413, "no json": 400, "no action": 422}
which = st.integers(0, 30)
user = st.sampled_from(USERS)
percent = st.integers(0, 60).map(float)
size = st.integers(10, 40).map(float)
change = st.one_of(
    st.tuples(st.just("move"), which, percent, percent, size),
    st.tuples(st.just("nudge"), which),
    st.tuples(st.just("remove"), which),
    st.tuples(st.just("add"), percent, percent, size),
)  # fmt: skip
changes = st.lists(change, max_size=3)
step = st.one_of(
    st.tuples(st.just("vote"), which, user, st.integers(0, 130), st.sampled_from(GENDERS)),
    st.tuples(st.just("forge"), which, user, st.integers(0, 130), user),
    st.tuples(st.just("report"), which, user, st.sampled_from(PROBLEMS)),
    st.tuples(st.just("skip"), which, user),
    st.tuples(st.just("edit"), which, user, st.integers(0, 130)),
    st.tuples(st.just("draw"), which, user, changes),
    st.tuples(st.just("draw_again"), which, user, changes),
    st.tuples(st.just("say_nobody"), which, user),
    st.tuples(st.just("slip"), which, user),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("pull")),
    st.tuples(st.just("pull_broken_off"), st.integers(0, 6)),
    st.tuples(st.just("deliver"), st.permutations(range(6)), st.integers(0, 6)),
    st.tuples(st.just("refused"), st.sampled_from(sorted(REFUSED))),
    st.tuples(st.just("lie"), which, which, user, st.integers(0, 130)),
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
        first = shown_boxes(world)
        app = create_app(world.settings, Recorder(world))
        with TestClient(app, headers={SECRET_HEADER: webhook_secret(world.settings) or ""}) as backend:
            everybody = Everybody(world, backend)
            for one in steps:
                everybody.act(*one)
        world.pull()
        check_boxes(world, first)
        check_votes(world, first)
        written = world.studio.writes
        again = world.pull()
        assert (again.votes.new, again.votes.changed, again.votes.gone, again.boxes.images) == (0, 0, 0, 0)
        assert world.studio.writes == written


class Everybody:
    """All that annotators and the network do. What cannot be done now (there is nothing to edit) is not done."""

    def __init__(self, world: Any, backend: TestClient) -> None:
        self.world, self.studio, self.backend = world, world.studio, backend

    def act(self, kind: str, *given_: Any) -> None:
        with contextlib.suppress(Impossible):
            getattr(self, kind)(*given_)

    def vote(self, number: int, user: int, age: int, gender: str) -> None:
        self.studio.vote(nth(self.world.vote_tasks(), number), user, age, gender)

    def forge(self, number: int, user: int, age: int, by: int) -> None:
        self.studio.vote(nth(self.world.vote_tasks(), number), user, age, "male", by=by)

    def report(self, number: int, user: int, problem: str) -> None:
        self.studio.vote(nth(self.world.vote_tasks(), number), user, 30, "male", problems=(problem,))

    def skip(self, number: int, user: int) -> None:
        self.studio.vote(nth(self.world.vote_tasks(), number), user, None, "male", skip=True)

    def edit(self, number: int, user: int, age: int) -> None:
        self.studio.edit(nth(annotated(self.world, self.world.vote_project), number), user, age)

    def draw(self, number: int, user: int, changes: list[Any]) -> None:
        task = nth(self.world.whole_tasks(), number)
        self.studio.annotate(task, user, redrawn(shown_to_annotators(self.world, task), changes))

    def draw_again(self, number: int, user: int, changes: list[Any]) -> None:
        annotation = nth(annotated(self.world, self.world.whole_project), number)
        self.studio.rewrite(annotation, user, redrawn(self.studio.annotations[annotation]["result"], changes))

    def say_nobody(self, number: int, user: int) -> None:
        self.studio.annotate(nth(self.world.whole_tasks(), number), user, [NOBODY])

    def slip(self, number: int, user: int) -> None:
        self.studio.annotate(nth(self.world.whole_tasks(), number), user, [])

    def delete(self, number: int) -> None:
        self.studio.delete(nth(sorted(self.studio.annotations), number))

    def pull(self) -> None:
        self.world.pull()

    def pull_broken_off(self, number: int) -> None:
        """A pull whose call of that number breaks off."""
        seen = [0]

        def fail(method: str, path: str) -> str | None:
            seen[0] += 1
            return "after" if seen[0] == number + 1 else None

        self.studio.fail = fail
        with contextlib.suppress(ServiceError):
            self.world.pull()
        self.studio.fail = lambda method, path: None

    def deliver(self, order: list[int], lost: int) -> None:
        """Waiting webhooks: some in another order, the first of them twice, ``lost`` of them never."""
        waiting, self.studio.sent = self.studio.sent[:6], self.studio.sent[6:]
        chosen = [waiting[index] for index in order if index < len(waiting)][lost:]
        for event in chosen[:1] + chosen:
            assert self.backend.post("/webhook", json=event).status_code == 200

    def refused(self, why: str) -> None:
        """A webhook that is not heard, and leaves nothing behind."""
        body = json.dumps({"action": "ANNOTATION_CREATED", "annotation": {"id": 1}}).encode()
        secrets = {"no secret": "", "wrong secret": "guessed"}
        bodies: dict[str, Any] = {
            "oversized": endless(),
            "no json": body[:-1],
            "no action": b'{"annotation": {"id": 1}}',
        }
        headers = {SECRET_HEADER: secrets[why]} if why in secrets else {}
        before = heard(self.world)
        answered = self.backend.post("/webhook", content=bodies.get(why, body), headers=headers)
        assert answered.status_code == REFUSED[why]
        assert heard(self.world) == before

    def lie(self, number: int, other: int, user: int, age: int) -> None:
        """Webhooks with the secret (every user of Label Studio can read it) that tell of what never was."""
        task = nth(self.world.vote_tasks(), number)
        made_up = {"id": 10_000 + number, "task": task, "completed_by": user, "updated_by": user}
        vote = {**made_up, "result": [{"from_name": "age", "type": "number", "value": {"number": age}}]}
        gone = sorted(self.studio.annotations)[:other] or [number]
        told: list[dict[str, Any]] = [
            {"action": "ANNOTATION_CREATED", "annotation": vote, "task": {"id": task}},
            {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": one} for one in gone]},
            {"action": "TASKS_DELETED", "tasks": [{"id": task}]},
            {"action": "PROJECT_DELETED"},
        ]
        before = heard(self.world)
        for event in told:
            sent = {"project": {"id": self.world.vote_project}, **event}
            assert self.backend.post("/webhook", json=sent).status_code == 200
        assert heard(self.world) == before + len(told)


class Impossible(Exception):
    """There is nothing to do it to."""


def nth(things: list[int], number: int) -> int:
    if not things:
        raise Impossible
    return things[number % len(things)]


def shown_to_annotators(world: Any, task: int) -> list[dict[str, Any]]:
    """The regions that the editor starts with: the ensemble's."""
    version = world.studio.projects[world.whole_project]["model_version"]
    rows = [row for row in world.studio.predictions.values() if row["task"] == task]
    return list(next(row["result"] for row in rows if row["model_version"] == version))


def endless() -> Iterator[bytes]:
    """One megabyte more than is read, in pieces whose number no header announces."""
    piece = b" " * 1_000_000
    yield from (piece for _ in range(MAX_WEBHOOK_BYTES // len(piece) + 1))


def heard(world: Any) -> int:
    with world.store.read() as session:
        return session.scalar(select(func.count()).select_from(EventRow).where(EventRow.kind == "webhook")) or 0
