"""A picture for each labelled person: the whole-body crop that a multimodal model is asked about."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from annotator.domain import Box
from annotator.errors import ImageError, InputError
from annotator.export.naming import dataset_name, is_safe
from annotator.export.pictures import read_checked
from annotator.export.rows import ExportImage
from annotator.export.spool import MISSING, Corners, Spool
from annotator.images.convert import to_jpeg
from annotator.images.crops import plain_crop
from annotator.images.decode import decode


@dataclass(frozen=True, slots=True)
class PersonCrops:
    """``images/<two hex digits>/<person_id>.jpg``: the body box of everybody with a label, or the face box without one.

    With ``write`` false no file is made, and nobody's picture is read; names are the same.
    """

    folder: Path
    write: bool
    max_bytes: int
    max_pixels: int
    read: Callable[[str], bytes]

    def gather(self, spool: Spool) -> None:
        """Cut out everybody.

        Raises:
            InputError: an image is gone, has changed since it was ingested, or cannot be decoded; names it.
        """
        if self.write:
            self.folder.mkdir()
        for image, people in spool.scenes():
            name = image.name if is_safe(image.name) else dataset_name(image.name, "", converted=False)
            spool.place(image.sha256, name, None, (0, 0))
            known = [one for one in people if one.is_labelled]
            pictures = [(one.person_id, one.body if one.body != MISSING else one.face) for one in known]
            boxes = [(who, box) for who, box in pictures if box != MISSING]
            if boxes:
                self._cut(spool, image, boxes)
        spool.settle_names()

    def _cut(self, spool: Spool, image: ExportImage, boxes: list[tuple[str, Corners]]) -> None:
        pixels = None
        if self.write:
            try:
                data = read_checked(image, self.read)
                pixels = decode(data, max_bytes=self.max_bytes, max_pixels=self.max_pixels).pixels
            except ImageError as error:
                raise InputError(f"cannot export '{image.name}': {error}") from error
        for person_id, box in boxes:
            name = f"{image.sha256[:2]}/{person_id}.jpg"
            file = ("", 0)
            if pixels is not None:
                crop = plain_crop(pixels, Box(*box))
                if crop is None:
                    raise InputError(f"cannot export '{image.name}': {person_id} lies outside of it; ingest it again")
                content = to_jpeg(crop)
                path = self.folder / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
                file = (hashlib.sha256(content).hexdigest(), len(content))
            spool.place_crop(image.sha256, person_id, name, file, (math.floor(box[0]), math.floor(box[1])))
