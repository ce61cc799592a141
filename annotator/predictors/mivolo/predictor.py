"""MiVOLO as a predictor: crops in, age and P(female) out."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from annotator.domain import Prediction, PredictionStatus
from annotator.errors import ConfigurationError
from annotator.images.crops import dataset_face_crop, dataset_person_crop, face_crop, letterbox, person_crop
from annotator.predictors.base import PersonView, Pixels
from annotator.predictors.device import arithmetic, pick_device
from annotator.predictors.mivolo.architecture import ModelMeta
from annotator.predictors.mivolo.checkpoint import load_model
from annotator.predictors.versions import mivolo_suffix
from annotator.predictors.weights import version_of, weights_digest

OLDEST_AGE = 122.0
"""Ages are clamped to ``[0, 122]`` years: the oldest verified person, and the top of MiVOLO v2's training data."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

Inputs = Literal["body+face", "body", "face", "no-face"]
"""What the model gets to see. MiVOLO's body crop never shows the person's own face, so ``no-face`` equals ``body``."""

Crops = Literal["inference", "dataset"]
"""The reference crops in two ways: ``dataset`` is how it reads a benchmark, see `annotator.images.crops`."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""``auto`` is float32 on a CPU and float16, in which the reference runs, on a GPU."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPerson:
    """Letterboxed crops ``(side, side, 3)`` uint8 RGB; ``None`` where there is none, ``reason`` says why."""

    face: Pixels | None
    body: Pixels | None
    reason: str

    @property
    def inputs(self) -> list[str]:
        """Names of the crops that there are."""
        return [name for name, crop in (("face", self.face), ("body", self.body)) if crop is not None]


class MiVOLOPredictor:
    """A MiVOLO of any published variant.

    Args:
        path: weights in any layout that `load_model` reads.
        name: the predictor's name in predictions and reports.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: a GPU where there is one.
        batch_size: people in one forward pass; 8 on a CPU and 64 on a GPU unless given.
        notice: shown wherever a prediction of it is shown.
        inputs: which crops the model sees; a three-channel model takes only faces.
        crops: ``inference``, or ``dataset`` for figures that stand beside the published ones.
        dtype: the arithmetic; ``auto`` is right unless measured otherwise.
        compiled: use ``torch.compile``; slow to start, faster on long runs on a GPU.

    Raises:
        WeightsMissing, WeightsInvalid: as `load_model`.
        ConfigurationError: ``inputs`` that the model does not have, or an unknown ``dtype`` or device.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str,
        device: str = "auto",
        batch_size: int | None = None,
        notice: str | None = None,
        inputs: Inputs = "body+face",
        crops: Crops = "inference",
        dtype: Dtype = "auto",
        compiled: bool = False,
    ) -> None:
        self.device = pick_device(device)
        number = arithmetic(dtype, on_gpu=self.device.type == "cuda", best="float16")
        self.dtype: torch.dtype = getattr(torch, number)
        model = load_model(path, accelerated=self.device.type == "cpu" and not compiled)
        self.meta = model.meta
        self.name, self.notice = name, notice
        self.batch_size = batch_size or (8 if self.device.type == "cpu" else 64)
        self._weights = version_of(name, weights_digest(Path(path)))
        self._number = number
        self._show(inputs, crops)
        self.model = model.to(self.device, self.dtype)
        self._fixed_batch = compiled
        self._forward = torch.compile(self.model) if compiled else self.model
        offset = torch.tensor(MEAN * 2).view(1, 6, 1, 1)[:, : self.meta.channels]
        scale = torch.tensor(STD * 2).view(1, 6, 1, 1)[:, : self.meta.channels]
        self._offset, self._scale = offset.to(self.device), scale.to(self.device)

    def showing(self, inputs: Inputs, crops: Crops) -> MiVOLOPredictor:
        """The same model in memory, shown other crops; its version says so.

        Raises:
            ConfigurationError: inputs or crops that it does not have.
        """
        other = copy.copy(self)
        other._show(inputs, crops)
        return other

    def _show(self, inputs: Inputs, crops: Crops) -> None:
        _check_inputs(inputs, self.meta, self.name)
        if crops not in get_args(Crops):
            raise ConfigurationError(f"unknown crops '{crops}'; known are: {', '.join(get_args(Crops))}")
        self.inputs, self.crops = inputs, crops
        self.version = self._weights + mivolo_suffix(inputs, self._number, crops)

    def prepare(self, view: PersonView) -> PreparedPerson:
        """Crop as the reference does and letterbox to the model's side."""
        side = self.meta.input_size
        face, why_no_face = self._face(view)
        body, why_no_body = self._body(view)
        return PreparedPerson(
            None if face is None else letterbox(face, side),
            None if body is None else letterbox(body, side),
            "; ".join(filter(None, (why_no_face, why_no_body))),
        )

    def _face(self, view: PersonView) -> tuple[Pixels | None, str]:
        if self.inputs in ("body", "no-face"):
            return None, ""
        if view.face is None:
            return None, "no face box"
        if self.crops == "dataset":
            crop, why = dataset_face_crop(view.image, view.face), "the face is too small"
        else:
            crop, why = face_crop(view.image, view.face), "the face box holds no pixel of the image"
        return crop, "" if crop is not None else why

    def _body(self, view: PersonView) -> tuple[Pixels | None, str]:
        if self.inputs == "face" or self.meta.channels == 3:
            return None, ""
        if view.body is None:
            return None, "no body box"
        faces, bodies = view.other_faces, view.other_bodies
        if self.crops == "dataset":
            crop = dataset_person_crop(view.image, view.body, face=view.face, faces=faces, bodies=bodies)
        else:
            own = () if view.face is None else (view.face,)
            crop = person_crop(view.image, view.body, faces=(*own, *faces), bodies=bodies)
        return crop, "" if crop is not None else "the body is too small or covered by others"

    def predict(self, batch: Sequence[PreparedPerson]) -> list[Prediction]:
        """One prediction for each person; ``no_evidence`` where neither crop is usable."""
        seen = [person for person in batch if person.inputs]
        rows = iter(self._outputs(seen))
        return [self._prediction(person, next(rows)) if person.inputs else self._nothing(person) for person in batch]

    def _outputs(self, people: Sequence[PreparedPerson]) -> list[list[float]]:
        """Raw head outputs of each person."""
        rows: list[list[float]] = []
        for start in range(0, len(people), self.batch_size):
            part = people[start : start + self.batch_size]
            pixels = self._stack(part)
            with torch.inference_mode():
                outputs: Tensor = self._forward(self._normalise(pixels))
            rows += outputs[: len(part)].float().tolist()
        return rows

    def _stack(self, people: Sequence[PreparedPerson]) -> Tensor:
        """uint8 ``(n, channels, side, side)``, face first; a missing crop is black.

        A compiled model always gets full batches: another size would be compiled anew.
        """
        side, channels = self.meta.input_size, self.meta.channels
        count = self.batch_size if self._fixed_batch else len(people)
        pixels = np.zeros((count, channels // 3, side, side, 3), dtype=np.uint8)
        for index, person in enumerate(people):
            for slot, crop in enumerate((person.face, person.body)[: channels // 3]):
                if crop is not None:
                    pixels[index, slot] = crop
        return torch.from_numpy(pixels).permute(0, 1, 4, 2, 3).reshape(count, channels, side, side)

    def _normalise(self, pixels: Tensor) -> Tensor:
        values = pixels.to(self.device).float().div_(255).sub_(self._offset).div_(self._scale)
        return values.to(self.dtype)

    def _prediction(self, person: PreparedPerson, outputs: Sequence[float]) -> Prediction:
        details = {"inputs": person.inputs}
        if not all(map(math.isfinite, outputs)):
            return self._make(PredictionStatus.FAILED, "the model gave a value that is not a number", details)
        years = self.meta.years(outputs[-1])
        return Prediction(
            self.name,
            self.version,
            PredictionStatus.OK,
            age=min(max(years, 0.0), OLDEST_AGE),
            female_probability=_female_probability(*outputs[:2]) if len(outputs) == 3 else None,
            details={**details, "raw_age": years},
        )

    def _nothing(self, person: PreparedPerson) -> Prediction:
        return self._make(PredictionStatus.NO_EVIDENCE, person.reason, {"inputs": []})

    def _make(self, status: PredictionStatus, reason: str, details: dict[str, Any]) -> Prediction:
        return Prediction(self.name, self.version, status, reason=reason, details=details)


def _female_probability(male: float, female: float) -> float:
    """The softmax over the two logits.

    >>> _female_probability(1.0, 1.0)
    0.5
    """
    difference = min(max(male - female, -700.0), 700.0)
    return 1.0 / (1.0 + math.exp(difference))


def _check_inputs(inputs: str, meta: ModelMeta, name: str) -> None:
    if inputs not in get_args(Inputs):
        raise ConfigurationError(f"unknown inputs '{inputs}'; known are: {', '.join(get_args(Inputs))}")
    if meta.channels == 3 and inputs in ("body", "no-face"):
        raise ConfigurationError(f"predictor '{name}' sees faces only and cannot take inputs '{inputs}'")
