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

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from annotator.domain import Box, Gender
from annotator.errors import ServiceError
from annotator.labelstudio.payload import ShownImage
from annotator.pipeline.review.studio import SECRET_HEADER, webhook_secret
from annotator.store.tables import (
    EventRow,
    ImageRow,
    PersonRow,
    ReviewTaskRow,
    StudioTaskRow,
    TaskKind,
    TaskState,
    VoteRow,
)
from ml_backend.app import MAX_WEBHOOK_BYTES, create_app

EXAMPLES = int(os.environ.get("ANNOTATOR_SEQUENCES", "15"))
USERS = (2, 3, 4, 5)
GENDERS = ("male", "female", "cannot_tell")
PROBLEMS = ("not_a_person", "none of ours")
REFUSED = {"no secret": 401, "wrong secret": 401, "oversized": 413, "no json": 400, "no action": 422}
SAME_BOX = 0.7
NOBODY = {"from_name": "image_flags", "to_name": "image", "type": "choices", "value": {"choices": ["no_person"]}}
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

Corners = tuple[float, float, float, float]


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


def annotated(world: Any, project: int) -> list[int]:
    return sorted(key for key, row in world.studio.annotations.items() if row["project"] == project)


def shown_to_annotators(world: Any, task: int) -> list[dict[str, Any]]:
    """The regions that the editor starts with: the ensemble's."""
    version = world.studio.projects[world.whole_project]["model_version"]
    rows = [row for row in world.studio.predictions.values() if row["task"] == task]
    return list(next(row["result"] for row in rows if row["model_version"] == version))


def redrawn(result: list[dict[str, Any]], changes: list[Any]) -> list[dict[str, Any]]:
    """An annotation's regions after an annotator's work on them."""
    made: list[dict[str, Any]] = json.loads(json.dumps(result))
    for change in changes:
        people = [item for item in made if item.get("value", {}).get("rectanglelabels") == ["person"]]
        match change:
            case "add", x, y, size:
                box = {"x": x, "y": y, "width": size, "height": size, "rectanglelabels": ["person"]}
                name = f"drawn-{uuid.uuid4().hex[:8]}"
                made.append(
                    {"id": name, "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": box}
                )
            case "move", number, x, y, size if people:
                people[number % len(people)]["value"].update(x=x, y=y, width=size, height=size)
            case "nudge", number if people:
                people[number % len(people)]["value"]["height"] *= 0.9
            case "remove", number if people:
                gone = people[number % len(people)]["id"]
                made = [item for item in made if item.get("id") not in (gone, f"{gone}-face")]
    return made


def endless() -> Iterator[bytes]:
    """One megabyte more than is read, in pieces whose number no header announces."""
    piece = b" " * 1_000_000
    yield from (piece for _ in range(MAX_WEBHOOK_BYTES // len(piece) + 1))


def heard(world: Any) -> int:
    with world.store.read() as session:
        return session.scalar(select(func.count()).select_from(EventRow).where(EventRow.kind == "webhook")) or 0


def shown_boxes(world: Any, *, closed: bool = False) -> dict[str, Corners]:
    """Where the database says that people are."""
    with world.store.read() as session:
        rows = session.scalars(select(PersonRow).order_by(PersonRow.id)).all()
    sides = ("x0", "y0", "x1", "y1")
    return {
        row.person_id: tuple(getattr(row, f"{'face' if row.body_x0 is None else 'body'}_{side}") for side in sides)
        for row in rows
        if row.active or closed
    }


def check_boxes(world: Any, first: dict[str, Corners]) -> None:
    """People are those of the last annotation that shows somebody or says nobody, else those of before; and each age
    that annotations give to people whom we knew is kept, and counts for nothing."""
    found = shown_boxes(world)
    with world.store.read() as session:
        images = dict(session.execute(select(StudioTaskRow.task, ImageRow).join(ImageRow)).all())
        rows = session.scalars(select(VoteRow).where(VoteRow.source == f"labelstudio:{world.whole_project}")).all()
    said: dict[str, float] = {}
    for task in world.whole_tasks():
        image = images[task]
        drawn = {one["id"]: persons(one, image) for one in world.studio.of(task)}
        understood = [one for one in world.studio.of(task) if drawn[one["id"]] or one["result"] == [NOBODY]]
        last = max(understood, key=lambda one: (one["updated_at"], one["id"]), default=None)
        present = {name: box for name, box in found.items() if name.startswith(image.sha256[:16])}
        before = {name: box for name, box in first.items() if name.startswith(image.sha256[:16])}
        wanted = before if last is None else drawn[last["id"]]
        assert sorted(present.values()) == pytest.approx(sorted(wanted.values()), abs=0.02)
        for name in set(wanted) & set(before):
            assert present[name] == pytest.approx(wanted[name], abs=0.02)
        for one in understood:
            ages = {item["id"]: item["value"]["number"] for item in one["result"] if item.get("from_name") == "age"}
            said |= {f"{one['id']}:{name}": ages[name] for name in drawn[one["id"]] if name in ages}
    assert {row.annotation_id: row.age for row in rows} == said
    assert not any(row.counts for row in rows)


def persons(annotation: dict[str, Any], image: ImageRow) -> dict[str, Corners]:
    """Where an annotation says that people are, in pixels, by the region's id."""
    found = {}
    for item in annotation["result"]:
        value = item.get("value", {})
        if value.get("rectanglelabels") == ["person"]:
            x, y, right, down = (value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"])
            sides = (x * image.width, y * image.height, right * image.width, down * image.height)
            found[item["id"]] = tuple(side / 100 for side in sides)
    return found


def check_votes(world: Any, first: dict[str, Corners]) -> None:
    """Every annotation is a vote and nothing else is; what counts follows the rules, as written here once more."""
    studio, boxes = world.studio, shown_boxes(world, closed=True)
    with world.store.read() as session:
        is_vote = VoteRow.source == f"labelstudio:{world.vote_project}"
        rows = {int(row.annotation_id): row for row in session.scalars(select(VoteRow).where(is_vote))}
        people = {row.id: row for row in session.scalars(select(PersonRow))}
        tasks = {row.external: row for row in session.scalars(select(ReviewTaskRow))}
    expected = {key: studio.annotations[key] for key in annotated(world, world.vote_project)}
    assert set(rows) == set(expected)
    for key, annotation in expected.items():
        row = rows[key]
        said = {item["from_name"]: item["value"] for item in annotation["result"]}
        name = studio.tasks[annotation["task"]]["meta"]["annotator"].split("/")[0]
        assert people[row.person_key].person_id == name
        assert row.annotator_id == f"ls-{annotation['completed_by']}"
        assert row.age == said.get("age", {}).get("number")
        gender = said.get("gender", {}).get("choices", ["cannot_tell"])[0]
        assert row.gender == (None if gender == "cannot_tell" else Gender(gender))
        is_same = Box(*first[name]).iou(Box(*boxes[name])) >= SAME_BOX
        assert row.counts == (is_same and key == counting(studio, annotation)), row.remark
    for task in world.vote_tasks():
        row = tasks[f"{world.vote_project}:{task}"]
        answers = sum(not one["was_cancelled"] for one in studio.of(task))
        assert row.wanted_votes == studio.tasks[task]["overlap"]
        is_there = people[row.person_key].active and people[row.person_key].revision == row.round
        assert is_there or row.state is TaskState.CLOSED
        if is_there and row.kind is TaskKind.CONTROL:
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
