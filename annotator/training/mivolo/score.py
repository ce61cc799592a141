"""How good a model in training is on people that it does not learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from annotator.evaluation.metrics import absolute_errors, gender_hits, mean
from annotator.predictors.mivolo.architecture import ModelMeta
from annotator.training.crops import CropStore
from annotator.training.mivolo.learner import normalise

INPUTS = {"body+face": (True, True), "face": (True, False), "body": (False, True)}
"""What is shown, by name: the face, the body."""


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Of each person that could be shown: ``age`` is |error| in years, ``gender`` 0 or 1 for a hit, NaN unknown."""

    age: NDArray[np.float64]
    gender: NDArray[np.float64]

    @property
    def mae(self) -> float:
        """Mean absolute error in years."""
        return mean(self.age)

    @property
    def gender_accuracy(self) -> float:
        """Share of right genders."""
        return mean(self.gender)


def evaluate(
    model: nn.Module,
    meta: ModelMeta,
    crops: CropStore,
    shown: str,
    device: torch.device,
    part: tuple[int, int] = (0, 1),
) -> Losses:
    """Errors on everybody in ``crops`` who has one of the inputs ``shown``.

    ``part`` is this process and how many there are: each takes its share of the people, and all get everybody's errors.
    An answer that is no number is an error without end.
    """
    keep = np.array(INPUTS[shown])
    slots = [0, 1] if meta.channels == 6 else [0]
    rank, ranks = part
    rows = np.flatnonzero((crops.seen & keep)[:, slots].any(axis=1))[rank::ranks]
    outputs: list[NDArray[np.float64]] = []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            pixels = np.stack([crops[int(row)][0] * keep[:, None, None, None] for row in rows[start : start + 64]])
            inputs = normalise(torch.from_numpy(np.ascontiguousarray(pixels[:, slots])).to(device))
            outputs.append(model(inputs).float().cpu().numpy().astype(np.float64))
    model.train(was_training)
    raw = np.concatenate(outputs) if outputs else np.empty((0, 3))
    people = [crops.people[int(row)] for row in rows]
    age = np.array([np.nan if person.age is None else person.age for person in people])
    female = np.array([-1 if person.female is None else int(person.female) for person in people], np.int64)
    years = raw[:, -1] * (meta.max_age - meta.min_age) + meta.avg_age
    said = (raw[:, 1] > raw[:, 0]).astype(np.int64) if raw.shape[1] == 3 else np.full(len(raw), -1)
    age_losses, hits = absolute_errors(years, age), gender_hits(said, female)
    age_losses[~np.isfinite(raw).all(axis=1)] = np.inf
    if ranks > 1:
        age_losses, hits = (np.concatenate(gather_object([one])) for one in (age_losses, hits))
    return Losses(age_losses, hits)
