"""What every predictor is: prepare one person on a CPU thread, then predict a batch on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from annotator.domain import Box, Prediction

Pixels = NDArray[np.uint8]
"""An EXIF-oriented image, ``(height, width, 3)``, RGB, uint8, C order."""


@dataclass(frozen=True, slots=True)
class PersonView:
    """One person as a predictor sees it.

    ``others`` are the boxes of all *other* people on the image, bodies and faces; the person's own ``body`` and
    ``face`` are not among them. ``other_faces`` repeats those of ``others`` that are faces: a crop blanks bodies up to
    its edge, faces exactly.
    """

    person_id: str
    image: Pixels
    body: Box | None
    face: Box | None
    others: tuple[Box, ...] = ()
    other_faces: tuple[Box, ...] = ()

    @property
    def other_bodies(self) -> tuple[Box, ...]:
        """Those of ``others`` that are not faces."""
        faces = set(self.other_faces)
        return tuple(box for box in self.others if box not in faces)


class Predictor(Protocol):
    """A model that gives an age and a gender for people.

    ``version`` names the exact weights and settings (``<name>@<first 12 hex digits of the weights' sha256>`` or the
    remote model's id plus a hash of the prompt). ``notice`` is shown wherever a prediction of it is shown (``None`` for
    models without caveat). ``batch_size`` is how many prepared people one call should get.
    """

    name: str
    version: str
    notice: str | None
    batch_size: int

    def prepare(self, view: PersonView) -> Any:
        """Crop and resize; pure CPU work without the model, safe to run on several threads at once."""
        ...

    def predict(self, batch: Sequence[Any]) -> list[Prediction]:
        """One prediction for each prepared person, in order."""
        ...
