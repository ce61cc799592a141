"""What every format decodes to, and which reason every broken file gets."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from annotator.errors import ImageError
from annotator.images.convert import browser_safe, dataset_safe, to_jpeg
from annotator.images.decode import ImageInfo, decode, is_plain, probe

Make = Callable[..., bytes]
KINDS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "HEIF")


def gradient() -> Image.Image:
    y, x = np.mgrid[0:32, 0:48]
    return Image.fromarray(np.stack([x * 255 // 47, y * 255 // 31, np.full_like(x, 60)], axis=-1).astype(np.uint8))


def near(pixels: np.ndarray, expected: Image.Image | np.ndarray, tolerance: float = 4.0) -> bool:
    reference = np.asarray(expected.convert("RGB") if isinstance(expected, Image.Image) else expected)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return (
        pixels.shape == reference.shape
        and float(np.abs(pixels.astype(int) - reference.astype(int)).mean()) <= tolerance
    )


def reason_of(data: bytes, **caps: int) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, **caps)
    return caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_its_pixels(kind: str, make: Make) -> None:
    data = make(kind)
    decoded = decode(data)
    assert (decoded.format, decoded.width, decoded.height) == (kind, 48, 32)
    assert near(decoded.pixels, gradient(), 12 if kind == "GIF" else 4)
    assert probe(data) == ImageInfo(kind, 48, 32)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_exif_orientation_is_applied(kind: str, orientation: int, make: Make) -> None:
    """The file is written so that a reader which follows the tag sees the gradient upright."""
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose values that undo each orientation
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = gradient()
    if orientation > 1:
        stored = stored.transpose(inverse.get(orientation, Image.Transpose(turns[orientation])))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = make(kind, stored, exif=exif)
    assert near(decode(data).pixels, gradient())
    assert (probe(data).width, probe(data).height) == (48, 32)
    assert near(decode(browser_safe(data).data).pixels, gradient())
    assert near(decode(dataset_safe(data).data).pixels, gradient())


def test_a_phones_heic_is_turned_once(make: Make) -> None:
    """Phones write the turn twice, as the file's own property and as EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = gradient().transpose(Image.Transpose.ROTATE_90)
    data = make("HEIF", stored, exif=exif.tobytes())
    assert b"irot" in data
    assert near(decode(data).pixels, gradient())
    assert probe(data) == ImageInfo("HEIF", 48, 32)


def test_jpeg_orientation_equals_opencv(make: Make) -> None:
    """The reference reads with OpenCV, so an upright JPEG must be the same picture there."""
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = make("JPEG", exif=exif)
        seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert near(decode(data).pixels, seen[..., ::-1], 1.0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_opaque_modes(mode: str, make: Make) -> None:
    image = gradient().convert(mode)
    assert near(decode(make("PNG", image)).pixels, image, 0)


def test_cmyk_becomes_rgb(make: Make) -> None:
    assert near(decode(make("JPEG", gradient().convert("CMYK"))).pixels, gradient(), 6)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(kind: str, make: Make) -> None:
    grey = np.linspace(0, 65535, 48 * 32).reshape(32, 48).astype(np.uint16)
    pixels = decode(make(kind, Image.fromarray(grey))).pixels
    assert near(pixels, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2), 0)


def test_sixteen_bit_colour_png(make: Make) -> None:
    deep = np.asarray(gradient()).astype(np.uint16)[..., ::-1] * 257
    data = cv2.imencode(".png", deep)[1].tobytes()
    assert near(decode(data).pixels, gradient(), 1)
    assert not is_plain(data)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(mode: str, make: Make) -> None:
    image = Image.new("RGBA", (8, 8), (10, 10, 10, 0))
    image.paste((10, 10, 10, 255), (0, 0, 4, 8))
    data = make("PNG", image.quantize(4) if mode == "PA" else image.convert(mode))
    pixels = decode(data).pixels
    assert pixels[0, 0].tolist() == [10, 10, 10]
    assert pixels[0, 7].tolist() == [255, 255, 255]
    assert not is_plain(data)
    assert dataset_safe(data).mime == "image/jpeg"


def test_transparent_colour_key(make: Make) -> None:
    image = Image.new("RGB", (4, 4), (0, 200, 0))
    assert decode(make("PNG", image, transparency=(0, 200, 0))).pixels.min() == 255


