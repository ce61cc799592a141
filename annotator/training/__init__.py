"""Datasets become better models."""

from __future__ import annotations

from pathlib import Path


def configs() -> list[Path]:
    """The accelerate configurations that come with the package, for ``accelerate launch --config_file``."""
    return sorted((Path(__file__).parent / "mllm" / "configs").glob("*.yaml"))
