"""JPEG for those that cannot show, or do not agree on, what a file holds."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from annotator.images.decode import MAX_BYTES, MAX_PIXELS, decode, is_plain, orientation_of
from annotator.images.signatures import sniff
from annotator.predictors.base import Pixels

MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
    "GIF": "image/gif",
}
"""What browsers show."""

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}
"""File endings of the formats that every reader of a dataset agrees on."""

JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """Bytes of an image file with their ``mime`` type; ``converted`` says whether they are new ones."""

    data: bytes
    mime: str
    converted: bool


def to_jpeg(pixels: Pixels, quality: int = JPEG_QUALITY) -> bytes:
    """A JPEG without chroma subsampling and without metadata; the same bytes for the same pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def browser_safe(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """The bytes themselves where every browser shows them upright, else a JPEG of the upright first frame.

    JPEG, PNG, WebP, AVIF, BMP and GIF stay as they are, unless an EXIF orientation in another format than JPEG would
    be read differently by different browsers.

    Raises:
        ImageError: the bytes are no usable image.
    """
    kind = sniff(data)
    if kind in MIME_TYPES and (kind == "JPEG" or orientation_of(data) == 1):
        return EncodedImage(data, MIME_TYPES[kind], converted=False)
    pixels = decode(data, max_bytes=max_bytes, max_pixels=max_pixels).pixels
    return EncodedImage(to_jpeg(pixels), MIME_TYPES["JPEG"], converted=True)


def dataset_safe(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """The bytes themselves where ``cv2.imread`` of any age reads what we see, else a JPEG of the upright picture.

    Raises:
        ImageError: the bytes are no usable image.
    """
    if is_plain(data):
        return EncodedImage(data, MIME_TYPES[sniff(data) or "JPEG"], converted=False)
    pixels = decode(data, max_bytes=max_bytes, max_pixels=max_pixels).pixels
    return EncodedImage(to_jpeg(pixels), MIME_TYPES["JPEG"], converted=True)
