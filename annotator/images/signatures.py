"""What a file is by its first bytes, and whether its last ones are there, without decoding a pixel.

Image libraries are asked only for files whose signature is on the list, and a header that promises more bytes than
there are is enough to refuse a file: registering 100,000 images must not decode 100,000 images.
"""

from __future__ import annotations

from collections.abc import Callable

_BMFF_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"),
}
_UNSUPPORTED = {
    b"8BPS": "PSD",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\x00\x00\x01\x00": "ICO",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"II\xbc": "JPEG XR",
    b"SIMPLE  =": "FITS",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"gimp xcf": "XCF",
    b"PK\x03\x04": "ZIP",
    b"\x1aE\xdf\xa3": "Matroska video",
}


def sniff(data: bytes) -> str | None:
    """The format by signature: ``JPEG PNG WEBP AVIF BMP GIF TIFF HEIF``, ``None`` where it is none of these.

    >>> sniff(b"GIF89a...")
    'GIF'
    >>> sniff(b"<!DOCTYPE html>") is None
    True
    """
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith(b"BM") and len(data) > 18:
        return "BMP"
    return _sniff_bmff(data)


def _sniff_bmff(data: bytes) -> str | None:
    """HEIF and AVIF share a container; the major brand decides, then the compatible ones (AVIF before HEIF)."""
    if data[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, length, 4))]
    known = [_BMFF_BRANDS[brand] for brand in brands if brand in _BMFF_BRANDS]
    if not known:
        return None
    return "AVIF" if "AVIF" in known else known[0]


def sniff_unsupported(data: bytes) -> str | None:
    """The name of a format that is known and not taken (PSD, JPEG 2000, video, ...), for the message."""
    for signature, name in _UNSUPPORTED.items():
        if data.startswith(signature):
            return name
    if data[4:8] == b"ftyp":
        return "video or other media"
    head = data[:256].lstrip().lower()
    return "SVG" if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in data[:2000]) else None


def is_truncated(data: bytes, kind: str) -> bool:
    """Whether bytes are missing that the format's own structure promises.

    Exact for JPEG (no end marker behind the scan), PNG, WebP and GIF; for HEIF and AVIF by the lengths of the boxes.
    TIFF and BMP have no such structure: their decoder is asked instead (``False`` here).
    """
    check = _CHECKS.get(kind)
    if check is None:
        return False
    try:
        return check(data)
    except (IndexError, ValueError):
        return True


def _jpeg_truncated(data: bytes) -> bool:
    at = 2
    while True:
        at = data.index(b"\xff", at)  # bytes between segments do not count
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0xDA:
            return data.find(b"\xff\xd9", at) < 0  # stuffing keeps this pair out of entropy-coded data
        elif marker == 0xD9:
            return True
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _png_truncated(data: bytes) -> bool:
    at = 8
    while True:
        length, name = _head(data, at)
        at += 12 + length
        if name == b"IEND":
            return at > len(data)


def _head(data: bytes, at: int) -> tuple[int, bytes]:
    """Length and name of a PNG chunk or a box."""
    if at + 8 > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]


def _webp_truncated(data: bytes) -> bool:
    return int.from_bytes(data[4:8], "little") + 8 > len(data)


def _gif_truncated(data: bytes) -> bool:
    """Only the first frame counts."""
    at = 13 + _gif_table(data[10])
    while data[at] != 0x2C:
        if data[at] != 0x21:
            return True
        at = _gif_skip_blocks(data, at + 2)
    at = at + 10 + _gif_table(data[at + 9]) + 1
    return _gif_skip_blocks(data, at) > len(data)


def _gif_table(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_skip_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _bmff_truncated(data: bytes) -> bool:
    at = 0
    seen: set[bytes] = set()
    while at < len(data):
        size, name = _head(data, at)
        seen.add(name)
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            break
        if size < 8 or at + size > len(data):
            return True
        at += size
    return b"meta" not in seen or not seen & {b"mdat", b"idat"}


def turns_itself(data: bytes) -> bool:
    """Whether a HEIF file carries a rotation or a mirroring of its own, which outrank EXIF."""
    at = data.find(b"meta")
    end = at + int.from_bytes(data[at - 4 : at], "big") if at >= 4 else 0
    return any(data.find(name, at, end) >= 0 for name in (b"irot", b"imir"))


_CHECKS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": _jpeg_truncated,
    "PNG": _png_truncated,
    "WEBP": _webp_truncated,
    "GIF": _gif_truncated,
    "HEIF": _bmff_truncated,
    "AVIF": _bmff_truncated,
}
