"""Models that say which device they took when they are loaded, and how long each call takes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from annotator.detection.base import Detector
from annotator.domain import Detection, Prediction
from annotator.jobs.metrics import MODEL_SECONDS
from annotator.predictors.base import PersonView, Pixels, Predictor
from annotator.predictors.lazy import Lazy
from annotator.predictors.registry import ModelSet

log = logging.getLogger(__name__)

Heard = Callable[[str], object]
"""Is told the device of a model that was loaded."""


class MeteredPredictor:
    """A predictor whose calls are timed."""

    def __init__(self, inner: Predictor, device: str) -> None:
        self.name, self.version, self.notice, self.batch_size = (
            inner.name, inner.version, inner.notice, inner.batch_size
        )  # fmt: skip
        self._inner, self._seconds = inner, MODEL_SECONDS.labels(inner.version, device)

    def prepare(self, view: PersonView) -> Any:
        """As the predictor does."""
        return self._inner.prepare(view)

    def predict(self, batch: Sequence[Any]) -> list[Prediction]:
        """As the predictor does."""
        with self._seconds.time():
            return self._inner.predict(batch)


class MeteredDetector:
    """A detector whose calls are timed."""

    def __init__(self, inner: Detector, device: str) -> None:
        self.name, self.version, self.notice = inner.name, inner.version, inner.notice
        self._inner, self._seconds = inner, MODEL_SECONDS.labels(inner.version, device)

    def detect(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """As the detector does."""
        with self._seconds.time():
            return self._inner.detect(images)


def metered(models: ModelSet, heard: Heard = lambda _: None) -> ModelSet:
    """The same models, loaded as late as before; each load is logged with its device, each call is timed."""
    predictors = tuple(_lazy(model, MeteredPredictor, heard) for model in models.predictors)
    detector = _lazy(models.detector, MeteredDetector, heard) if models.detector else None
    return replace(models, detector=detector, predictors=predictors)


def _lazy(model: Lazy[Any], kind: Callable[[Any, str], Any], heard: Heard) -> Lazy[Any]:
    def load() -> Any:
        started = time.monotonic()
        inner = model.get()
        device = device_of(inner)
        log.info("%s loaded on %s in %.1f s", model.version, device, time.monotonic() - started)
        heard(device)
        return kind(inner, device)

    return Lazy(model.name, model.version, load, notice=model.notice, digest=model.digest)


def device_of(model: object) -> str:
    """Where the weights of a loaded model are, such as ``cuda:0 (NVIDIA H100)``; ``none`` for one without weights."""
    torch = sys.modules.get("torch")  # what has weights has loaded it
    if torch is None:
        return "none"
    for part in vars(model).values():
        if isinstance(part, torch.nn.Module):
            first = next(part.parameters(), None)
            if first is not None:
                name = f" ({torch.cuda.get_device_name(first.device)})" if first.device.type == "cuda" else ""
                return f"{first.device}{name}"
    return "none"
