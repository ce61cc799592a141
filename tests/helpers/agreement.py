"""What our database must say after a pull, told from what Label Studio holds: the rules, written once more."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import select

from annotator.domain import Box, Gender
from annotator.store.tables import ImageRow, PersonRow, ReviewTaskRow, StudioTaskRow, TaskKind, TaskState, VoteRow

SAME_BOX = 0.7
NOBODY = {"from_name": "image_flags", "to_name": "image", "type": "choices", "value": {"choices": ["no_person"]}}
"""What an annotation holds that says that there is nobody."""

Corners = tuple[float, float, float, float]


def annotated(world: Any, project: int) -> list[int]:
    return sorted(key for key, row in world.studio.annotations.items() if row["project"] == project)


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
        assert sides_of(present) == pytest.approx(sides_of(wanted), abs=0.02)
        for name in set(wanted) & set(before):
            assert present[name] == pytest.approx(wanted[name], abs=0.02)
        for one in understood:
            ages = {item["id"]: item["value"]["number"] for item in one["result"] if item.get("from_name") == "age"}
            said |= {f"{one['id']}:{name}": ages[name] for name in drawn[one["id"]] if name in ages}
    assert {row.annotation_id: row.age for row in rows} == said
    assert not any(row.counts for row in rows)


def sides_of(boxes: dict[str, Corners]) -> list[float]:
    """All sides of all boxes, one box after another; those of Label Studio went through percent and back."""
    return [side for box in sorted(boxes.values(), key=lambda box: [round(side) for side in box]) for side in box]


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
