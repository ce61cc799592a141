"""What an annotator sees: a real Chromium on a real Label Studio."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from annotator.demo import DEMO_NOTICE
from annotator.jobs.dues import ASKED, START_TRAINING
from annotator.store.session import open_store
from annotator.store.tables import EventRow
from tests.helpers.browsing import PATIENCE, shoot, upload

pytestmark = [
    pytest.mark.browser, pytest.mark.studio, pytest.mark.slow, pytest.mark.xdist_group("studio"),
    pytest.mark.timeout(1200),
]  # fmt: skip

SHOWN_PICTURE = 3


def test_a_picture_uploaded_in_the_browser_opens_with_everything_on_it(
    page: Page, running: Any, tmp_path: Path, shooting: bool
) -> None:
    before = {task["id"] for task in running.client.tasks(running.project)}
    picture = running.pictures[SHOWN_PICTURE]
    upload(page, running.studio.server.url, running.project, picture)
    (task,) = [one["id"] for one in running.client.tasks(running.project) if one["id"] not in before]

    page.goto(f"{running.studio.server.url}/projects/{running.project}/data?task={task}", wait_until="commit")
    regions = page.locator("[class*=outliner-item__title]")
    expect(regions.get_by_text("person", exact=True).first).to_be_visible(timeout=PATIENCE)
    _unfold(page)
    expect(regions.get_by_text("face", exact=True).first).to_be_visible()
    (prediction,) = running.client.predictions(task)
    shown = _flagged(prediction)
    people = [item["id"] for item in _items(prediction, "box") if item["value"]["rectanglelabels"] == ["person"]]
    expect(regions.get_by_text("person", exact=True)).to_have_count(len(people))

    regions.get_by_text("person", exact=True).nth(people.index(shown)).click()
    expect(page.locator("input[type=checkbox]:checked")).not_to_have_count(0)
    assert page.get_by_role("spinbutton").input_value() == str(_value(prediction, "age", shown)["number"])
    gender = _value(prediction, "gender", shown)["choices"][0]
    expect(page.get_by_label(gender, exact=False).first).to_be_checked()
    for words in ("Please check: ", "demo-mivolo: ", "demo-mllm: ", DEMO_NOTICE):
        expect(page.get_by_text(words).first).to_be_visible()
    shoot(page, tmp_path, "studio.png", wanted=shooting)


def test_a_drawn_person_whom_nobody_found_gets_gender_and_age(page: Page, running: Any) -> None:
    known = {task["id"] for task in running.client.tasks(running.project)}
    running.client.upload(running.project, [running.pictures[SHOWN_PICTURE + 1]])
    (task,) = [one["id"] for one in running.client.tasks(running.project) if one["id"] not in known]
    page.goto(f"{running.studio.server.url}/projects/{running.project}/data?task={task}", wait_until="commit")
    people = page.locator("[class*=outliner-item__title]").get_by_text("person", exact=True)
    expect(people.first).to_be_visible(timeout=PATIENCE)
    found = people.count()
    page.get_by_text("Auto-Annotation").click()
    page.get_by_text("Auto-Accept Suggestions").click()
    page.locator("[class*=tool_smart]").first.click()
    page.keyboard.press("1")
    _drag(page, (0.08, 0.06), (0.23, 0.74))
    expect(people).to_have_count(found + 1, timeout=PATIENCE)
    for _ in range(30):  # Label Studio takes a selection back when suggestions come in after it
        people.first.click()
        people.last.click()
        page.wait_for_timeout(1000)
        if page.get_by_role("spinbutton").count():
            break
    expect(page.get_by_role("spinbutton")).to_have_value(re.compile(r"\d+"))
    for words in ("demo-mivolo: ", "demo-mllm: ", DEMO_NOTICE):
        expect(page.get_by_text(words).first).to_be_visible()
    page.get_by_role("button", name="Submit").click()
    for _ in range(60):
        if running.client.task(task)["annotations"]:
            break
        page.wait_for_timeout(500)
    (submitted,) = running.client.task(task)["annotations"]
    drawn = [item for item in submitted["result"] if item.get("value", {}).get("width") == _drawn_width(submitted)]
    assert {item["type"] for item in drawn} >= {"rectanglelabels", "choices", "number"}


def test_the_button_start_training_files_a_retraining(page: Page, running: Any) -> None:
    """The last button of the chain that ends in a better model: its request reaches the backend and is kept."""
    page.goto(f"{running.studio.server.url}/projects/{running.project}/settings/ml", wait_until="commit")
    page.get_by_role("button", name="Machine learning model options").click(timeout=PATIENCE)
    page.get_by_text("Start Training", exact=True).first.click(timeout=20_000)
    confirm = page.get_by_role("button", name="Start Training")
    confirm.last.click(timeout=20_000)
    with open_store(running.settings.resolved_database_url) as store:
        for _ in range(60):
            with store.read() as session:
                asked = session.scalars(select(EventRow.data).where(EventRow.subject == ASKED)).all()
            if asked:
                break
            page.wait_for_timeout(500)
    assert [one["action"] for one in asked] == [START_TRAINING]


def _drawn_width(annotation: dict[str, Any]) -> float:
    """The width of the last person's box, in percent."""
    boxes = [item for item in annotation["result"] if item.get("value", {}).get("rectanglelabels") == ["person"]]
    return float(boxes[-1]["value"]["width"])


def _drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a box on the picture, in shares of its canvas."""
    canvas = page.locator("canvas").first.bounding_box()
    assert canvas is not None
    (x0, y0), (x1, y1) = [
        (canvas["x"] + x * canvas["width"], canvas["y"] + y * canvas["height"]) for x, y in (start, end)
    ]
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2, steps=5)
    page.mouse.move(x1, y1, steps=5)
    page.mouse.up()


def _unfold(page: Page) -> None:
    """Show the faces under their people: Label Studio sometimes draws the list before it knows of them."""
    page.wait_for_timeout(1000)
    for folded in page.locator("[class*=tree-switcher_close]").all():
        folded.click()


def _items(prediction: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [item for item in prediction["result"] if item.get("from_name") == name]


def _value(prediction: dict[str, Any], name: str, region: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item["value"] for item in _items(prediction, name) if item["id"] == region)
    return found


def _flagged(prediction: dict[str, Any]) -> str:
    """The person whom people are asked to check for the most reasons."""
    asked = [item for item in _items(prediction, "evidence") if "Please check: " in item["value"]["text"][0]]
    return str(max(asked, key=lambda item: item["value"]["text"][0].count(";"))["id"])
