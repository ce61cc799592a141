"""Several detectors as one, for instance one that finds people and one that finds faces."""

from __future__ import annotations

from collections.abc import Sequence

from annotator.detection.base import Detector
from annotator.detection.suppress import Thresholds, refine
from annotator.domain import Detection
from annotator.predictors.base import Pixels


def combined_version(name: str, versions: Sequence[str]) -> str:
    """The version of a combination, from those of its parts.

    >>> combined_version("both", ["people@1", "faces@2"])
    'both:people@1+faces@2'
    """
    return f"{name}:" + "+".join(versions)


class CombinedDetector:
    """Finds what any of its parts finds; duplicates between them are dropped like those of a single one."""

    def __init__(self, name: str, parts: Sequence[Detector]) -> None:
        self.name = name
        self.version = combined_version(name, [part.version for part in parts])
        self.notice = " ".join(dict.fromkeys(part.notice for part in parts if part.notice)) or None
        self._parts = tuple(parts)

    def detect(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """The people and faces of each image that any part finds, best score first."""
        found = [part.detect(images) for part in self._parts]
        limit = Thresholds(0.0, 0.0)
        return [
            refine([item for part in found for item in part[number]], limit, image.shape[1], image.shape[0])
            for number, image in enumerate(images)
        ]
