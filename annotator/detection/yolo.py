"""MiVOLO's own face-person detector, a YOLOv8: an opt-in extra under the AGPL-3.0.

``ultralytics`` and the weights are AGPL-3.0; neither comes with a default installation, and importing this module does
not import them. A YOLO ``.pt`` file is a pickle, which can run code when it is loaded: the file is therefore loaded
only when the caller names its sha256.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotator.detection.labels import kinds_by_label
from annotator.detection.suppress import Thresholds, refine
from annotator.domain import Box, Detection
from annotator.errors import ConfigurationError, WeightsInvalid, WeightsMissing
from annotator.predictors.base import Pixels
from annotator.predictors.digests import file_digest
from annotator.predictors.weights import version_of

YOLO_LICENCE = "AGPL-3.0"
INSTALL = "pip install 'annotator[yolo]'"


def yolo_version(path: Path, name: str, thresholds: Thresholds) -> str:
    """``<name>@<12 hex digits>-<thresholds>``, without loading the model.

    Raises:
        WeightsMissing: there is no such file.
    """
    return f"{version_of(name, _digest(path))}-{thresholds.tag}"


class YoloDetector:
    """People and faces by an ultralytics ``.pt`` file; labels are found by name.

    Args:
        path: the weights, such as ``yolov8x_person_face.pt``.
        name: the name that ``version`` begins with.
        trusted_sha256: the sha256 of the file that is trusted to be loaded, 64 hex digits.
        thresholds: least scores and the IoU of duplicates.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: pictures that the model sees at a time.
        notice: what must be said wherever a find of this detector is shown.

    Raises:
        WeightsMissing: there is no such file.
        WeightsInvalid: the file is not the trusted one, or knows neither people nor faces.
        ConfigurationError: the extra is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        trusted_sha256: str | None,
        thresholds: Thresholds | None = None,
        device: str = "auto",
        batch_size: int = 8,
        notice: str | None = None,
    ) -> None:
        self.name = name
        self.notice = notice
        self.batch_size = batch_size
        self.thresholds = thresholds or Thresholds()
        self.version = yolo_version(path, name, self.thresholds)
        self._device = None if device == "auto" else device
        _check_trust(path, trusted_sha256)
        self._model = _ultralytics()(str(path))
        self._kinds = kinds_by_label(self._model.names, str(path))

    def detect(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """The people and faces of each image, best score first."""
        found: list[list[Detection]] = []
        for start in range(0, len(images), self.batch_size):
            found += self._detect(images[start : start + self.batch_size])
        return found

    def _detect(self, batch: Sequence[Pixels]) -> list[list[Detection]]:
        results = self._model.predict(
            [np.ascontiguousarray(image[..., ::-1]) for image in batch],  # ultralytics takes BGR arrays
            conf=self.thresholds.least,
            iou=self.thresholds.duplicate_iou,
            device=self._device,
            verbose=False,
        )
        return [
            refine(self._detections(result.boxes), self.thresholds, image.shape[1], image.shape[0])
            for image, result in zip(batch, results, strict=True)
        ]

    def _detections(self, boxes: Any) -> Iterator[Detection]:
        columns = (values.tolist() for values in (boxes.xyxy, boxes.cls, boxes.conf))
        for corners, label, score in zip(*columns, strict=True):
            kind = self._kinds.get(int(label))
            if kind is not None:
                yield Detection(Box(*corners), kind, score)


def _digest(path: Path) -> str:
    if not path.is_file():
        raise WeightsMissing(f"there is no file {path}; see `annotator models list`")
    return file_digest(path)


def _check_trust(path: Path, trusted_sha256: str | None) -> None:
    digest = _digest(path)
    if trusted_sha256 is None:
        raise WeightsInvalid(
            f"{path} is a pickle, which can run code when loaded; if you trust it, name its sha256: {digest}"
        )
    if digest != trusted_sha256.lower():
        raise WeightsInvalid(f"{path} is not the trusted file: its sha256 is {digest}")


def _ultralytics() -> Callable[[str], Any]:
    """The ``YOLO`` class; kept from calling home and from installing packages."""
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise ConfigurationError(
            f"this detector needs ultralytics, which is under the {YOLO_LICENCE}; read NOTICE, then: {INSTALL}"
        ) from error
    loader: Callable[[str], Any] = YOLO
    return loader
