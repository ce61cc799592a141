"""A database and settings for each test of the corridor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.settings import Settings
from annotator.store.schema import upgrade
from annotator.store.session import Store, make_engine, open_store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Defaults, with small batches."""
    return Settings(root=tmp_path, batch_images=4)


@pytest.fixture
def corridor(tmp_path: Path) -> Iterator[Store]:
    """A SQLite database with this version's tables."""
    url = f"sqlite:///{tmp_path}/corridor.db"
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    with open_store(url) as store:
        yield store
