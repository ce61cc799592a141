"""Any Hugging Face object-detection checkpoint that knows people or faces: D-FINE, RT-DETR, DETR, YOLOS, ..."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from annotator.detection.labels import kinds_by_label
from annotator.detection.suppress import Thresholds, refine
from annotator.domain import Box, Detection
from annotator.errors import WeightsInvalid, WeightsMissing
from annotator.predictors.base import Pixels
from annotator.predictors.device import pick_device
from annotator.predictors.weights import version_of, weights_digest

MIN_SIDE = 16
MAX_ASPECT = 16
"""Narrower pictures get black on their right or lower side, so that no model's resizing ends at zero."""


def huggingface_version(path: Path, name: str, thresholds: Thresholds) -> str:
    """``<name>@<12 hex digits>-<thresholds>``, without loading the model.

    Raises:
        WeightsMissing: there are no weights at ``path``.
    """
    return f"{version_of(name, weights_digest(path))}-{thresholds.tag}"


class HuggingFaceDetector:
    """People and faces by a folder that ``AutoModelForObjectDetection`` loads; labels are found by name.

    Args:
        path: folder with ``config.json``, weights and ``preprocessor_config.json``. Nothing is downloaded, and code
            in the folder is never run.
        name: the name that ``version`` begins with.
        thresholds: least scores and the IoU of duplicates.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: pictures that the model sees at a time.
        notice: what must be said wherever a find of this detector is shown.

    Raises:
        WeightsMissing: there is no such folder, or no weights in it.
        WeightsInvalid: the folder is no object detector, its weights do not fit, or it knows neither label.
        ConfigurationError: the device is unknown or not here.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        thresholds: Thresholds | None = None,
        device: str = "auto",
        batch_size: int = 8,
        notice: str | None = None,
    ) -> None:
        self.name = name
        self.notice = notice
        self.batch_size = batch_size
        self.thresholds = thresholds or Thresholds()
        self.version = huggingface_version(path, name, self.thresholds)
        self._device = pick_device(device)
        self._model, self._processor = _load(path)
        self._model.to(self._device)
        self._kinds = kinds_by_label(self._model.config.id2label, str(path))

    @property
    def kinds(self) -> frozenset[str]:
        """Which of ``person`` and ``face`` this model finds."""
        return frozenset(self._kinds.values())

    @property
    def parameters(self) -> int:
        """How many numbers the model consists of."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    def detect(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """The people and faces of each image, best score first."""
        batches = list(_batches(images, self.batch_size))
        found: list[list[Detection]] = []
        with ThreadPoolExecutor(1, thread_name_prefix="resize") as aside:  # the next batch, while the model works
            ready = [aside.submit(self._prepare, batch) for batch in batches[:1]]
            for number, batch in enumerate(batches):
                inputs = ready.pop().result()
                ready = [aside.submit(self._prepare, following) for following in batches[number + 1 : number + 2]]
                found += self._detect(batch, inputs)
        return found

    def _prepare(self, batch: Sequence[Pixels]) -> Any:
        """The images as the model gets them, and the sizes that its boxes are in."""
        padded = [_presentable(image) for image in batch]
        inputs = self._processor(images=padded, return_tensors="pt", input_data_format="channels_last")
        return inputs, [image.shape[:2] for image in padded]

    def _detect(self, batch: Sequence[Pixels], prepared: Any) -> Iterator[list[Detection]]:
        inputs, shapes = prepared
        with torch.inference_mode():
            outputs = self._model(**inputs.to(self._device))
        raw = self._processor.post_process_object_detection(
            outputs, threshold=self.thresholds.least, target_sizes=torch.tensor(shapes, device=self._device)
        )
        for image, result in zip(batch, raw, strict=True):
            yield refine(self._detections(result), self.thresholds, image.shape[1], image.shape[0])

    def _detections(self, result: Mapping[str, Any]) -> Iterator[Detection]:
        columns = (result[key].float().cpu().tolist() for key in ("boxes", "labels", "scores"))
        for corners, label, score in zip(*columns, strict=True):
            kind = self._kinds.get(int(label))
            if kind is not None:
                yield Detection(Box(*corners), kind, score)


def _load(path: Path) -> tuple[Any, Any]:
    """The model (eval mode, float32) and its image processor."""
    from transformers import AutoImageProcessor, AutoModelForObjectDetection
    from transformers.utils import logging

    logging.disable_progress_bar()
    if not path.is_dir():
        raise WeightsMissing(f"there is no model folder {path}; see `annotator models list`")
    _check_config(path)
    try:
        processor = AutoImageProcessor.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model, report = AutoModelForObjectDetection.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsInvalid(f"{path} is no object detector that transformers loads: {_first_line(error)}") from error
    missing = [*report["missing_keys"], *report["mismatched_keys"]]
    if missing:
        raise WeightsInvalid(f"the weights in {path} lack {len(missing)} tensors of the model, such as {missing[0]}")
    return model.eval(), processor


def _check_config(path: Path) -> None:
    """The labels, before any weight is read."""
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
        labels = {int(number): str(label) for number, label in config.get("id2label", {}).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsInvalid(f"{path} has no readable config.json: {_first_line(error)}") from error
    kinds_by_label(labels, str(path))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _presentable(image: Pixels) -> Pixels:
    """``image`` with black added on the right or below where it is too narrow; its pixels keep their places.

    A read-only image is copied: PyTorch has no read-only tensors and warns.
    """
    height, width = image.shape[:2]
    least = max(MIN_SIDE, -(-max(height, width) // MAX_ASPECT))
    down, right = max(0, least - height), max(0, least - width)
    if not down and not right:
        return image if image.flags.writeable else image.copy()
    return np.asarray(cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0)), np.uint8)


def _batches(images: Sequence[Pixels], size: int) -> Iterator[Sequence[Pixels]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]
