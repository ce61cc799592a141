"""Bytes to pixels, safely: few formats, caps before any pixel is decoded, one kind of error.

Reasons of :class:`~annotator.errors.ImageError` that come from here:

=====================  ================================================================
``empty``              the file has no bytes
``too_many_bytes``     more bytes than allowed
``not_an_image``       no image at all (text, a web page, ...)
``unsupported_format`` an image or media file of a kind that is not taken
``truncated``          the end of the file is missing
``too_many_pixels``    more pixels than allowed, found out from the header alone
``unreadable``         header or data are damaged
=====================  ================================================================
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import ExifTags, Image

from annotator.errors import ImageError
from annotator.images.signatures import is_truncated, sniff, sniff_unsupported, turns_itself
from annotator.predictors.base import Pixels

MAX_BYTES = 100_000_000
MAX_PIXELS = 50_000_000

_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_TIFF_EXTENTS = ((273, 279), (324, 325))  # offsets and byte counts of strips, and of tiles
_PNG_EXIF_MARKS = (b"eXIf", b"Raw profile type exif", b"tiff:Orientation")
_quiet_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header says: ``format`` is ``JPEG PNG WEBP AVIF BMP GIF TIFF HEIF``; the size is the oriented one."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image: ``pixels`` is ``(height, width, 3)`` RGB uint8, upright by its EXIF orientation."""

    pixels: Pixels
    format: str
    width: int
    height: int


def probe(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Format and size, and whether the file is whole, without decoding its pixels.

    Damage in the middle of a file is found by :func:`decode` only.

    Raises:
        ImageError: with a reason of the table above.
    """
    with _opened(data, max_bytes, max_pixels) as (image, kind):
        width, height = image.size
        turned = _orientation(image, data, kind) >= 5
    return ImageInfo(kind, *((height, width) if turned else (width, height)))


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Decoded:
    """The pixels of the first frame or page.

    16-bit samples keep their high byte, transparency is laid on white (what a browser shows on a light page), CMYK and
    palettes become RGB without colour management, as OpenCV does.

    Raises:
        ImageError: with a reason of the table above.
    """
    with _opened(data, max_bytes, max_pixels) as (image, kind):
        orientation = _orientation(image, data, kind)
        if kind == "TIFF":  # the only decoder that may warn
            with _quiet():
                image.load()
        pixels = np.ascontiguousarray(_upright(_rgb(image), orientation))
    return Decoded(pixels, kind, pixels.shape[1], pixels.shape[0])


def orientation_of(data: bytes) -> int:
    """The EXIF orientation, 1 to 8, that a reader still has to apply; 1 where there is none.

    Raises:
        ImageError: the bytes are no image.
    """
    with _opened(data, len(data), None) as (image, kind):
        return _orientation(image, data, kind)


def is_plain(data: bytes) -> bool:
    """Whether every reader sees the same upright, opaque 8-bit picture in these bytes.

    False for formats beyond JPEG, PNG, WebP and BMP, for transparency, CMYK and deep samples, and for an EXIF
    orientation in anything but JPEG, which older readers do not follow.

    Raises:
        ImageError: the bytes are no image.
    """
    with _opened(data, len(data), None) as (image, kind):
        if kind not in {"JPEG", "PNG", "WEBP", "BMP"} or image.mode not in {"RGB", "L", "P", "1"}:
            return False
        deep = kind == "PNG" and data[24] > 8
        return (
            not deep and "transparency" not in image.info and (kind == "JPEG" or _orientation(image, data, kind) == 1)
        )


@contextmanager
def _opened(data: bytes, max_bytes: int, max_pixels: int | None) -> Iterator[tuple[Image.Image, str]]:
    """The checked but not yet decoded image and its format; turns whatever goes wrong inside into ``ImageError``."""
    kind = _checked_kind(data, max_bytes)
    try:
        with _quiet():
            image = Image.open(io.BytesIO(data), formats=_plugins(kind))
        with image:
            _check_size(image, data, kind, max_pixels)
            yield image, kind
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("too_many_pixels", str(error)) from error
    except Exception as error:  # decoders raise anything on damaged files
        cause = " ".join(str(error).split()) or type(error).__name__
        reason = "truncated" if "truncated" in cause.lower() else "unreadable"
        raise ImageError(reason, f"damaged {kind} file: {cause}") from error


def _checked_kind(data: bytes, max_bytes: int) -> str:
    if not data:
        raise ImageError("empty", "the file is empty")
    if len(data) > max_bytes:
        raise ImageError("too_many_bytes", f"{len(data):,} bytes; at most {max_bytes:,} are allowed (max_image_bytes)")
    kind = sniff(data)
    if kind is None:
        other = sniff_unsupported(data)
        if other:
            raise ImageError("unsupported_format", f"{other} files are not taken; convert it to JPEG or PNG")
        raise ImageError("not_an_image", f"no image; it begins with {data[:12]!r}")
    if is_truncated(data, kind):
        raise ImageError("truncated", f"the end of the {kind} file is missing; copy it again")
    return kind


def _check_size(image: Image.Image, data: bytes, kind: str, max_pixels: int | None) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError("unreadable", f"damaged {kind} file: its size is {width} x {height}")
    if max_pixels is not None and width * height > max_pixels:
        message = f"{width} x {height} pixels; at most {max_pixels:,} are allowed (max_image_pixels)"
        raise ImageError("too_many_pixels", message)
    if _promised_bytes(image, kind) > len(data):
        raise ImageError("truncated", f"the end of the {kind} file is missing; copy it again")


def _promised_bytes(image: Image.Image, kind: str) -> int:
    """Where the last pixel's byte lies by the header of a TIFF or an uncompressed BMP; 0 where that says nothing."""
    if kind == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        pairs = [(tags[a], tags[b]) for a, b in _TIFF_EXTENTS if a in tags and b in tags]
        return max((at + size for ats, sizes in pairs for at, size in zip(ats, sizes, strict=False)), default=0)
    tile = image.tile[0] if kind == "BMP" and image.tile else None  # type: ignore[attr-defined]
    if tile is None or tile[0] != "raw":
        return 0
    return int(tile[2] + tile[3][1] * image.size[1])


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning leaves the image libraries; one thread at a time, because warning filters are global."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def _plugins(kind: str) -> tuple[str, ...]:
    """Pillow's names for a format; HEIF needs its plug-in to be registered first."""
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    return ("JPEG", "MPO") if kind == "JPEG" else (kind,)


def _orientation(image: Image.Image, data: bytes, kind: str) -> int:
    """EXIF orientation 1 to 8 that is still to be applied; 1 for nonsense.

    TIFF's decoder applies it itself. HEIF has turns of its own (``irot``, ``imir``), which its decoder follows; its
    EXIF counts only where the file has none, as some converters write it.
    """
    if kind == "TIFF" or (kind == "HEIF" and turns_itself(data)):
        return 1
    if kind == "PNG" and not any(mark in data for mark in _PNG_EXIF_MARKS):
        return 1  # Pillow would decode the whole picture to look behind it
    value = image.info.get("original_orientation") if kind == "HEIF" else _exif_orientation(image)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif_orientation(image: Image.Image) -> object:
    try:
        with _quiet():
            return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - a broken EXIF block must not cost the picture
        return None


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """EXIF: 2 mirrored, 3 upside down, 4 both, 5 to 8 the same with rows and columns exchanged."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return pixels


def _rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I;16"):
        high = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise ImageError("unsupported_format", "32-bit samples have no agreed range; convert it to 8 or 16 bits")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(image.convert("RGB"))
