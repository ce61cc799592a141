"""From a picture to what the vision tower sees: padded to a square, resized, normalised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from annotator.predictors.base import Pixels

if TYPE_CHECKING:
    import torch

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Channel means of CLIP, for values in [0, 1]."""
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Channel standard deviations of CLIP, for values in [0, 1]."""
BACKGROUND = tuple(int(255 * mean) for mean in CLIP_MEAN)
"""The grey (122, 116, 104) that a picture is padded with: CLIP's mean, cut to whole numbers."""


def pad_to_square(image: Pixels) -> Pixels:
    """The picture in the middle of a ``BACKGROUND`` square of its longer side."""
    height, width = image.shape[:2]
    side = max(height, width)
    if height == width:
        return image
    square = np.empty((side, side, 3), np.uint8)
    square[:] = BACKGROUND
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def preprocess(image: Pixels, side: int) -> Pixels:
    """``(h, w, 3)`` uint8 RGB to ``(side, side, 3)`` uint8: padded to a square, resized bicubically by Pillow.

    The same bytes as LLaVA's ``expand2square`` followed by CLIP's image processor. Pixels are normalised later, on the
    model's device, by :func:`normalise`.
    """
    square = Image.fromarray(pad_to_square(np.ascontiguousarray(image)))
    return np.asarray(square.resize((side, side), Image.Resampling.BICUBIC))


def normalise(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``(n, s, s, 3)`` uint8 to ``(n, 3, s, s)`` of ``dtype``: scaled to [0, 1], standardised with CLIP's figures."""
    import torch

    mean = torch.tensor(CLIP_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(CLIP_STD, device=images.device).view(1, 3, 1, 1)
    scaled = images.permute(0, 3, 1, 2).to(torch.float32) / 255
    return ((scaled - mean) / std).to(dtype)
