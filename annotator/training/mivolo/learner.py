"""The model while it learns, and what its outputs cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from annotator.predictors.mivolo.architecture import MiVOLO, ModelMeta


class Taught(nn.Module):
    """A MiVOLO with a linear reader on each stem, which tells the stem early what matters; readers are not kept."""

    def __init__(self, model: MiVOLO) -> None:
        super().__init__()
        self.model = model
        width = model.config.embed_dims[0] * model.config.grid**2
        self._stems = ("proj",) if model.config.in_chans == 3 else ("proj1", "proj2")
        self.readers = nn.ModuleList([nn.Linear(width, model.config.num_classes) for _ in self._stems])

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Outputs ``(n, 3)`` of the model, then of the reader of each stem."""
        seen: list[Tensor] = []
        hooks = [
            getattr(self.model.patch_embed, stem).register_forward_hook(
                lambda _module, _inputs, output: seen.append(output)
            )
            for stem in self._stems
        ]
        try:
            whole = self.model(pixels)
        finally:
            for hook in hooks:
                hook.remove()
        return [whole, *(reader(output.flatten(1)) for reader, output in zip(self.readers, seen, strict=True))]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Of a batch: ``age`` ``(n,)`` in years and ``gender`` (male 0, female 1), NaN and -1 where unknown."""

    age: Tensor
    gender: Tensor


def multitask_loss(
    output: Tensor,
    targets: Targets,
    meta: ModelMeta,
    density: Tensor,
    age_share: float,
    linear_from: float | None = None,
) -> Tensor:
    """Weighted squared error of the normalised age plus cross-entropy of the gender (arXiv 2307.04616).

    Args:
        output: ``(n, 3)`` raw head outputs.
        targets: what is known.
        meta: normalises ages.
        density: ``(131,)`` weights of whole ages, see :func:`~annotator.training.density.density_weights`.
        age_share: factor of the age's part.
        linear_from: years from which on an error counts linearly (Huber's loss); ``None`` squares all.
    """
    known = ~targets.age.isnan()
    years = targets.age.nan_to_num(0.0)
    weights = density[years.round().clamp(0, 130).long()] * known
    error = output[:, -1].float() - (years - meta.avg_age) / (meta.max_age - meta.min_age)
    cost = error.square()
    if linear_from is not None:
        edge = linear_from / (meta.max_age - meta.min_age)
        cost = 2 * functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=edge)
    loss = age_share * (weights * cost).sum() / known.sum().clamp(min=1)
    if output.shape[1] == 3 and bool((targets.gender >= 0).any()):
        loss = loss + functional.cross_entropy(output[:, :2].float(), targets.gender, ignore_index=-1)
    return loss


def normalise(crops: Tensor) -> Tensor:
    """``(n, k, side, side, 3)`` uint8 to ``(n, 3 k, side, side)`` float32, standardised with ImageNet's figures."""
    from annotator.predictors.mivolo.predictor import MEAN, STD

    count, kinds, side = crops.shape[:3]
    pixels = crops.permute(0, 1, 4, 2, 3).reshape(count, 3 * kinds, side, side).float().div_(255)
    mean = torch.tensor(MEAN * kinds, device=pixels.device).view(1, -1, 1, 1)
    std = torch.tensor(STD * kinds, device=pixels.device).view(1, -1, 1, 1)
    return pixels.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)
