"""``make studio``: a Label Studio with the demo pictures and the backend connected, all on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.controls import WHOLE_IMAGE, config_text
from annotator.labelstudio.server import Account, LabelStudioServer, free_port, require_free
from annotator.settings import Settings
from ml_backend.app import create_app
from ml_backend.background import BackgroundServer
from ml_backend.engine import Prelabeller

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
        self.server = LabelStudioServer(plan.venv, plan.folder / "label-studio", self.account, port=plan.port)
        self._stack = ExitStack()

    def start(self) -> None:
        """Start Label Studio; it needs a minute, in which the caller may do other things."""
        self._stack.enter_context(self.server)

    def serve(self, engine: Prelabeller, settings: Settings) -> str:
        """Start the backend for this Label Studio; its address."""
        port = self.plan.backend_port or free_port()
        require_free(port)
        own = settings.model_copy(
            update={"label_studio_url": self.server.url, "label_studio_api_key": SecretStr(self.account.token)}
        )
        return self._stack.enter_context(BackgroundServer(create_app(own, engine), port)).url

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
    config = config_text(WHOLE_IMAGE)
    fields = {"expert_instruction": INSTRUCTION, "show_instruction": False, "show_collab_predictions": True}
    known = [project["id"] for project in client.projects() if project["title"] == PROJECT_TITLE]
    if known:
        project = int(known[0])
        client.update_project(project, label_config=config, **fields)
    else:
        project = int(client.create_project(PROJECT_TITLE, config, **fields)["id"])
    client.connect_backend(project, backend_url, version, is_interactive=False)
    client.update_project(project, model_version=version)
    return project


def fill(client: LabelStudio, project: int, pictures: Sequence[Path]) -> None:
    """Upload pictures into an empty project and have everything that lacks a current prediction pre-labelled."""
    if next(client.tasks(project, page_size=1), None) is None:
        client.upload(project, pictures)
    client.retrieve_predictions(project)
