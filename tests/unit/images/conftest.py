from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from annotator.store.session import Store, open_store

pillow_heif.register_heif_opener()


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """Smooth, without symmetry, and no two corners alike: it survives lossy formats and shows every turn."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 // (width - 1), y * 255 // (height - 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 60)], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "BMP": {},
    "GIF": {},
    "TIFF": {},
    "HEIF": {"quality": 95, "chroma": 444},
}


@pytest.fixture
def make() -> Callable[..., bytes]:
    """``make(kind)``: the gradient as a file of that format."""

    def build(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
        return encoded(image or gradient(), kind, **{**QUALITY[kind], **options})

    return build


@pytest.fixture
def corridor_store(blank_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    """A database with this version's tables."""
    file = shutil.copy(blank_sqlite, tmp_path / "store.db")
    with open_store(f"sqlite:///{file}") as store:
        yield store
