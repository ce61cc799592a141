"""A project of a few pictures, with stand-in models, on both kinds of database."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator.jobs.steps import Tools
from annotator.settings import Settings
from annotator.store.session import Store
from tests.helpers.models import HalvesDetector, MeanPredictor, model_set
from tests.helpers.pictures import write_pictures

PICTURES = 10


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Ten pictures in a watched folder, four in a batch."""
    write_pictures(tmp_path / "in", PICTURES)
    return Settings(root=tmp_path, batch_images=4, jobs_batch_images=4, watch=[str(tmp_path / "in")])


@pytest.fixture
def tools(store: Store, settings: Settings) -> Tools:
    """What steps work with; models are stand-ins."""
    return tools_with(store, settings)


def tools_with(
    store: Store, settings: Settings, *predictors: MeanPredictor, detector: HalvesDetector | None = None
) -> Tools:
    return Tools(store, settings, lambda _: model_set(*predictors, detector=detector))
