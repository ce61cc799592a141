"""A real Label Studio and the backend with the demo models, started once for all end-to-end tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.server import free_port
from annotator.settings import Settings
from ml_backend.pipeline_engine import PipelineEngine, open_engine
from ml_backend.studio import Plan, Studio, connect, draw_pictures, make_project
from tests.helpers.browsing import CHROMIUM_ARGUMENTS, signed_in

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """What is running, and the pictures that are not uploaded yet."""

    studio: Studio
    client: LabelStudio
    engine: PipelineEngine
    settings: Settings
    project: int
    pictures: list[Path]


def studio_venv() -> Path:
    """Where Label Studio is installed; the test is skipped where it is not, except in CI."""
    venv = ROOT / os.environ.get("ANNOTATOR_STUDIO_VENV", ".venv-studio")
    if not (venv / "bin" / "label-studio").exists():
        message = f"no Label Studio in {venv}; `make test` installs it"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    return venv


@pytest.fixture(scope="session")
def browser_program() -> str:
    """The browser's program; the test is skipped where there is none, except in CI."""
    found = os.environ.get("ANNOTATOR_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        message = "no chromium on this machine; install it or name it in ANNOTATOR_CHROMIUM"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def chromium(browser_program: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(running: Running, chromium: Browser) -> Iterator[Page]:
    """A page of the account that everything belongs to."""
    account = running.studio.account
    with signed_in(chromium, running.studio.server.url, account.email, account.password) as page:
        yield page


@pytest.fixture(scope="session")
def shooting() -> bool:
    """Whether screenshots go into the documentation."""
    return bool(os.environ.get("ANNOTATOR_SCREENSHOTS"))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("studio")
    studio = Studio(Plan(folder, studio_venv(), free_port(), free_port()))
    studio.start()
    try:
        make_project(folder)
        # everybody is flagged, so that the tests do not hang on which figures the weights are sure of
        settings = studio.settings(backend_threads=1, target_error=0.1)
        with open_engine(settings) as engine:
            backend = studio.serve(engine, settings)
            client = studio.client()
            project = connect(client, backend, engine.version)
            yield Running(studio, client, engine, settings, project, draw_pictures(folder / "pictures", 6))
    finally:
        studio.close()
