"""How fast a predictor is on this machine and how much memory it takes, in a process that does nothing else."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np

from annotator.errors import InputError
from annotator.evaluation.advice import Speed
from annotator.pipeline.evaluate.variants import Answer, Crops, Inputs, open_variants
from annotator.pipeline.evaluate.views import person_view
from annotator.pipeline.thumbnail import file_reader, readable
from annotator.predictors.base import PersonView, Predictor
from annotator.protocols.people import People
from annotator.settings import Settings

PEOPLE = 64
"""People that are asked, over and over."""
SECONDS = 5.0
"""How long they are asked at least, after one batch to warm up."""


def measure_speed(
    name: str, inputs: Inputs, people: People, settings: Settings, *, crops: Crops, answer: Answer | None
) -> Speed:
    """Loads the predictor in a new process and asks it about some of the people: crops and model, without decoding.

    Raises:
        WeightsInvalid, ConfigurationError: it cannot be loaded.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, name, inputs, _some(people), settings, crops, answer).result()


def _some(people: People) -> People:
    """The people on the first images with anybody known, `PEOPLE` of them if there are that many."""
    known = np.flatnonzero(people.known)[:PEOPLE]
    images = np.zeros(len(people.images), np.bool_)
    images[people.image[known]] = True
    rows = np.ones(len(people), np.bool_)
    rows[known] = False
    return people.unlabelled(rows).on_images(images)


def _measure(
    name: str, inputs: Inputs, people: People, settings: Settings, crops: Crops, answer: Answer | None
) -> Speed:
    model = open_variants([name], [inputs], settings, crops=crops, answer=answer)[0].model.get()
    views = _views(people, settings)
    if not views:
        raise InputError("none of the images can be read, so no speed can be measured")
    batches = [views[start : start + model.batch_size] for start in range(0, len(views), model.batch_size)]
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        _ask(model, batches[0], pool)
        started = time.perf_counter()
        for batch in itertools.cycle(batches):
            done += _ask(model, batch, pool)
            seconds = time.perf_counter() - started
            if seconds >= SECONDS:
                break
    return Speed(done / seconds, _peak_memory(), _peak_gpu_memory())


def _ask(model: Predictor, batch: Sequence[PersonView], pool: ThreadPoolExecutor) -> int:
    return len(model.predict(list(pool.map(model.prepare, batch))))


def _views(people: People, settings: Settings) -> list[PersonView]:
    views = []
    for image, rows in enumerate(people.image_rows()):
        pixels = readable(file_reader(people.root / people.images[image], settings), settings)
        if pixels is None:
            continue
        boxes = {row: people.boxes(row, pixels.shape[1], pixels.shape[0]) for row in rows.tolist()}
        known = rows[people.known[rows]].tolist()
        views += [person_view(people.person_id(row), pixels, boxes, row) for row in known]
    return views


def _peak_memory() -> float:
    """Of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _peak_gpu_memory() -> float:
    """Of this process so far, in MB; 0 without a GPU."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 1e6 if torch is not None and torch.cuda.is_available() else 0.0
