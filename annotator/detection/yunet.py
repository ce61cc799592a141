"""Faces by YuNet, the small face detector of OpenCV's model zoo (MIT), run by OpenCV itself on the CPU.

YuNet knows faces of about 10 to 300 pixels on a canvas of 640 x 640, the size that its file is made for; engines differ
in whether they take any other. Each picture is therefore laid on that canvas twice, as large as it fits and half as
large, so that the face of a portrait is found as well.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from annotator.detection.labels import FACE
from annotator.detection.suppress import Thresholds, refine
from annotator.domain import Box, Detection
from annotator.errors import WeightsInvalid, WeightsMissing
from annotator.predictors.base import Pixels
from annotator.predictors.weights import version_of, weights_digest

CANVAS = 640
"""Side of the square that the network sees, in pixels."""
LONG_SIDES = (640, 320)
"""Longer sides at which a picture is searched; it is never enlarged."""
MOST = 5000
"""Faces that are looked at before duplicates are dropped, OpenCV's own default."""
SAME_FACE = 0.3
"""IoU from which on two finds are one face, as in the zoo's own example; the sizes place boxes a little differently."""


class YunetDetector:
    """Faces by YuNet's ONNX file.

    Args:
        path: the file, such as ``face_detection_yunet_2023mar.onnx``.
        name: the name that ``version`` begins with.
        thresholds: the least score of a face.
        notice: what must be said wherever a find of this detector is shown.

    Raises:
        WeightsMissing: there is no such file.
        WeightsInvalid: OpenCV cannot read it.
    """

    def __init__(
        self, path: Path, *, name: str, thresholds: Thresholds | None = None, notice: str | None = None
    ) -> None:
        self.name, self.notice = name, notice
        self.thresholds = thresholds or Thresholds()
        if not path.is_file():
            raise WeightsMissing(f"there is no file {path}; see `annotator models list`")
        self.version = f"{version_of(name, weights_digest(path))}-{self.thresholds.tag}"
        self._lock = threading.Lock()  # one network, one picture at a time
        self._network = _read(path, self.thresholds.face)

    def detect(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """The faces of each image, best score first."""
        limits = Thresholds(self.thresholds.person, self.thresholds.face, SAME_FACE)
        return [refine(self._search(image), limits, image.shape[1], image.shape[0]) for image in images]

    def _search(self, image: Pixels) -> Iterator[Detection]:
        height, width = image.shape[:2]
        for scale in dict.fromkeys(min(1.0, side / max(height, width)) for side in LONG_SIDES):
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
            canvas = np.zeros((CANVAS, CANVAS, 3), np.uint8)
            canvas[: size[1], : size[0]] = small[..., ::-1]  # OpenCV's networks take BGR
            across, down = size[0] / width, size[1] / height
            for x, y, wide, high, *_, score in self._faces(canvas):
                box = Box(x / across, y / down, (x + wide) / across, (y + high) / down)
                yield Detection(box, FACE, min(1.0, max(0.0, score)))

    def _faces(self, canvas: Pixels) -> list[list[float]]:
        """Rows of x, y, width, height, five landmarks, score, in pixels of ``canvas``."""
        with self._lock:
            _, rows = self._network.detect(canvas)
        return [] if rows is None else [[float(value) for value in row] for row in rows]


def _read(path: Path, least: float) -> Any:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said below, once
    try:
        return cv2.FaceDetectorYN.create(str(path), "", (CANVAS, CANVAS), least, SAME_FACE, MOST)
    except cv2.error as error:
        raise WeightsInvalid(f"{path} is no YuNet model that OpenCV reads: {error.err or error}") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
