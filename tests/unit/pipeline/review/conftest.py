"""A project with pre-labelled pictures and two controls, beside a Label Studio in memory."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

import annotator.pipeline.review.studio as studio_module
from annotator.domain import Gender
from annotator.labelstudio.client import LabelStudio
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.review.pull import PullReport, pull
from annotator.pipeline.review.push import PushReport, push
from annotator.pipeline.review.setup import SetupReport, setup
from annotator.pipeline.review.studio import task_of
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from annotator.store.session import Store, open_store
from annotator.store.tables import PersonRow, ReviewTaskRow, TaskKind
from tests.helpers.label_studio_model import StudioModel
from tests.helpers.models import model_set
from tests.helpers.pictures import write_pictures

PICTURES = 5


@dataclass
class World:
    """One project and its Label Studio."""

    store: Store
    settings: Settings
    studio: StudioModel
    models: ModelSet

    def setup(self, **options: Any) -> SetupReport:
        return setup(self.store, self.settings, self.models, **options)

    def push(self) -> PushReport:
        return push(self.store, self.settings, self.models)

    def pull(self, *allowed: int) -> PullReport:
        return pull(self.store, self.settings, allowed=[str(one) for one in allowed])

    def with_settings(self, **changes: object) -> World:
        return World(self.store, self.settings.model_copy(update=changes), self.studio, self.models)

    @property
    def vote_project(self) -> int:
        return next(key for key, row in self.studio.projects.items() if "vote project" in row["description"])

    @property
    def whole_project(self) -> int:
        return next(key for key, row in self.studio.projects.items() if "whole-image" in row["description"])

    def vote_tasks(self) -> list[int]:
        """The vote tasks of Label Studio."""
        return [key for key, row in self.studio.tasks.items() if row["project"] == self.vote_project]

    def whole_tasks(self) -> list[int]:
        """The whole-image tasks of Label Studio."""
        return [key for key, row in self.studio.tasks.items() if row["project"] == self.whole_project]

    def rows(self, *kinds: TaskKind) -> list[tuple[ReviewTaskRow, PersonRow]]:
        """Review tasks of these kinds (all, where none is given), with their people."""
        query = select(ReviewTaskRow, PersonRow).join(PersonRow, PersonRow.id == ReviewTaskRow.person_key)
        with self.store.read() as session:
            found = [(row, person) for row, person in session.execute(query.order_by(ReviewTaskRow.id))]
        return [(row, person) for row, person in found if not kinds or row.kind in kinds]

    def tasks_of(self, *kinds: TaskKind) -> list[int]:
        """Numbers of the vote tasks of these kinds."""
        found = [task_of(row.external, self.vote_project) for row, _ in self.rows(*kinds)]
        return [task for task in found if task is not None]


@contextmanager
def connected(studio: StudioModel) -> Iterator[None]:
    """Our code talks to the model instead of the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio_module, "LabelStudio", partial(LabelStudio, transport=studio.transport))
        yield


@dataclass(frozen=True)
class Prepared:
    """A pushed project on disk, to be copied."""

    folder: Path
    studio: StudioModel

    @contextmanager
    def copy(self, folder: Path) -> Iterator[World]:
        """A world of its own, as it was after the first push."""
        shutil.copytree(self.folder, folder)
        studio = copy.deepcopy(self.studio)
        with open_store(f"sqlite:///{folder / 'annotator.db'}") as store, connected(studio):
            yield World(store, settings_in(folder), studio, model_set())


def settings_in(folder: Path) -> Settings:
    return Settings(
        root=folder,
        batch_images=4,
        label_studio_url="http://studio.example",
        label_studio_api_key=SecretStr("a" * 40),
        local_files_root=folder / "files",
        review_rate=0.6,
        review_control_rate=0.2,
        review_min_controls=1,
    )


@pytest.fixture(scope="session")
def labelled(blank_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pre-labelled pictures with two people each; the first picture's people are known."""
    folder = tmp_path_factory.mktemp("labelled")
    shutil.copy(blank_sqlite, folder / "annotator.db")
    write_pictures(folder / "in", PICTURES)
    settings = settings_in(folder)
    with open_store(f"sqlite:///{folder / 'annotator.db'}") as store:
        ingest(store, settings, [str(folder / "in")])
        prelabel(store, settings, model_set())
        with store.write() as session:
            known = session.scalars(select(PersonRow.id).order_by(PersonRow.id).limit(2)).all()
            truth = {"truth_age": 30.0, "truth_gender": Gender.FEMALE}
            session.execute(update(PersonRow).where(PersonRow.id.in_(known)).values(truth))
    return folder


@pytest.fixture
def world(labelled: Path, tmp_path: Path) -> Iterator[World]:
    """Pre-labelled, not yet set up."""
    with Prepared(labelled, StudioModel()).copy(tmp_path / "world") as made:
        yield made


@pytest.fixture(scope="session")
def prepared(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Set up and pushed once."""
    folder = tmp_path_factory.mktemp("pushed") / "world"
    with Prepared(labelled, StudioModel()).copy(folder) as made:
        made.setup()
        made.push()
        made.studio.sent.clear()
        return Prepared(folder, made.studio)


@pytest.fixture
def pushed(prepared: Prepared, tmp_path: Path) -> Iterator[World]:
    """Set up and pushed."""
    with prepared.copy(tmp_path / "world") as made:
        yield made


@pytest.fixture
def fresh_copy(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """A pushed world for each example of a property test."""
    return lambda: prepared.copy(tmp_path_factory.mktemp("example") / "world")
