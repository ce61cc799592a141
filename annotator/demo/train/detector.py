"""Trains demo-detector: a D-FINE of half a million parameters that finds drawn people and their faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import DFineConfig, DFineForObjectDetection, RTDetrImageProcessor
from transformers.models.hgnet_v2 import HGNetV2Config

from annotator.demo.train.loop import Run, Trainer, seed_everything
from annotator.demo.train.samples import Arrays, Sizes, cached, detection_samples

LABELS = {0: "person", 1: "face"}
RECIPE = Run(seed=0, steps=1500, batch=16, pictures=6000, rate=1.2e-3, decay=1e-4, clip=1.0)


def detector_config() -> DFineConfig:
    """A D-FINE with an HGNetV2 backbone, narrow in every place."""
    backbone = HGNetV2Config(
        stem_channels=[3, 12, 16],
        stage_in_channels=[16, 32, 64, 96],
        stage_mid_channels=[12, 16, 24, 32],
        stage_out_channels=[32, 64, 96, 128],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[3, 3, 3, 3],
        hidden_sizes=[32, 64, 96, 128],
        depths=[1, 1, 1, 1],
        embedding_size=16,
        out_indices=[2, 3, 4],
    )
    return DFineConfig(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,
        encoder_in_channels=[64, 96, 128],
        encoder_hidden_dim=64,
        encoder_ffn_dim=128,
        encoder_attention_heads=4,
        hidden_expansion=0.5,
        depth_mult=0.34,
        d_model=64,
        decoder_in_channels=[64, 64, 64],
        decoder_ffn_dim=128,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_n_points=4,
        num_queries=40,
        num_denoising=30,
        max_num_bins=16,
        lqe_hidden_dim=32,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
    )


def train_detector(folder: Path, run: Run, sizes: Sizes) -> None:
    """Train on drawn pictures and write a Hugging Face object-detection folder."""
    seed_everything(run.seed)
    name = f"pictures-{run.seed}-{run.pictures}-{sizes.detector}"
    data = cached(run.cache, name, lambda: detection_samples(run.seed, run.pictures, sizes.detector))
    model = DFineForObjectDetection(detector_config()).train()
    trainer = Trainer(model, run)
    rng = np.random.default_rng([run.seed, 2])
    for step in range(run.steps):
        pixels, labels = _batch(data, rng, run.batch)
        trainer.step(step, model(pixel_values=pixels, labels=labels).loss)
    side = {"height": sizes.detector, "width": sizes.detector}
    trainer.averaged.save_pretrained(folder)
    RTDetrImageProcessor(size=side).save_pretrained(folder)


def _batch(data: Arrays, rng: np.random.Generator, size: int) -> tuple[Tensor, list[dict[str, Tensor]]]:
    rows = np.sort(rng.choice(len(data["pixels"]), size, replace=False))
    pixels = torch.from_numpy(np.asarray(data["pixels"][rows])).permute(0, 3, 1, 2).float().div(255)
    pixels = pixels * torch.from_numpy(rng.uniform(0.85, 1.12, (size, 3, 1, 1)).astype(np.float32))
    labels = []
    for number, row in enumerate(rows):
        known = np.asarray(data["classes"][row]) >= 0
        boxes = torch.from_numpy(np.asarray(data["boxes"][row])[known])
        if rng.random() < 0.5:
            pixels[number] = pixels[number].flip(-1)
            boxes[:, 0] = 1.0 - boxes[:, 0]
        classes = torch.from_numpy(np.asarray(data["classes"][row])[known].astype(np.int64))
        labels.append({"class_labels": classes, "boxes": boxes})
    return pixels.clamp(0, 1), labels
