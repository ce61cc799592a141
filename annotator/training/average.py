"""A schedule for the learning rate, and an average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def cosine(step: int, steps: int, warmup: float) -> float:
    """The share of the full rate at a step: linear warm-up, then a cosine down to a hundredth.

    >>> cosine(0, 100, 0.1), cosine(9, 100, 0.1), round(cosine(99, 100, 0.1), 2)
    (0.1, 1.0, 0.01)
    """
    start = max(1, round(warmup * steps))
    if step < start:
        return (step + 1) / start
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * (step - start) / max(1, steps - start)))


class Average(Generic[Model]):
    """An exponential average of a model's weights and statistics, which counts the first steps less."""

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step."""
        keep = min(self._decay, (1 + step) / (10 + step))
        for mean, tensor in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(tensor.to(mean.dtype), 1.0 - keep)
            else:
                mean.copy_(tensor)


def decay_groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Parameters for an optimizer: weight decay for matrices, none for vectors."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
