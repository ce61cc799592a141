"""Trains demo-mivolo: a MiVOLO of one million parameters, on face and body crops with either dropped at random."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from annotator.demo.looks import OLDEST
from annotator.demo.train.loop import Run, Trainer, seed_everything
from annotator.demo.train.samples import Arrays, Sizes, cached, people_samples
from annotator.predictors.mivolo.architecture import MiVOLO, MiVOLOConfig, ModelMeta
from annotator.predictors.mivolo.saving import save_pretrained
from annotator.training.mivolo.learner import Taught
from annotator.training.mivolo.start import TINY, look_straight

RECIPE = Run(seed=0, steps=3200, batch=64, pictures=9000, rate=1.5e-3, decay=0.03)
DROP_FACE, DROP_BODY = 0.14, 0.14
"""Shares of samples that lose their face or their body, so that either alone is enough for an answer."""

_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def mivolo_config(side: int) -> MiVOLOConfig:
    """The sizes of demo-mivolo: one Outlooker, three Transformers, two class-attention blocks."""
    return replace(TINY, img_size=side, drop_path_rate=0.05)


def train_mivolo(folder: Path, run: Run, sizes: Sizes) -> None:
    """Train on crops of drawn people and write a MiVOLO v2 folder."""
    seed_everything(run.seed)
    name = f"people-{run.seed}-{run.pictures}-{sizes.mivolo}-{sizes.mllm}"
    data = cached(run.cache, name, lambda: people_samples(run.seed, run.pictures, sizes))
    model = MiVOLO(mivolo_config(sizes.mivolo)).train().to(memory_format=torch.channels_last)
    look_straight(model)
    meta = ModelMeta.of(model.config, 0.0, float(OLDEST))
    trainer = Trainer(Taught(model), run)
    rng = np.random.default_rng([run.seed, 3])
    usable = np.flatnonzero(np.asarray(data["has_face"]) | np.asarray(data["has_body"]))
    for step in range(run.steps):
        rows = np.sort(rng.choice(usable, run.batch, replace=False))
        trainer.step(step, _loss(trainer.model, meta, data, rows, rng))
    save_pretrained(folder, trainer.averaged.model, meta)


def _loss(model: Taught, meta: ModelMeta, data: Arrays, rows: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """Smooth L1 on the age in years and cross-entropy on gender (male 0, female 1); the readers count a third."""
    age = torch.from_numpy(np.asarray(data["age"][rows]).astype(np.float32))
    female = torch.from_numpy(np.asarray(data["female"][rows]).astype(np.int64))
    losses = []
    for output in model(_inputs(data, rows, rng)):
        years = output[:, 2] * (meta.max_age - meta.min_age)
        error = functional.smooth_l1_loss(years, age - meta.avg_age, beta=3.0)
        losses.append(0.05 * error + functional.cross_entropy(output[:, :2], female))
    return losses[0] + (losses[1] + losses[2]) / 3


def _inputs(data: Arrays, rows: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """``(n, 6, side, side)``: face, then body; black where absent or dropped, mirrored and brightened at random."""
    face = torch.from_numpy(np.asarray(data["face"][rows])).permute(0, 3, 1, 2).float().div(255)
    body = torch.from_numpy(np.asarray(data["body"][rows])).permute(0, 3, 1, 2).float().div(255)
    count = len(rows)
    bright = torch.from_numpy(rng.uniform(0.92, 1.08, (count, 1, 1, 1)).astype(np.float32))
    chance = rng.random(count)
    lose_face = (chance < DROP_FACE) & np.asarray(data["has_body"][rows])
    lose_body = (chance > 1.0 - DROP_BODY) & np.asarray(data["has_face"][rows])
    face = face * bright * torch.from_numpy(~lose_face).view(-1, 1, 1, 1)
    body = body * bright * torch.from_numpy(~lose_body).view(-1, 1, 1, 1)
    both = torch.cat([(face.clamp(0, 1) - _MEAN) / _STD, (body.clamp(0, 1) - _MEAN) / _STD], dim=1)
    mirrored = torch.from_numpy(rng.random(count) < 0.5).view(-1, 1, 1, 1)
    return torch.where(mirrored, both.flip(-1), both).contiguous(memory_format=torch.channels_last)
