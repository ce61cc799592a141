"""How a MiVOLO is trained: every number that decides the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from annotator.training.augment import Augmentation


@dataclass(frozen=True, slots=True)
class Recipe:
    """One stage.

    Args:
        stage: 1 (face only, three channels) or 2 (face and body, six channels).
        size: a name of :data:`~annotator.training.mivolo.start.SIZES`.
        init: ``imagenet``, ``random`` or a path; in stage 2 also what stage 1 gave.
        steps: optimizer steps.
        batch: samples of one pass on one device.
        accumulate: passes of one optimizer step.
        rate: highest learning rate; linear warm-up over ``warmup`` of the steps, then a cosine.
        decay: weight decay of matrices.
        clip: largest norm of the gradient.
        average: decay of the exponential average of the weights.
        drop: dropout and drop-path.
        age_share: factor of the age's part of the loss.
        linear_from: years from which on an error of the age counts linearly; without it all are squared.
        stem_readers: factor of the loss of linear readers on the stems; small models from random weights need it.
        augmentation: what happens to the crops.
        balance_tail: draw people over 70 more often where the dataset does not say so itself.
        evaluate_every: steps between two looks at the validation split; state is saved then too.
        seed: of everything.
        precision: ``no``, ``bf16`` or ``fp16``.
    """

    stage: int = 2
    size: str = "mivolo_d1_384"
    init: str = "imagenet"
    steps: int = 20_000
    batch: int = 32
    accumulate: int = 1
    rate: float = 1e-4
    warmup: float = 0.05
    decay: float = 0.05
    clip: float = 1.0
    average: float = 0.998
    drop: float = 0.1
    age_share: float = 40.0
    linear_from: float | None = None
    stem_readers: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    balance_tail: bool = True
    evaluate_every: int = 500
    seed: int = 0
    precision: str = "no"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


STAGE_1 = Recipe(stage=1, augmentation=Augmentation(blur=0.05, blur_strength=0.04))
"""Face only, blur with probability .05 (science of arXiv 2307.04616)."""

STAGE_2 = Recipe(augmentation=Augmentation(blur=0.5, blur_strength=0.12, drop_face=0.14, drop_body=0.14))
"""Face and body from stage 1; half the faces blurred, more strongly."""


def usual(stage: int, size: str) -> Recipe:
    """The recipe of a stage; tiny models learn faster and need help with their stems."""
    recipe = replace(STAGE_1 if stage == 1 else STAGE_2, size=size)
    if size != "tiny":
        return recipe
    # crops of 64 pixels that are resized lose the fine lines that tell an age, which those of the validation have
    sharp = replace(recipe.augmentation, blur=0.05, shift=0.01, resize=0.0)
    return replace(
        recipe, init="random", steps=1600, batch=64, rate=1.5e-3, decay=0.03, drop=0.02, age_share=120.0,
        linear_from=3.0, stem_readers=1 / 3, augmentation=sharp, evaluate_every=200,
    )  # fmt: skip
