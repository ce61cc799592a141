"""Drawn figures, the tiny models that know nothing else, and the scripts that trained them."""

from __future__ import annotations

from pathlib import Path

from annotator.errors import UnknownName

DEMO_NOTICE = "demo weights: they know drawn figures only"
"""Shown wherever a prediction of a demo model is shown."""

DEMO_MODELS = ("demo-detector", "demo-mivolo", "demo-mllm")
"""The names of the models whose weights ship with the package."""


def weights_dir(name: str) -> Path:
    """The folder that holds the shipped weights of one demo model.

    Raises:
        UnknownName: there is no demo model of that name.
    """
    if name not in DEMO_MODELS:
        raise UnknownName("demo model", name, DEMO_MODELS)
    return Path(__file__).parent / "weights" / name
