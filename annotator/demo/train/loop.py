"""What the three trainings share: seeding, a cosine schedule with warm-up, an average of the weights, a log line."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from annotator.training.average import Average, cosine, decay_groups

log = logging.getLogger(__name__)
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: ``steps`` of ``batch`` samples from ``pictures`` drawn pictures, all from ``seed``."""

    seed: int
    steps: int
    batch: int
    pictures: int
    rate: float
    cache: Path | None = None
    warmup: float = 0.05
    decay: float = 0.01
    clip: float = 1.0

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: linear warm-up, then a cosine down to a hundredth."""
        return self.rate * cosine(step, self.steps, self.warmup)


def seed_everything(seed: int) -> None:
    """Seed every source of chance that a training touches; one thread only, so that sums come in one order."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)


class Trainer(Generic[Model]):
    """AdamW over a model's parameters, with clipping, a schedule and an exponential average of the weights."""

    def __init__(self, model: Model, run: Run, average: float = 0.998) -> None:
        self.model, self.run = model, run
        self._average = Average(model, average)
        self._optimizer = torch.optim.AdamW(decay_groups(model, run.decay), lr=run.rate, betas=(0.9, 0.98))
        self._started = time.perf_counter()
        self._smooth: float | None = None

    @property
    def averaged(self) -> Model:
        """The model with the average of the weights."""
        return self._average.model

    def step(self, number: int, loss: Tensor) -> None:
        """Take one step down the gradient of ``loss``."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.run.rate_at(number)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.run.clip)
        self._optimizer.step()
        self._average.update(self.model, number)
        value = float(loss.detach())
        self._smooth = value if self._smooth is None else 0.98 * self._smooth + 0.02 * value
        if number % 100 == 0 or number + 1 == self.run.steps:
            seconds = time.perf_counter() - self._started
            log.info("step %d of %d, loss %.3f, %.0f s", number + 1, self.run.steps, self._smooth, seconds)
