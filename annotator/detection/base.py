"""What every detector is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from annotator.domain import Detection
from annotator.predictors.base import Pixels


class Detector(Protocol):
    """A model that finds people and faces.

    ``version`` names weights and thresholds, like a predictor's. Boxes are in pixels of the given image.
    """

    name: str
    version: str
    notice: str | None

    def detect(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """The people and faces of each image, best score first. Never raises for one strange image."""
        ...
