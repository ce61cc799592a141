"""The ``images/`` of a dataset: linked, copied, cut down to the people, or left out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import unquote_to_bytes

from annotator.domain import Box
from annotator.errors import ConfigurationError, ImageError, InputError
from annotator.export.naming import dataset_name, is_safe
from annotator.export.rows import ExportImage
from annotator.export.spool import MISSING, Corners, Spool
from annotator.images.convert import SUFFIXES, dataset_safe, to_jpeg
from annotator.images.crops import plain_crop
from annotator.images.decode import decode
from annotator.images.places import FILE_SCHEME, is_file

ImageMode = Literal["link", "copy", "crop", "none"]
CROP_MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Pictures:
    """How image files get into a dataset in the making.

    Args:
        mode: ``link`` makes symbolic links to the originals, ``copy`` copies, ``crop`` writes a JPEG of the part that
            holds all people of the image and moves their boxes, ``none`` writes no files and keeps the names. What
            older readers cannot open, or see differently, becomes a JPEG in any case.
        folder: the dataset's ``images/``.
        loose: a folder beside it for files whose final name is not known yet.
        max_bytes: larger files are refused.
        max_pixels: larger images are refused.
        read: gives the bytes at an image's ``uri``, at most ``max_bytes`` of them.

    Raises:
        ConfigurationError: the mode is unknown.
    """

    mode: ImageMode
    folder: Path
    loose: Path
    max_bytes: int
    max_pixels: int
    read: Callable[[str], bytes]

    def __post_init__(self) -> None:
        if self.mode not in get_args(ImageMode):
            raise ConfigurationError(f"unknown images '{self.mode}'; known are: {', '.join(get_args(ImageMode))}")

    def gather(self, spool: Spool) -> None:
        """Read, check and convert every image, and decide its name.

        Raises:
            InputError: an image is gone, has changed since it was ingested, or cannot be decoded; names it.
        """
        self.loose.mkdir()
        if self.mode == "crop":
            for image, people in spool.scenes():
                both = (box for one in people for box in (one.face, one.body))
                self._gather(spool, image, [box for box in both if box != MISSING])
        else:
            for image in spool.images():
                self._gather(spool, image, [])
        spool.settle_names()

    def arrange(self, spool: Spool) -> None:
        """Give every file its final name."""
        if self.mode == "none":
            return
        self.folder.mkdir()
        for sha256, name, uri in spool.final_names():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            written = self.loose / sha256
            if written.exists():
                written.rename(target)
            else:
                target.symlink_to(_path_of(uri))

    def _gather(self, spool: Spool, image: ExportImage, boxes: list[Corners]) -> None:
        if self.mode == "none":
            name = image.name if is_safe(image.name) else dataset_name(image.name, "", converted=False)
            spool.place(image.sha256, name, None, (0, 0))
            return
        data = read_checked(image, self.read)
        try:
            new, at = self._content(data, boxes)
        except ImageError as error:
            raise InputError(f"cannot export '{image.name}': {error}") from error
        if new is not None or self.mode != "link" or not is_file(image.uri):
            (self.loose / image.sha256).write_bytes(data if new is None else new)
        written = data if new is None else new
        suffix = SUFFIXES.get(image.format, ".jpg") if new is None else ".jpg"
        name = dataset_name(image.name, suffix, converted=new is not None)
        file = (image.sha256 if new is None else hashlib.sha256(new).hexdigest(), len(written))
        spool.place(image.sha256, name, file, at)

    def _content(self, data: bytes, boxes: list[Corners]) -> tuple[bytes | None, tuple[int, int]]:
        """New bytes where the original's cannot be used, and where their upper left corner lies in the original."""
        if self.mode != "crop" or not boxes:
            safe = dataset_safe(data, max_bytes=self.max_bytes, max_pixels=self.max_pixels)
            return (safe.data if safe.converted else None), (0, 0)
        pixels = decode(data, max_bytes=self.max_bytes, max_pixels=self.max_pixels).pixels
        region = people_region(boxes, pixels.shape[1], pixels.shape[0])
        part = plain_crop(pixels, region)
        if part is None:
            raise ImageError("unreadable", "the people lie outside of the picture; ingest it again")
        return to_jpeg(part), (int(region.x0), int(region.y0))


def read_checked(image: ExportImage, read: Callable[[str], bytes]) -> bytes:
    """The bytes of an image, which must be those that were ingested.

    Raises:
        InputError: it is gone or has changed.
    """
    try:
        data = read(image.uri)
    except ImageError as error:
        raise InputError(f"cannot export '{image.name}': {error}; or export with --images none") from error
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise InputError(f"{image.uri} has changed since it was ingested; ingest it again, then export")
    return data


def people_region(boxes: list[Corners], width: int, height: int) -> Box:
    """The whole-pixel part of an image that holds all boxes, with a tenth of its size around them."""
    x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    x1, y1 = max(box[2] for box in boxes), max(box[3] for box in boxes)
    dx, dy = round((x1 - x0) * CROP_MARGIN), round((y1 - y0) * CROP_MARGIN)
    return Box(x0 - dx, y0 - dy, x1 + dx, y1 + dy).clipped(width, height)


def _path_of(uri: str) -> Path:
    if uri.startswith(FILE_SCHEME):
        return Path(os.fsdecode(unquote_to_bytes(uri[len(FILE_SCHEME) :])))
    return Path(uri).absolute()
