"""Small pictures for tests, and files that are none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, *, width: int = 48, height: int = 40, kind: str = "PNG") -> bytes:
    """A picture whose left and right half have grey values that depend on ``number``; no two are equal."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (37 * number) % 256
    pixels[:, width // 2 :] = (91 * number + 50) % 256
    pixels[0, 0] = (number % 256, number // 256 % 256, 7)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_pictures(folder: Path, count: int, *, first: int = 0) -> list[Path]:
    """``count`` numbered pictures in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"p{number:05d}.png" for number in range(first, first + count)]
    for number, path in enumerate(paths, start=first):
        path.write_bytes(picture(number))
    return paths


def write_broken(folder: Path, count: int) -> list[Path]:
    """``count`` files of several kinds that are no usable pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = picture(99_999)
    kinds = [
        b"",
        b"hello, this is text",
        whole[: len(whole) // 2],
        b"GIF89a" + b"\0" * 20,
        b"\xff\xd8\xff\xe0" + b"\1" * 40,
    ]
    paths = [folder / f"broken{number:03d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        body = kinds[number % len(kinds)]
        path.write_bytes(body + (b"%d" % number if body else b""))
    return paths
