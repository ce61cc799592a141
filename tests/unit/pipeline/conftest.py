"""A database and settings for each test of the corridor."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.settings import Settings
from annotator.store.session import Store, open_store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Defaults, with small batches."""
    return Settings(root=tmp_path, batch_images=4)


@pytest.fixture
def corridor(blank_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    """A SQLite database with this version's tables."""
    file = shutil.copy(blank_sqlite, tmp_path / "corridor.db")
    with open_store(f"sqlite:///{file}") as store:
        yield store
