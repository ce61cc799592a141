"""What a model of the LLaVA family sees of a crop, and how many tokens of the prompt that takes.

LLaVA-1.5 and ShareGPT4V see one square. LLaVA-NeXT sees the whole crop squeezed into a square, and beside it the crop
in tiles of that square, on the grid of its configuration that fits the crop best. The tiles' features are put together
again, what was padded is cut away, and a newline closes each row: so a crop takes as many tokens as its shape asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from annotator.errors import WeightsInvalid
from annotator.predictors.base import Pixels
from annotator.predictors.llava.preprocess import normalise, preprocess


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One crop as the vision tower gets it: ``pixels`` is ``(t, side, side, 3)`` uint8, ``size`` height and width of
    the picture that they come from, ``tokens`` how many it takes in the prompt.
    """

    pixels: Pixels
    size: tuple[int, int]
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Sights:
    """A batch: ``inputs`` for the model's forward pass, ``tokens`` of each picture."""

    inputs: dict[str, torch.Tensor]
    tokens: tuple[int, ...]


class Vision(Protocol):
    """The way from a crop to what the model is fed."""

    def look(self, crop: Pixels) -> Sight:
        """``(h, w, 3)`` uint8 RGB as the model sees it; CPU work."""
        ...

    def gather(self, sights: Sequence[Sight], device: torch.device, dtype: torch.dtype) -> Sights:
        """Several crops, normalised, on the model's device."""
        ...


class SquareVision:
    """LLaVA-1.5 and ShareGPT4V: padded to one square, every picture as many tokens as the next."""

    def __init__(self, config: Any) -> None:
        vision = config.vision_config
        self.side = int(vision.image_size)
        patches = (self.side // int(vision.patch_size)) ** 2
        self.tokens = patches + 1 if config.vision_feature_select_strategy == "full" else patches

    def look(self, crop: Pixels) -> Sight:
        """The crop in the middle of a square."""
        return Sight(preprocess(crop, self.side)[None], (crop.shape[0], crop.shape[1]), self.tokens)

    def gather(self, sights: Sequence[Sight], device: torch.device, dtype: torch.dtype) -> Sights:
        """``pixel_values`` ``(n, 3, side, side)``."""
        return Sights({"pixel_values": _pixels(sights, device, dtype)}, tuple(sight.tokens for sight in sights))


class TiledVision:
    """LLaVA-NeXT: an overview and tiles, as transformers' image processor cuts them with Pillow.

    A crop whose longer side is below two tiles is enlarged to that first: several grids would show so small a crop
    whole, and the first of them, a wide one, would be taken for tall people too.
    """

    def __init__(self, config: Any) -> None:
        vision = config.vision_config
        self.side = int(vision.image_size)
        self.patches = self.side // int(vision.patch_size)
        self.grids = [(int(height), int(width)) for height, width in config.image_grid_pinpoints]
        if config.vision_feature_select_strategy != "default":
            raise WeightsInvalid("LLaVA-NeXT with the tower's class token (strategy 'full') cannot be cut into tiles")

    def look(self, crop: Pixels) -> Sight:
        """The overview, then the tiles row by row."""
        from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
        from transformers.image_utils import ChannelDimension

        picture = _enlarged(crop, 2 * self.side)
        size = (picture.shape[0], picture.shape[1])
        height, width = select_best_resolution(size, self.grids)
        inner = get_patch_output_size(picture, (height, width), ChannelDimension.LAST)
        canvas = np.zeros((height, width, 3), np.uint8)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        canvas[top : top + inner[0], left : left + inner[1]] = _resized(picture, inner)
        rows, columns = height // self.side, width // self.side
        tiles = canvas.reshape(rows, self.side, columns, self.side, 3).swapaxes(1, 2)
        overview = _resized(picture, (self.side, self.side))
        pixels = np.concatenate([overview[None], tiles.reshape(-1, self.side, self.side, 3)])
        return Sight(pixels, size, self._tokens(size, rows, columns))

    def _tokens(self, size: tuple[int, int], rows: int, columns: int) -> int:
        """Patches of the overview, those of the grid that are not padding, and one newline for each row of them."""
        height, width = size
        down, across = self.patches * rows, self.patches * columns
        if width / height > across / down:
            down -= (down - int(round(height * (across / width), 7))) // 2 * 2
        else:
            across -= (across - int(round(width * (down / height), 7))) // 2 * 2
        return self.patches**2 + down * across + down

    def gather(self, sights: Sequence[Sight], device: torch.device, dtype: torch.dtype) -> Sights:
        """``pixel_values`` ``(tiles of all, 3, side, side)`` and ``image_sizes`` ``(n, 2)``."""
        sizes = torch.tensor([sight.size for sight in sights], device=device)
        inputs = {"pixel_values": _pixels(sights, device, dtype), "image_sizes": sizes}
        return Sights(inputs, tuple(sight.tokens for sight in sights))


def vision_of(config: Any) -> Vision:
    """The way that a ``LlavaConfig`` or a ``LlavaNextConfig`` asks for."""
    return TiledVision(config) if config.model_type == "llava_next" else SquareVision(config)


def _pixels(sights: Sequence[Sight], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    stacked = torch.from_numpy(np.concatenate([sight.pixels for sight in sights]))
    return normalise(stacked.to(device), dtype)


def _enlarged(crop: Pixels, least: int) -> Pixels:
    """``crop`` with its longer side at least ``least``."""
    height, width = crop.shape[:2]
    longer = max(height, width)
    if longer >= least:
        return crop
    return _resized(crop, (max(1, round(height * least / longer)), max(1, round(width * least / longer))))


def _resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Bicubically to ``size`` = (height, width)."""
    if image.shape[:2] == size:
        return image
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BICUBIC))
