"""What the three trainings share: seeding, a cosine schedule with warm-up, an average of the weights, a log line."""

from __future__ import annotations

import copy
import logging
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

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
        start = max(1, round(self.warmup * self.steps))
        if step < start:
            return self.rate * (step + 1) / start
        share = (step - start) / max(1, self.steps - start)
        return self.rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * share)))


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
        self.averaged = copy.deepcopy(model).eval()
        self._average = average
        matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
        vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": run.decay}, {"params": vectors, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=run.rate, betas=(0.9, 0.98))
        self._started = time.perf_counter()
        self._smooth: float | None = None

    def step(self, number: int, loss: Tensor) -> None:
        """Take one step down the gradient of ``loss``."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.run.rate_at(number)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.run.clip)
        self._optimizer.step()
        self._update_average(number)
        value = float(loss.detach())
        self._smooth = value if self._smooth is None else 0.98 * self._smooth + 0.02 * value
        if number % 100 == 0 or number + 1 == self.run.steps:
            seconds = time.perf_counter() - self._started
            log.info("step %d of %d, loss %.3f, %.0f s", number + 1, self.run.steps, self._smooth, seconds)

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        share = min(self._average, (1 + number) / (10 + number))
        for mean, tensor in zip(self.averaged.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(tensor, 1.0 - share)
            else:
                mean.copy_(tensor)
