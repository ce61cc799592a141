"""The whole pre-label path on drawn pictures with the demo models: how much of the time is not spent in a model.

    python -m benchmarks.prelabel [--pictures 2000] [--threads N]

"In a model" is a detector's or predictor's call with everything in it, such as resizing for a detector. Around it are
reading, decoding, cropping, pairing, measuring, fusing and the database (SQLite). Decoding and cropping run beside the
models and take processor time from them, so CPU seconds of the whole process stand beside the clock.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before OpenMP is loaded

import argparse
import resource
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
from benchmarks.mivolo import machine


class Clock:
    """Seconds inside each model, on the clock; models never work at the same time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, list[int]] = {}

    def timed(self, name: str, call: Any) -> Any:
        """``call`` with its time added to ``name``."""

        def run(batch: Sequence[Any]) -> Any:
            start = time.perf_counter()
            try:
                return call(batch)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
                self.calls.setdefault(name, []).append(len(batch))

        return run


def _watched(model: Lazy[Any], method: str, clock: Clock) -> Lazy[Any]:
    loaded = model.get()
    setattr(loaded, method, clock.timed(model.name, getattr(loaded, method)))
    return model


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        create_project(root)
        settings = load_settings(root)
        write_pictures(Path(folder) / "pictures", given.pictures, seed=99)
        models = open_models(settings)
        clock = Clock()
        if models.detector is not None:
            models = replace(models, detector=_watched(models.detector, "detect", clock))
        models = replace(models, predictors=tuple(_watched(model, "predict", clock) for model in models.predictors))
        with open_store(settings.resolved_database_url) as store:
            ingest(store, settings, [str(Path(folder) / "pictures")])
            start, busy = time.perf_counter(), time.process_time()
            report = prelabel(store, settings, models)
            whole, busy = time.perf_counter() - start, time.process_time() - busy
    inside = sum(clock.seconds.values())
    print(f"{machine('cpu')}, float32; {settings.batch_images} images in memory\n")
    print("| where | seconds | share | calls of (mean) |\n|---|---|---|---|")
    for name, seconds in clock.seconds.items():
        sizes = clock.calls[name]
        print(f"| {name} | {seconds:.1f} | {seconds / whole:.1%} | {sum(sizes) / len(sizes):.1f} |")
    print(f"| around them | {whole - inside:.1f} | **{(whole - inside) / whole:.1%}** | |")
    print(f"| whole | {whole:.1f} | 100 % | |\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{report.images:,} pictures, {report.people:,} people: {report.people / whole:.1f} people/s; {busy:.0f} CPU "
        f"seconds, {1000 * busy / report.people:.0f} ms per person; {peak:.2f} GiB of memory at most"
    )


if __name__ == "__main__":
    main()