def test_the_first_frame_and_page(make: Make) -> None:
    second = Image.new("RGB", (48, 32), "red")
    for kind in ("GIF", "TIFF", "WEBP"):
        assert near(decode(make(kind, save_all=True, append_images=[second])).pixels, gradient(), 12)


def test_float_samples_are_refused(make: Make) -> None:
    assert reason_of(make("TIFF", Image.fromarray(np.ones((4, 4), np.float32)))) == "unsupported_format"


def test_multi_picture_jpeg_counts_as_jpeg() -> None:
    buffer = io.BytesIO()
    gradient().save(buffer, "MPO", save_all=True, append_images=[gradient()])
    assert decode(buffer.getvalue()).format == "JPEG"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
        (b"just some text, no picture", "not_an_image"),
        (b"\x00" * 5000, "not_an_image"),
        (b"8BPS\x00\x01" + bytes(100), "unsupported_format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
        (b"%PDF-1.7\n" + bytes(100), "unsupported_format"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(100), "unsupported_format"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(10) + b"\xff\xda\x00\x02\xff\xd9", "unreadable"),
        (b"BM" + bytes(60), "unreadable"),
        (b"II*\x00" + bytes(60), "unreadable"),
    ],
)
def test_what_is_no_image_has_its_reason(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason
    with pytest.raises(ImageError) as caught:
        probe(data)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_is_found_by_the_probe(kind: str, share: float, make: Make) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = make(kind, noise)
    data = data[: int(len(data) * share)]
    with pytest.raises(ImageError) as caught:
        probe(data)
    assert caught.value.reason == "truncated"
    assert reason_of(data) == "truncated"


def test_a_jpeg_with_a_thumbnail_is_truncated_by_its_own_end(make: Make) -> None:
    """The thumbnail inside EXIF ends with the same marker."""
    exif = Image.Exif()
    exif[0x9286] = b"ASCII\0\0\0" + make("JPEG")
    data = make("JPEG", exif=exif.tobytes())
    assert probe(data).width == 48
    with pytest.raises(ImageError, match="end of the JPEG"):
        probe(data[:-40])


def test_bytes_behind_the_end_do_no_harm(make: Make) -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF"):
        assert near(decode(make(kind) + b"trailer" * 30).pixels, gradient(), 12)


def test_caps(make: Make) -> None:
    data = make("PNG")
    assert reason_of(data, max_bytes=len(data) - 1) == "too_many_bytes"
    assert reason_of(data, max_pixels=48 * 32 - 1) == "too_many_pixels"
    assert decode(data, max_bytes=len(data), max_pixels=48 * 32).width == 48


def png_bomb(side: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compress(bytes(1000), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    data = png_bomb(side)
    tracemalloc.start()
    assert reason_of(data) == "too_many_pixels"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_broken_exif_block_costs_nothing(make: Make) -> None:
    data = make("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert near(decode(data).pixels, gradient())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4))
def test_damage_gives_pixels_or_a_reason(kind: str, damage: list[tuple[int, bytes]], make: Make) -> None:
    data = bytearray(make(kind))
    for place, junk in damage:
        at = place % len(data)
        data[at : at + len(junk)] = junk
    try:
        decoded = decode(bytes(data), max_pixels=100_000)
    except ImageError as caught:
        error, decoded = caught, None
    if decoded is None:
        assert error.reason
        assert "\n" not in str(error)
    else:
        assert decoded.pixels.shape == (decoded.height, decoded.width, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_browsers_and_readers_get(kind: str, make: Make) -> None:
    data = make(kind)
    shown = browser_safe(data)
    assert shown.converted == (kind in {"TIFF", "HEIF"})
    assert (shown.data == data) == (not shown.converted)
    read = dataset_safe(data)
    assert read.converted == (kind in {"TIFF", "HEIF", "AVIF", "GIF"})
    seen = cv2.imdecode(np.frombuffer(read.data, np.uint8), cv2.IMREAD_COLOR)
    assert near(np.ascontiguousarray(seen[..., ::-1]), decode(data).pixels, 6 if kind == "GIF" else 2)


def test_conversion_is_repeatable() -> None:
    pixels = np.asarray(gradient())
    assert to_jpeg(pixels) == to_jpeg(pixels.copy())
