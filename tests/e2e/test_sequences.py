"""A long random sequence of annotators' doings in a real Label Studio: after a pull our database says the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from annotator.labelstudio import administration as studio
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.review.pull import pull
from annotator.pipeline.review.push import push
from annotator.pipeline.review.studio import SECRET_HEADER
from annotator.store.session import Store
from tests.helpers.agreement import NOBODY, check_boxes, check_votes, redrawn, shown_boxes
from tests.helpers.label_studio_model import StudioModel
from tests.helpers.reviewing import Review, in_database, under_review

pytestmark = [pytest.mark.studio, pytest.mark.slow, pytest.mark.xdist_group("studio"), pytest.mark.timeout(1200)]

STEPS, PULLED_EVERY, PICTURES, CONTROLS = 48, 12, 3, 1
ACCOUNTS = ("eve", "finn", "gina")


@dataclass(frozen=True)
class Seen:
    """Both projects as Label Studio tells them, in the shape of our model of it."""

    store: Store
    studio: StudioModel
    whole_project: int
    vote_project: int

    def whole_tasks(self) -> list[int]:
        return [key for key, row in self.studio.tasks.items() if row["project"] == self.whole_project]

    def vote_tasks(self) -> list[int]:
        return [key for key, row in self.studio.tasks.items() if row["project"] == self.vote_project]


@pytest.fixture(scope="module")
def review(running: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    """A few pictures of a project of their own, on the server that runs anyway."""
    changes = {"review_name": "Sequences", "review_rate": 1.0, "review_control_rate": 0.3}
    folder = tmp_path_factory.mktemp("sequences") / "project"
    with under_review(folder, running.studio, running.client, ACCOUNTS, PICTURES, CONTROLS, **changes) as made:
        made.lead.upload(made.whole, made.pictures)
        made.lead.retrieve_predictions(made.whole)
        prelabel(made.store, made.settings, made.models)
        push(made.store, made.settings, made.models)
        yield made


def test_after_each_pull_the_database_is_label_studios_state(review: Review) -> None:
    first, draw = shown_boxes(seen(review)), random.Random(5)
    shown = {task["id"]: task for task in studio.export_tasks(review.lead, review.whole, everything=True)}
    version = studio.project(review.lead, review.whole)["model_version"]
    regions = {
        key: next(one["result"] for one in review.lead.predictions(key) if one["model_version"] == version)
        for key in shown
    }
    steps = [vote, vote, vote, forge, skip, edit, edit, draw_people, draw_people, slip, delete, lie] * (STEPS // 12)
    draw.shuffle(steps)
    for number, step in enumerate(steps, 1):
        step(review, draw, seen(review) if step in (edit, delete) else None, regions)
        if number % PULLED_EVERY == 0:
            pull(review.store, review.settings)
            check_boxes(seen(review), first)
            check_votes(seen(review), first)
            rows = in_database(review)
            pull(review.store, review.settings)
            assert in_database(review) == rows


def seen(review: Review) -> Seen:
    model = StudioModel()
    for project in (review.whole, review.vote):
        for task in studio.export_tasks(review.lead, project, everything=True):
            overlap = review.lead.call("GET", f"/api/tasks/{task['id']}/")["overlap"]
            model.tasks[task["id"]] = {**task, "project": project, "overlap": overlap}
            for one in task["annotations"]:
                model.annotations[one["id"]] = {**one, "task": task["id"], "project": project}
    return Seen(review.store, model, review.whole, review.vote)


def someone(review: Review, draw: random.Random) -> Any:
    return review.people[draw.choice(ACCOUNTS)]


def some_task(review: Review, draw: random.Random) -> int:
    tasks = studio.export_tasks(review.lead, review.vote, everything=True)
    return int(draw.choice(sorted(task["id"] for task in tasks)))


def said(draw: random.Random) -> list[dict[str, Any]]:
    """An answer; now and then with a problem, one of ours or none."""
    problem = draw.choice((None, None, None, None, "several_people", "none of ours"))
    choices = {"gender": draw.choice(("male", "female", "cannot_tell")), "problem": problem}
    found = [
        {"from_name": name, "to_name": "crop", "type": "choices", "value": {"choices": [choice]}}
        for name, choice in choices.items()
        if choice
    ]
    age = {"number": draw.randint(0, 100)}
    return [*found, {"from_name": "age", "to_name": "crop", "type": "number", "value": age}]


def vote(review: Review, draw: random.Random, *_: Any) -> None:
    body = {"result": said(draw), "lead_time": 5.0}
    someone(review, draw).call("POST", f"/api/tasks/{some_task(review, draw)}/annotations/", json=body)


def forge(review: Review, draw: random.Random, *_: Any) -> None:
    body = {"result": said(draw), "completed_by": someone(review, draw).whoami()["id"]}
    someone(review, draw).call("POST", f"/api/tasks/{some_task(review, draw)}/annotations/", json=body)


def skip(review: Review, draw: random.Random, *_: Any) -> None:
    body = {"result": [], "was_cancelled": True}
    someone(review, draw).call("POST", f"/api/tasks/{some_task(review, draw)}/annotations/", json=body)


def edit(review: Review, draw: random.Random, now: Seen, *_: Any) -> None:
    votes = sorted(key for key, one in now.studio.annotations.items() if one["project"] == review.vote)
    if votes:
        path = f"/api/annotations/{draw.choice(votes)}/"
        someone(review, draw).call("PATCH", path, json={"result": said(draw), "was_cancelled": False})


def draw_people(review: Review, draw: random.Random, _: Any, regions: dict[int, Any]) -> None:
    task = draw.choice(sorted(regions))
    changes = [
        draw.choice(
            (
                ("move", draw.randint(0, 9), draw.randint(0, 50), draw.randint(0, 50), draw.randint(10, 40)),
                ("nudge", draw.randint(0, 9)),
                ("remove", draw.randint(0, 9)),
                ("add", draw.randint(0, 50), draw.randint(0, 50), draw.randint(10, 40)),
            )
        )
        for _ in range(draw.randint(0, 3))
    ]
    result = [NOBODY] if draw.random() < 0.2 else redrawn(regions[task], changes)
    someone(review, draw).call("POST", f"/api/tasks/{task}/annotations/", json={"result": result})


def slip(review: Review, draw: random.Random, _: Any, regions: dict[int, Any]) -> None:
    body: dict[str, Any] = {"result": []}
    someone(review, draw).call("POST", f"/api/tasks/{draw.choice(sorted(regions))}/annotations/", json=body)


def delete(review: Review, draw: random.Random, now: Seen, *_: Any) -> None:
    if now.studio.annotations:
        path = f"/api/annotations/{draw.choice(sorted(now.studio.annotations))}/"
        someone(review, draw).call("DELETE", path)


def lie(review: Review, draw: random.Random, *_: Any) -> None:
    """Webhooks to the backend that runs, of what never was: without the secret, and with a guessed one."""
    told = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": draw.randint(1, 50)}]}
    for headers in ({}, {SECRET_HEADER: "guessed"}):
        assert httpx.post(f"{review.settings.backend_url}/webhook", json=told, headers=headers).status_code == 401
