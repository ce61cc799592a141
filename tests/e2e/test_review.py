"""The whole review against a real Label Studio: pictures uploaded there, pre-labelled by the backend, voted by four
accounts, settled and exported. The tests follow one another like the steps of a project."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Response, expect
from sqlalchemy import func, select

from annotator.domain import LabelSource
from annotator.labelstudio import administration as studio
from annotator.labelstudio.answers import marker_of
from annotator.pipeline.export import export
from annotator.pipeline.findings import Level
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.review.checkup import check_studio
from annotator.pipeline.review.pull import pull
from annotator.pipeline.review.push import push
from annotator.pipeline.review.setup import setup
from annotator.pipeline.review.status import review_status
from annotator.pipeline.settle import settle
from annotator.pipeline.status import status
from annotator.pipeline.version import ensemble_version
from annotator.predictors.registry import open_models
from annotator.store.tables import ImageRow, LabelRow, PersonRow, PreLabelRow, TaskKind, VoteRow
from tests.helpers.browsing import PATIENCE, shoot, signed_in, upload
from tests.helpers.reviewing import (
    PASSWORD,
    Review,
    answer,
    in_database,
    in_label_studio,
    truths,
    under_review,
    vote_tasks,
)

pytestmark = [
    pytest.mark.browser, pytest.mark.studio, pytest.mark.slow, pytest.mark.xdist_group("studio"),
    pytest.mark.timeout(1200),
]  # fmt: skip

PICTURES, CONTROLS, BY_KEYBOARD = 41, 5, 3
ACCOUNTS = ("ada", "ben", "carl", "dora")
"""Carl is careless, Ben edits a vote of Ada's, Dora skips."""

CARELESS_AGE = 97


