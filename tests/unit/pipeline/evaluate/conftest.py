"""A small LAGENDA folder, and variants of stand-in predictors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.pipeline.evaluate.variants import Inputs, Variant
from annotator.predictors.registry import Lazy
from annotator.protocols.folders import read_lagenda
from annotator.protocols.people import People
from tests.helpers.benchmark_folders import annotation
from tests.helpers.models import MeanPredictor

PICTURES = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images with two people each."""
    place = tmp_path / "lagenda"
    rows = [(f"lag_benchmark/{n:04d}.jpg", (9 * n + 4 * k) % 90, "FM"[k]) for n in range(PICTURES) for k in range(2)]
    annotation(place / "lagenda_annotation.csv", place, rows)
    return place


@pytest.fixture
def people(folder: Path) -> People:
    """Who is on them: 20 people with a truth, as many neighbours without."""
    return read_lagenda(folder)


@pytest.fixture
def variant() -> Callable[..., Variant]:
    """A stand-in with inputs that it does not mind."""

    def make(model: MeanPredictor, inputs: Inputs = "body+face") -> Variant:
        return Variant(model.name, inputs, inputs, Lazy(model.name, model.version, lambda: model))

    return make
