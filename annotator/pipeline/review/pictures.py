"""Pictures that Label Studio shows, as files under its local-files folder or as objects with signed addresses.

``annotator/images`` holds whole pictures that came from elsewhere, ``annotator/votes`` crops of people and the pictures
around them. Names say nothing of why a person is asked about.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import cv2

from annotator.domain import Box, Person
from annotator.errors import ConfigurationError, ImageError, StorageError
from annotator.files import write_whole
from annotator.images.convert import browser_safe, to_jpeg
from annotator.images.crops import plain_crop
from annotator.images.remote import is_remote
from annotator.pipeline.review.bucket import Bucket
from annotator.predictors.base import Pixels
from annotator.settings import Settings

IMAGES, VOTES = "annotator/images", "annotator/votes"
SERVED = "/data/local-files/?d="
CROP_SIDE, CONTEXT_SIDE = 640, 1024
"""Longest sides in pixels."""

THREADS = 4
"""Pictures that are made and written at a time: a disk or a storage answers several as fast as one."""

FRAME = (255, 140, 0)
"""Orange, for the frame around the person."""

CROP_MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """The local-files folder as we see it (``root``) and as Label Studio does (``seen_root``)."""

    root: Path
    seen_root: Path

    def seen(self, folder: str) -> str:
        """A folder in it, as Label Studio sees it."""
        return str(self.seen_root / folder)

    def make(self, folder: str) -> None:
        """Make a folder in it: Label Studio attaches existing ones only.

        Raises:
            StorageError: it cannot be made.
        """
        try:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {self.root / folder}: {error.strerror}") from error

    def publish(self, name: str, data: bytes) -> str:
        """Write a file where Label Studio serves it, once; its address there.

        Raises:
            StorageError: it cannot be written.
        """
        path = self.root / name
        if not path.exists():
            self.make(os.path.dirname(name))  # noqa: PTH120 - a name within the folder, not a path
            write_whole(path, data)
            path.chmod(0o644)
        return SERVED + quote(name)


def place_of(settings: Settings) -> Place | Bucket:
    """The folder, or the prefix in an object storage, that the settings name.

    Raises:
        ConfigurationError: none is set, or it is no such place.
    """
    bucket = Bucket.of(settings)
    if bucket is not None:
        return bucket
    if settings.local_files_root is None:
        raise ConfigurationError(
            "neither pictures_url nor local_files_root is set; the latter is the folder that Label Studio serves with "
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
        )
    root = settings.path(settings.local_files_root).resolve()
    return Place(root, settings.label_studio_files_root or root)


def shown_where_it_lies(place: Place | Bucket, uri: str, format_: str) -> str | None:
    """A signed address of an original that browsers can show; ``None`` where a copy must be written."""
    same = isinstance(place, Bucket) and is_remote(uri) and uri.split("://", 1)[0] == place.url.split("://", 1)[0]
    return place.sign(uri) if isinstance(place, Bucket) and same and format_ == "JPEG" else None


def publish_image(place: Place | Bucket, sha256: str, data: bytes, settings: Settings) -> str:
    """A whole picture, as a JPEG where browsers could not show the original; its address.

    Raises:
        ImageError: the bytes are no usable image.
        StorageError: it cannot be written.
    """
    shown = browser_safe(data, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    ending = ".png" if shown.mime == "image/png" else ".jpg"
    if shown.mime not in ("image/png", "image/jpeg"):
        ending = "." + shown.mime.removeprefix("image/")
    return place.publish(f"{IMAGES}/{sha256[:2]}/{sha256}{ending}", shown.data)


def publish_person(place: Place | Bucket, pixels: Pixels, person: Person, revision: int) -> tuple[str, str]:
    """A person's crop and the whole picture with a frame around them; their addresses.

    Raises:
        ImageError: the person's box holds no pixel of the image.
        StorageError: a file cannot be written.
    """
    box = person.body or person.face
    crop = plain_crop(pixels, box, margin=CROP_MARGIN) if box else None
    if box is None or crop is None:
        raise ImageError("no_crop", f"{person.person_id} has no box inside the picture")
    folder = f"{VOTES}/{person.person_id[:2]}"
    name = f"{folder}/{person.person_id}-{revision}"
    small = to_jpeg(_at_most(crop, CROP_SIDE), quality=90)
    context = to_jpeg(_framed(pixels, box), quality=85)
    return place.publish(f"{name}-person.jpg", small), place.publish(f"{name}-context.jpg", context)


def _framed(pixels: Pixels, box: Box) -> Pixels:
    """The picture, made smaller first so that the frame stays visible."""
    small = _at_most(pixels, CONTEXT_SIDE)
    small = small.copy()
    across, down = small.shape[1] / pixels.shape[1], small.shape[0] / pixels.shape[0]
    inside = box.clipped(pixels.shape[1], pixels.shape[0])
    left_top = (int(inside.x0 * across), int(inside.y0 * down))
    right_bottom = (int(inside.x1 * across) - 1, int(inside.y1 * down) - 1)
    thick = max(2, round(max(small.shape[:2]) / 300))
    cv2.rectangle(small, left_top, right_bottom, FRAME, thick)
    return small


def _at_most(pixels: Pixels, side: int) -> Pixels:
    """Made smaller where the longer side exceeds ``side``; never larger."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small
