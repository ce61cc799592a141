"""The report page in a real Chromium: light, dark, on a phone, and without any network."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from annotator.evaluation.report.page import render
from tests.helpers.report_data import people, report

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SECTIONS = (
    "How good the pre-labels are",
    "Predictor against predictor",
    "Annotators",
    "The hardest people",
    "Failures",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(report(people(4000))), encoding="utf-8")
    return path


def opened(chromium: Browser, file: Path, scheme: str, width: int) -> Page:
    """The page, which may ask for nothing but itself and say nothing on the console."""
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})  # type: ignore[arg-type]
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(message.text))
    asked: list[str] = []
    page.goto(file.as_uri())
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    return page


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)`` (WCAG 2)."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def style(page: Page, selector: str, name: str) -> str:
    found: str = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_in_light_and_dark(chromium: Browser, file: Path, scheme: str) -> None:
    page = opened(chromium, file, scheme, 1280)
    card = style(page, ".card", "backgroundColor")
    assert (luminance(card) > 0.5) is (scheme == "light")
    for selector, name in (("h1", "color"), (".soft", "color"), (".card svg text", "fill"), (".reason", "color")):
        least = 3.0 if selector == ".reason" else 4.5
        assert contrast(style(page, selector, name), card) >= least, selector
    for section in SECTIONS:
        assert page.get_by_role("heading", name=section).is_visible()
    assert page.locator("svg").count() == 7
    page.context.close()


@pytest.mark.parametrize("width", [1280, 768, 360])
def test_nothing_sticks_out_at_any_width(chromium: Browser, file: Path, width: int) -> None:
    page = opened(chromium, file, "light", width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        "[...document.querySelectorAll('.card, svg, img')].filter(one => !one.closest('.scroll')"
        " && one.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert outside == 0
    page.context.close()


def test_pictures_are_drawn_and_names_are_text(chromium: Browser, file: Path) -> None:
    page = opened(chromium, file, "light", 1280)
    assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    assert page.locator("img").count() == 1
    assert page.get_by_text("<script>alert(1)</script>").count() == 1
    page.context.close()
