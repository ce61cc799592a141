"""The whole pre-label path on drawn pictures with the demo models: how much of the time is not spent in a model."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from annotator.demo.figures import write_pictures
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.project import create_project
from annotator.predictors.lazy import Lazy
from annotator.predictors.registry import open_models
from annotator.settings import load_settings
from annotator.store.session import open_store


class Clock:
    """Seconds inside each model; calls of one model never overlap here."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, call: Any) -> Any:
        """``call`` with its time added to ``name``."""

        def run(batch: Sequence[Any]) -> Any:
            start = time.perf_counter()
            try:
                return call(batch)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

        return run


def _watched(model: Lazy[Any], method: str, clock: Clock) -> Lazy[Any]:
    loaded = model.get()
    setattr(loaded, method, clock.timed(model.name, getattr(loaded, method)))
    return model


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    count = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        create_project(root)
        settings = load_settings(root)
        write_pictures(Path(folder) / "pictures", count, seed=99)
        models = open_models(settings)
        clock = Clock()
        if models.detector is not None:
            models = replace(models, detector=_watched(models.detector, "detect", clock))
        models = replace(models, predictors=tuple(_watched(model, "predict", clock) for model in models.predictors))
        with open_store(settings.resolved_database_url) as store:
            ingest(store, settings, [str(Path(folder) / "pictures")])
            start = time.perf_counter()
            report = prelabel(store, settings, models)
            whole = time.perf_counter() - start
    inside = sum(clock.seconds.values())
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, float32")
    print(f"{report.images:,} pictures, {report.people:,} people: {whole:.1f} s, {report.people / whole:.1f} people/s")
    for name, seconds in clock.seconds.items():
        print(f"  {name:14} {seconds:8.1f} s  {100 * seconds / whole:5.1f} %")
    print(f"  {'around them':14} {whole - inside:8.1f} s  {100 * (whole - inside) / whole:5.1f} %")


if __name__ == "__main__":
    main()
