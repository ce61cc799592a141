"""What people do in Label Studio's pages, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

CHROMIUM_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 120_000
"""Milliseconds; the first page of a fresh Label Studio is slow on two busy cores."""

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@contextmanager
def signed_in(browser: Browser, url: str, email: str, password: str, *, height: int = 900) -> Iterator[Page]:
    """A page of its own, signed in; in the end it fails the test if it asked anything of the outside world."""
    outside: list[str] = []
    context = browser.new_context(viewport={"width": 1440, "height": height})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: outside.append(request.url) if _is_outside(request.url) else None)
    page.goto(f"{url}/user/login/", wait_until="commit")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda address: "login" not in address, wait_until="commit")
    try:
        yield page
    finally:
        context.close()
    assert outside == []


def upload(page: Page, url: str, project: int, picture: Path) -> None:
    """Upload a picture into a project by the import dialog."""
    page.goto(f"{url}/projects/{project}/data", wait_until="commit")
    page.get_by_label("import button").click()
    page.wait_for_selector("input[type=file]", state="attached")
    page.set_input_files("input[type=file]", str(picture))
    expect(page.get_by_text("1 files uploaded")).to_be_visible(timeout=PATIENCE)
    page.get_by_label("Finish import").click()
    expect(page.get_by_label("Finish import")).to_have_count(0, timeout=PATIENCE)


def shoot(page: Page, folder: Path, name: str, *, wanted: bool) -> Path:
    """A screenshot, into the documentation where ``wanted`` and into ``folder`` otherwise."""
    path = (IMAGES if wanted else folder) / name
    page.screenshot(path=path, **({"type": "jpeg", "quality": 80} if path.suffix == ".jpg" else {}))
    return path


def _is_outside(url: str) -> bool:
    return not url.startswith(("data:", "blob:", "http://127.0.0.1:", "ws://127.0.0.1:"))
