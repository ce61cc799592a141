"""Small stand-ins for models: fast, deterministic functions of the pixels, with switches that make them fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from annotator.domain import Box, Detection, Prediction, PredictionStatus
from annotator.predictors.base import PersonView, Pixels
from annotator.predictors.lazy import Lazy
from annotator.predictors.registry import ModelSet


class HalvesDetector:
    """Finds two people, the left and the right half, each with a face; nobody on pictures narrower than 20 pixels."""

    notice = None

    def __init__(self, version: str = "halves@1", fails_on: Callable[[Pixels], bool] = lambda pixels: False) -> None:
        self.name, self.version, self._fails_on = "halves", version, fails_on
        self.seen = 0

    def detect(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """The halves of each image."""
        self.seen += len(images)
        return [self._one(pixels) for pixels in images]

    def _one(self, pixels: Pixels) -> list[Detection]:
        if self._fails_on(pixels):
            raise ValueError("strange picture")
        height, width = pixels.shape[:2]
        if width < 20:
            return []
        half, quarter = width / 2, height / 4
        found = []
        for left in (0.0, half):
            found.append(Detection(Box(left, 0, left + half, height), "person", 0.9))
            found.append(Detection(Box(left + 2, 1, left + half / 2, quarter), "face", 0.8))
        return found


class MeanPredictor:
    """The age is the mean grey value of the body, scaled to 0..100 plus ``shift``; bright people are female."""

    def __init__(self, name: str = "mean", version: str = "1", *, shift: float = 0.0, batch_size: int = 4) -> None:
        self.name, self.version, self.notice, self.batch_size = name, f"{name}@{version}", None, batch_size
        self.shift = shift
        self.batches: list[int] = []
        self.asked: list[str] = []
        self.fails_on: Callable[[str], bool] = lambda person_id: False
        self.breaks_on: Callable[[str], bool] = lambda person_id: False
        self.before: Callable[[], None] = lambda: None

    def prepare(self, view: PersonView) -> tuple[str, float]:
        """The person's id and mean grey value."""
        if self.breaks_on(view.person_id):
            raise ValueError("no crop")
        box = view.body or view.face
        assert box is not None
        x0, y0, x1, y1 = box.as_ints()
        return view.person_id, float(np.mean(view.image[y0:y1, x0:x1]))

    def predict(self, batch: Sequence[Any]) -> list[Prediction]:
        """One prediction each."""
        self.before()
        self.batches.append(len(batch))
        if any(self.fails_on(person_id) for person_id, _ in batch):
            raise RuntimeError("no memory")
        self.asked += [person_id for person_id, _ in batch]
        return [self._one(grey) for _, grey in batch]

    def _one(self, grey: float) -> Prediction:
        age = min(100.0, max(0.0, grey / 2.55 + self.shift))
        female = min(0.99, max(0.01, grey / 255))
        return Prediction(self.name, self.version, PredictionStatus.OK, age, None, female, details={"grey": grey})


def model_set(*predictors: MeanPredictor, detector: HalvesDetector | None = None) -> ModelSet:
    """A profile of stand-ins; by default one detector and two predictors that differ by eight years."""
    used = predictors or (MeanPredictor(), MeanPredictor("other", shift=8.0))
    found = detector or HalvesDetector()
    return ModelSet(
        "fake",
        Lazy(found.name, found.version, lambda: found),
        tuple(Lazy(model.name, model.version, lambda model=model: model) for model in used),
    )