@pytest.fixture(scope="module")
def review(running: Any, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    """Forty pictures uploaded by the API and one in the browser, pre-labelled by the backend, and pushed."""
    changes = {
        "review_name": "Reviewed",
        "review_rate": 0.1,
        "review_control_rate": 0.3,
        "review_min_controls": 2,
        "settle_age_sd": 4.0,
    }
    folder = tmp_path_factory.mktemp("review") / "project"
    with under_review(folder, running.studio, running.client, ACCOUNTS, PICTURES, CONTROLS, **changes) as made:
        made.lead.upload(made.whole, made.pictures[:-1])
        upload(page, made.url, made.whole, made.pictures[-1])
        made.lead.retrieve_predictions(made.whole)
        prelabel(made.store, made.settings, made.models)
        push(made.store, made.settings, made.models)
        yield made


def test_everything_is_pre_labelled_by_the_backend(review: Review) -> None:
    counts = status(review.store, list_failures=9)
    assert (counts.images, counts.failures) == ({"done": PICTURES + CONTROLS}, {})
    with review.store.read() as session:
        served = session.scalars(select(ImageRow.uri).where(ImageRow.uri.like("http%"))).all()
    assert len(served) == PICTURES
    assert all(uri.startswith(f"{review.url}/data/upload/{review.whole}/") for uri in served)


def test_every_step_again_changes_nothing(review: Review) -> None:
    pull(review.store, review.settings)
    before, rows = in_label_studio(review), in_database(review)
    assert setup(review.store, review.settings, review.models).changes == ()
    review.lead.retrieve_predictions(review.whole)
    assert prelabel(review.store, review.settings, review.models).images == 0
    report = push(review.store, review.settings, review.models)
    assert (report.whole.created, report.whole.filled, report.votes.created) == (0, 0, {})
    assert report.whole.unchanged == PICTURES + CONTROLS
    assert pull(review.store, review.settings).votes.new == 0
    assert in_label_studio(review) == before
    assert in_database(review) == rows


def test_the_doctor_is_content_and_finds_a_refused_address(review: Review) -> None:
    version = ensemble_version(review.models)
    assert {one.level for one in check_studio(review.store, review.settings, version)} == {Level.OK}
    before = in_label_studio(review), [one["id"] for one in review.lead.backends(review.whole)]
    elsewhere = review.settings.model_copy(update={"backend_url": "http://10.1.2.3:9090"})
    found = [one for one in check_studio(review.store, elsewhere, version) if "reserved network address" in one.what]
    assert ["USE_DEFAULT_BANNED_SUBNETS" in one.mend for one in found] == [True]
    assert (in_label_studio(review), [one["id"] for one in review.lead.backends(review.whole)]) == before


def test_predictions_are_there_once_under_the_projects_version(review: Review) -> None:
    project = studio.project(review.lead, review.whole)
    for task in studio.export_tasks(review.lead, review.whole, everything=True)[:3]:
        versions = [one["model_version"] for one in review.lead.predictions(task["id"])]
        assert len(versions) == len(set(versions)) == 3
        assert project["model_version"] in versions
    (backend,) = review.lead.backends(review.whole)
    assert (backend["state"], backend["title"]) == ("CO", project["model_version"])


def test_tabs_show_flagged_pictures_most_urgent_first(review: Review) -> None:
    views = review.lead.call("GET", "/api/dm/views/", params={"project": review.whole})
    numbers = {view["data"]["title"]: view["id"] for view in views}
    shown = {}
    for title in ("needs review", "corrected", "failed"):
        answered = review.lead.call("GET", "/api/tasks", params={"view": numbers[title], "page_size": 100})
        shown[title] = answered["tasks"]
    with review.store.read() as session:
        flagged = select(PersonRow.image_key).join(
            PreLabelRow, (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current & PreLabelRow.review
        )
        wanted = session.scalar(select(func.count(ImageRow.id)).where(ImageRow.id.in_(flagged)))
    assert len(shown["needs review"]) == wanted
    scores = [task["predictions_score"] for task in shown["needs review"]]
    assert scores == sorted(scores)
    assert shown["corrected"] == shown["failed"] == []


def test_the_lead_sees_whom_to_look_at_first(review: Review, page: Page, tmp_path: Path, shooting: bool) -> None:
    views = review.lead.call("GET", "/api/dm/views/", params={"project": review.whole})
    tab = next(view["id"] for view in views if view["data"]["title"] == "needs review")
    page.goto(f"{review.url}/projects/{review.whole}/data?tab={tab}", wait_until="commit")
    expect(page.get_by_text("needs review").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator("[class*=table_] img").first).to_be_visible(timeout=PATIENCE)
    shoot(page, tmp_path, "needs-review.jpg", wanted=shooting)


def test_the_operator_sees_the_backend_connected(review: Review, page: Page, tmp_path: Path, shooting: bool) -> None:
    page.goto(f"{review.url}/projects/{review.whole}/settings/ml", wait_until="commit")
    expect(page.get_by_text("Connected").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(ensemble_version(review.models)).first).to_be_visible()
    shoot(page, tmp_path, "backend.jpg", wanted=shooting)


def test_the_stream_is_blind_and_its_pictures_are_served(review: Review) -> None:
    task = review.people["ada"].call("GET", f"/api/projects/{review.vote}/next/")
    assert marker_of(task)
    assert task["predictions"] == []
    assert task["annotations"] == []
    assert set(task["data"]) == {"crop", "context"}
    key = review.settings.label_studio_api_key
    assert key
    url = str(review.settings.label_studio_url)
    for address in task["data"].values():
        picture = httpx.get(url + address, headers={"Authorization": f"Token {key.get_secret_value()}"})
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
        assert picture.content[:2] == b"\xff\xd8"


def test_votes_by_keyboard_alone_and_blind(review: Review, chromium: Browser, tmp_path: Path, shooting: bool) -> None:
    """Nothing that the page shows or loads says what the models or another annotator said."""
    known, tasks = truths(review), vote_tasks(review)
    for number, task in enumerate(tasks):
        answer(review.people["carl"], task, CARELESS_AGE, "male" if number % 2 else "female")
    loaded: list[str] = []
    shown: list[int] = []

    def listen(response: Response) -> None:
        if "/api/" in response.url and response.request.resource_type in ("fetch", "xhr"):
            loaded.append(response.text())
            if "id=next_task" in response.url:
                shown.append(int(response.json()["id"]))

    with signed_in(chromium, review.url, "ada@example.com", PASSWORD) as stream:
        stream.on("response", listen)
        stream.goto(f"{review.url}/projects/{review.vote}/data?labeling=1", wait_until="commit")
        expect(stream.get_by_text("Judge the person in the orange frame")).to_be_visible(timeout=PATIENCE)
        stream.keyboard.press("Escape")
        expect(stream.get_by_text("Judge the person in the orange frame")).to_have_count(0)
        for turn in range(BY_KEYBOARD):
            expect(stream.locator("input[name=age]")).to_have_value("", timeout=PATIENCE)
            _tab_to_the_age(stream)
            stream.wait_for_timeout(500)
            age, gender = known[tasks[shown[-1]][0]]
            stream.keyboard.type(f"{age:.0f}")
            stream.keyboard.press("Shift+Tab")
            stream.keyboard.press(gender[0])
            expect(stream.locator(f"input[name={gender}]")).to_be_checked()
            text = stream.locator("body").inner_text()
            assert str(CARELESS_AGE) not in text
            assert "demo-m" not in text
            if turn == 1:
                shoot(stream, tmp_path, "vote.jpg", wanted=shooting)
            stream.keyboard.press("Control+Enter")
            expect(stream.get_by_text("Annotation saved successfully").first).to_be_visible(timeout=PATIENCE)
            expect(stream.get_by_text("Annotation saved successfully")).to_have_count(0, timeout=PATIENCE)
    everything = [json.dumps(review.people["ada"].task(shown[0])), *loaded]
    told = [f'"number":{CARELESS_AGE}' in text.replace(" ", "") for text in everything]
    assert told == [True] + [False] * len(loaded)  # the API tells everybody everything; the stream does not
    assert not [text for text in loaded if "demo-m" in text]
    by_ada = _annotations(review, "ada")
    assert set(by_ada) == set(shown[:BY_KEYBOARD])
    for task, result in by_ada.items():
        age, gender = known[tasks[task][0]]
        said = {item["from_name"]: item["value"] for item in result}
        assert said == {"age": {"number": round(age)}, "gender": {"choices": [gender]}}


def _tab_to_the_age(page: Page) -> None:
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "age":
            return
    raise AssertionError("Tab does not come to the age")


def _annotations(review: Review, name: str) -> dict[int, list[dict[str, Any]]]:
    """What an account submitted, by vote task."""
    user = review.people[name].whoami()["id"]
    tasks = studio.export_tasks(review.lead, review.vote, everything=False)
    return {task["id"]: one["result"] for task in tasks for one in task["annotations"] if one["completed_by"] == user}


def test_votes_are_weighed_and_doubtful_ones_wait_for_the_lead(review: Review) -> None:
    tasks, known = vote_tasks(review), truths(review)
    controls = [task for task, (_, kind) in tasks.items() if kind is TaskKind.CONTROL]
    asked = [task for task, (_, kind) in tasks.items() if kind is not TaskKind.CONTROL]
    assert len(controls) >= 2
    assert len(asked) >= 4
    done = _annotations(review, "ada")
    by_ada = {}
    for task in tasks:
        age, gender = known[tasks[task][0]]
        if task not in done:
            by_ada[task] = answer(review.people["ada"], task, age, gender)
        answer(review.people["ben"], task, max(0, age - 1), gender)
    skipping = review.people["dora"]
    skipping.call("POST", f"/api/tasks/{asked[0]}/annotations/", json={"result": [], "was_cancelled": True})
    victim = next(task for task in asked[1:] if task in by_ada)
    edited = by_ada[victim]
    old = review.lead.call("GET", f"/api/annotations/{edited}/")["result"]
    changed = [{**item, "value": {"number": 77}} if item["from_name"] == "age" else item for item in old]
    review.people["ben"].call("PATCH", f"/api/annotations/{edited}/", json={"result": changed})

    report = pull(review.store, review.settings)
    assert report.votes.new == 3 * len(tasks) + 1
    assert list(report.votes.doubtful) == [str(edited)]
    assert report.votes.by_remark == {"skipped": 1, "written": 1}
    carl = f"ls-{review.people['carl'].whoami()['id']}"
    assert report.stop.failing == (carl,)
    with review.store.read() as session:
        row = session.scalars(select(VoteRow).where(VoteRow.annotation_id == str(edited))).one()
    assert (row.age, row.counts) == (77.0, False)
    # Ada's vote was spoilt, so that two counting ones need one more
    overlap = review.lead.call("GET", f"/api/tasks/{victim}/")["overlap"]
    assert overlap == 4
    rows = in_database(review)
    assert pull(review.store, review.settings).votes.changed == 0
    assert in_database(review) == rows
    line = next(line for line in review_status(review.store, review.settings).annotators if line.annotator == carl)
    assert (line.name, line.failing) == ("carl@example.com", True)
    assert line.age_mae
    assert line.age_mae > 12


def test_careless_votes_are_replaced_until_everybody_is_settled_and_exported(review: Review, tmp_path: Path) -> None:
    strict = review.settings.model_copy(update={"review_replace_failed": True})
    tasks, known = vote_tasks(review), truths(review)
    assert pull(review.store, strict).stop.replaced > 0
    # on controls too: of those who answered none nobody knows how far to trust them, and they settle little
    for task, (person, _) in tasks.items():
        answer(review.people["dora"], task, known[person][0] + 1, known[person][1])
        answer(review.lead, task, *known[person])
    report = pull(review.store, strict)
    assert report.stop.tasks == {"settled": len(tasks)}
    offered = review.people["carl"].call("GET", "/api/tasks", params={"project": review.vote, "page_size": 100})
    assert all(task["is_labeled"] for task in offered["tasks"])
    rows = in_database(review)
    assert pull(review.store, strict).votes.changed == 0
    settle(review.store, strict)
    assert in_database(review) == rows

    first = export(review.store, strict, tmp_path / "one")
    second = export(review.store, strict, tmp_path / "two")
    assert (tmp_path / "one" / "annotations.csv").read_bytes() == (tmp_path / "two" / "annotations.csv").read_bytes()
    assert first == second
    with (tmp_path / "one" / "annotations.csv").open(newline="") as file:
        exported = sorted(tuple(row.values()) for row in csv.DictReader(file))
    with review.store.read() as session:
        labels = session.scalars(select(LabelRow)).all()
        people = session.execute(
            select(ImageRow.name, LabelRow, PersonRow)
            .join(PersonRow, PersonRow.id == LabelRow.person_key)
            .join(ImageRow, ImageRow.id == PersonRow.image_key)
        ).all()
    assert exported == sorted(_line(name, label, person) for name, label, person in people)
    files = {path.name for path in (tmp_path / "one" / "images").iterdir()}
    assert files == {row[0] for row in exported}
    settled = [row for row in labels if row.source is LabelSource.SETTLED]
    assert len(settled) == sum(kind is not TaskKind.CONTROL for _, kind in tasks.values())


def test_a_corrected_box_is_predicted_again_and_pushed(review: Review) -> None:
    task = studio.export_tasks(review.lead, review.whole, everything=True)[0]
    version = studio.project(review.lead, review.whole)["model_version"]
    (said,) = [one for one in review.lead.predictions(task["id"]) if one["model_version"] == version]
    result = said["result"]
    person = next(item["id"] for item in result if item.get("value", {}).get("rectanglelabels") == ["person"])
    for item in result:
        if item.get("id") == person:
            item["value"]["height"] = item["value"]["height"] * 0.9
    review.people["ada"].call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": result})
    report = pull(review.store, review.settings)
    assert (report.boxes.moved, report.boxes.added, report.boxes.closed) == (1, 0, 0)
    assert pull(review.store, review.settings).boxes.moved == 0
    assert prelabel(review.store, review.settings, review.models).images == 1
    assert push(review.store, review.settings, review.models).whole.filled >= 1
    again = next(one for one in review.lead.predictions(task["id"]) if one["model_version"] == version)
    boxes = {item["id"]: item["value"]["height"] for item in again["result"] if item["type"] == "rectanglelabels"}
    wanted = next(item["value"]["height"] for item in result if item.get("id") == person)
    assert boxes[person] == pytest.approx(wanted, abs=0.01)
    assert pull(review.store, review.settings).boxes.images == 0


def test_a_new_version_reads_the_pictures_from_label_studio_again(review: Review) -> None:
    alone = review.settings.model_copy(update={"predictors": ["demo-mivolo"]})
    models = open_models(alone)
    version = ensemble_version(models)
    assert setup(review.store, alone, models).changes
    done = prelabel(review.store, alone, models)
    assert (done.images, done.failed) == (PICTURES + CONTROLS, 0)
    report = push(review.store, alone, models)
    assert report.whole.filled == PICTURES + CONTROLS
    for task in studio.export_tasks(review.lead, review.whole, everything=True)[:5]:
        versions = [one["model_version"] for one in review.lead.predictions(task["id"])]
        assert (versions.count(version), len(versions)) == (1, 2)


def _line(name: str, label: LabelRow, person: PersonRow) -> tuple[str, ...]:
    """A row of the LAGENDA table, made from the database alone."""
    face = (person.face_x0, person.face_y0, person.face_x1, person.face_y1)
    body = (person.body_x0, person.body_y0, person.body_x1, person.body_y1)
    boxes = [str(-1 if side is None else round(side)) for side in (*face, *body)]
    return (name, str(round(label.age or 0)), label.gender.letter if label.gender else "-1", *boxes)
