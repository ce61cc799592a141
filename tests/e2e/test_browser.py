"""What an annotator sees: a real Chromium on a real Label Studio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from annotator.demo import DEMO_NOTICE

pytestmark = [
    pytest.mark.browser, pytest.mark.studio, pytest.mark.slow, pytest.mark.xdist_group("studio"),
    pytest.mark.timeout(1200),
]  # fmt: skip

CHROMIUM_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SHOWN_PICTURE = 3
PATIENCE = 120_000
"""Milliseconds; the first page of a fresh Label Studio is slow on two busy cores."""


@pytest.fixture(scope="module")
def page(running: Any, browser_program: str) -> Iterator[Page]:
    """A page that is signed in, and that fails the test when it asks anything of the outside world."""
    outside: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program, args=list(CHROMIUM_ARGUMENTS))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: outside.append(request.url) if _is_outside(request.url) else None)
        page.goto(f"{running.studio.server.url}/user/login/", wait_until="commit")
        page.fill("input[name=email]", running.studio.account.email)
        page.fill("input[name=password]", running.studio.account.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url, wait_until="commit")
        yield page
        browser.close()
    assert outside == []


def test_a_picture_uploaded_in_the_browser_opens_with_everything_on_it(page: Page, running: Any) -> None:
    before = {task["id"] for task in running.client.tasks(running.project)}
    picture = running.pictures[SHOWN_PICTURE]
    page.goto(f"{running.studio.server.url}/projects/{running.project}/data", wait_until="commit")
    page.get_by_label("import button").click()
    page.wait_for_selector("input[type=file]", state="attached")
    page.set_input_files("input[type=file]", str(picture))
    expect(page.get_by_text("1 files uploaded")).to_be_visible(timeout=PATIENCE)
    page.get_by_label("Finish import").click()
    expect(page.get_by_label("Finish import")).to_have_count(0, timeout=PATIENCE)
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
    page.screenshot(path=os.environ.get("ANNOTATOR_SCREENSHOT") or str(picture.with_name("studio.png")))


def _unfold(page: Page) -> None:
    """Show the faces under their people: Label Studio sometimes draws the list before it knows of them."""
    page.wait_for_timeout(1000)
    for folded in page.locator("[class*=tree-switcher_close]").all():
        folded.click()


def _is_outside(url: str) -> bool:
    return not url.startswith(("data:", "blob:", "http://127.0.0.1:", "ws://127.0.0.1:"))


def _items(prediction: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [item for item in prediction["result"] if item.get("from_name") == name]


def _value(prediction: dict[str, Any], name: str, region: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item["value"] for item in _items(prediction, name) if item["id"] == region)
    return found


def _flagged(prediction: dict[str, Any]) -> str:
    """The person whom people are asked to check for the most reasons."""
    asked = [item for item in _items(prediction, "evidence") if "Please check: " in item["value"]["text"][0]]
    return str(max(asked, key=lambda item: item["value"]["text"][0].count(";"))["id"])
