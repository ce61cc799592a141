"""A simulated population, split into people with a truth and people held out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from annotator.domain import Fused
from annotator.ensemble.fitting import cross_fuse
from annotator.ensemble.model import Fit

FITTED, HELD_OUT = 2500, 6000


@pytest.fixture(scope="session")
def simulation() -> ModuleType:
    """The generator that the benchmarks use."""
    path = Path(__file__).parents[3] / "benchmarks" / "simulate.py"
    spec = importlib.util.spec_from_file_location("simulate_for_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def population(simulation: ModuleType) -> Any:
    return simulation.simulate(FITTED + HELD_OUT, seed=11)


@pytest.fixture(scope="session")
def known(population: Any) -> Any:
    return population.part(0, FITTED)


@pytest.fixture(scope="session")
def held_out(population: Any) -> Any:
    return population.part(FITTED, FITTED + HELD_OUT)


@pytest.fixture(scope="session")
def crossed(known: Any) -> tuple[Fit, list[Fused]]:
    return cross_fuse(known.people, known.truth, seed=0)


@pytest.fixture(scope="session")
def fitted(crossed: tuple[Fit, list[Fused]]) -> Fit:
    return crossed[0]
