"""``make studio``: a Label Studio with the demo pictures and the backend connected, all on this machine."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import typer
from PIL import Image
from pydantic import SecretStr

from annotator.demo.figures import draw_image
from annotator.errors import AnnotatorError, ServiceError
from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.controls import WHOLE_IMAGE, config_text
from annotator.labelstudio.server import Account, LabelStudioServer, free_port, require_free
from annotator.settings import CONFIG_NAME, Settings, load_settings
from annotator.store.schema import upgrade
from annotator.store.session import make_engine
from ml_backend.app import create_app
from ml_backend.background import BackgroundServer
from ml_backend.engine import Prelabeller
from ml_backend.pipeline_engine import open_engine

PICTURE_SEED = 20
"""The studio's pictures are none of those that the demo models were trained on."""
PROJECT_TITLE = "People: boxes, gender, age"
INSTRUCTION = (
    "Every person has a box with gender and age, every face a box inside its person's. "
    "Correct what is wrong, draw who is missing, then submit."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything of one studio lies and listens; ``backend_port`` 0 takes any free one."""

    folder: Path
    venv: Path
    port: int
    backend_port: int = 0


class Studio:
    """A Label Studio, the backend, and a project that joins them; stops both when closed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.account = Account.kept_in(plan.folder / "account.json")
        self.files = plan.folder / "files"
        self.server = LabelStudioServer(
            plan.venv, plan.folder / "label-studio", self.account, port=plan.port, files=self.files
        )
        self._stack = ExitStack()

    def start(self) -> None:
        """Start Label Studio; it needs a minute, in which the caller may do other things."""
        self.files.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(self.server)

    def settings(self, **flags: object) -> Settings:
        """The project's settings, with this Label Studio as the one to fetch uploads from."""
        key = SecretStr(self.account.token)
        ours = {
            "label_studio_url": self.server.url,
            "label_studio_api_key": key,
            "local_files_root": self.files.resolve(),
        }
        return load_settings(self.plan.folder, **ours, **flags)

    def serve(self, engine: Prelabeller, settings: Settings) -> str:
        """Start the backend; its address."""
        port = self.plan.backend_port or free_port()
        require_free(port)
        return self._stack.enter_context(BackgroundServer(create_app(settings, engine), port)).url

    def client(self) -> LabelStudio:
        """Label Studio as the account's user; waits until it answers."""
        self.server.wait()
        return self._stack.enter_context(LabelStudio(self.server.url, self.account.token))

    def close(self) -> None:
        """Stop everything, the last started first."""
        self._stack.close()


def connect(client: LabelStudio, backend_url: str, version: str) -> int:
    """The project with the whole-image configuration and the backend, made or updated; its number.

    The backend's title is the version: Label Studio shows and orders predictions of the project's ``model_version``,
    asks the backend for a queue's task only where that equals the backend's title, and resets it to the title.
    """
    project = _project(client, version)
    for backend in client.backends(project):
        if backend["url"].rstrip("/") != backend_url:
            client.disconnect_backend(backend)  # Label Studio would go on asking the first one
    client.connect_backend(project, backend_url, version, is_interactive=True)
    client.update_project(project, model_version=version)
    return project


def _project(client: LabelStudio, version: str) -> int:
    """The studio's project, with no predictions of another version left in it."""
    config = config_text(WHOLE_IMAGE)
    fields = {"expert_instruction": INSTRUCTION, "show_instruction": False, "show_collab_predictions": True}
    known = next((one for one in client.projects() if one["title"] == PROJECT_TITLE), None)
    if known is None:
        return int(client.create_project(PROJECT_TITLE, config, **fields)["id"])
    client.update_project(known["id"], label_config=config, **fields)
    if known["model_version"] != version:
        client.delete_predictions(known["id"])
    return int(known["id"])


def fill(client: LabelStudio, project: int, pictures: Sequence[Path]) -> None:
    """Upload pictures into an empty project and have everything that lacks a current prediction pre-labelled."""
    if next(client.tasks(project, page_size=1), None) is None:
        client.upload(project, pictures)
    before = -1
    while (left := _without_prediction(client, project)) not in (0, before):
        client.retrieve_predictions(project)  # stops after 100 s; what it got is stored, so the next call goes on
        before = left


def _without_prediction(client: LabelStudio, project: int) -> int:
    return sum(not task["predictions"] for task in client.tasks(project))


def run(studio: Studio, pictures: int) -> None:
    """Bring everything up, print where it is, and stay until interrupted.

    Raises:
        ServiceError: Label Studio could not be started, or ended by itself.
    """
    folder = studio.plan.folder
    make_project(folder)
    typer.echo(f"starting Label Studio at {studio.server.url} (the first time takes a minute or two)")
    studio.start()
    settings = studio.settings()
    with open_engine(settings) as engine:
        backend = studio.serve(engine, settings)
        drawn = draw_pictures(folder / "pictures", pictures)
        client = studio.client()
        project = connect(client, backend, engine.version)
        typer.echo(f"pre-labelling {len(drawn)} drawn pictures")
        fill(client, project, drawn)
        typer.echo(_where(studio, project, backend))
        while studio.server.is_running:
            time.sleep(1)
    raise ServiceError(f"Label Studio stopped by itself; see {studio.server.log}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a studio until Ctrl-C or SIGTERM; the exit code."""
    given = _parser().parse_args(arguments)
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        with closing(Studio(Plan(given.data, given.venv, given.port, given.backend_port))) as studio:
            try:
                run(studio, given.pictures)
            except KeyboardInterrupt:
                typer.echo("\nstopping Label Studio and the backend")
            for sign in (signal.SIGINT, signal.SIGTERM):
                signal.signal(sign, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
    except AnnotatorError as error:
        typer.echo(f"error: {error}", err=True)
        return 1
    return 0


def make_project(folder: Path) -> None:
    """An annotator project for the studio's results, with the demo models; one that exists stays."""
    config = folder / CONFIG_NAME
    if not config.exists():
        config.write_text('profile = "demo"\n', encoding="utf-8")
    engine = make_engine(load_settings(folder).resolved_database_url)
    upgrade(engine)
    engine.dispose()


def draw_pictures(folder: Path, count: int) -> list[Path]:
    """The first ``count`` demo pictures as files; those that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"figures-{index:03d}.png" for index in range(count)]
    for index, path in enumerate(paths):
        if not path.exists():
            Image.fromarray(draw_image(PICTURE_SEED, index)[0]).save(path)
    return paths


def _where(studio: Studio, project: int, backend: str) -> str:
    return "\n".join(
        [
            "",
            f"Label Studio  {studio.server.url}/projects/{project}",
            f"user          {studio.account.email}",
            f"password      {studio.account.password}",
            f"ML backend    {backend}",
            f"data          {studio.plan.folder.resolve()} (the account is in account.json)",
            "Ctrl-C stops both",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml_backend.studio", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("studio-data"), help="folder for everything (studio-data)")
    parser.add_argument("--venv", type=Path, default=Path(".venv-studio"), help="where Label Studio is installed")
    parser.add_argument("--port", type=int, default=8080, help="Label Studio's port (8080)")
    parser.add_argument("--backend-port", type=int, default=9090, help="the backend's port (9090)")
    parser.add_argument("--pictures", type=int, default=24, help="drawn pictures in a new project (24)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
