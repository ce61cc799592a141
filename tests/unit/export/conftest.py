from __future__ import annotations

import pytest

from annotator.export.manifest import Recipe


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(predictors={"m@0123456789ab": "ab" * 32}, method="precision", settings={"seed": 0})
