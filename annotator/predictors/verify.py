"""Whether the weights of a name are whole and fit their architecture to the last key."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotator.errors import InputError, UnknownName
from annotator.predictors.catalogue import CATALOGUE, REMOTE, Kind
from annotator.predictors.places import DETECTOR_FAMILIES, Place, locate, model_options
from annotator.predictors.pull import check_files
from annotator.predictors.weights import version_of, weights_digest
from annotator.settings import Settings


@dataclass(frozen=True, slots=True)
class Verified:
    """A model that loads: where, its version's sha256, how many files were compared with the record of their pull
    (``None``: there is no record), and how many parameters it has (``None``: it was not loaded).
    """

    name: str
    path: Path
    sha256: str
    compared: int | None
    parameters: int | None

    @property
    def version(self) -> str:
        """What predictions of these weights are stored under, before options."""
        return version_of(self.name, self.sha256)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "path": str(self.path), "version": self.version}


def verify(name: str, settings: Settings) -> Verified:
    """Compares files with the record of their pull and loads the model strictly, on the CPU.

    A YOLO file is a pickle and is not loaded: its sha256 is what the settings trust or not. Every byte is read,
    whatever is remembered of earlier readings.

    Raises:
        UnknownName, InputError: there is no such model, or it has no weights here.
        WeightsMissing: they are not on this machine.
        WeightsInvalid: a file is not what was pulled, or a key is missing, unexpected or of another shape.
    """
    if name in settings.chat or name in REMOTE:
        raise InputError(f"'{name}' is an endpoint and has no weights; `annotator doctor` asks whether it answers")
    place = locate(name, _kind(name, settings), settings)
    folder = place.path if place.path.is_dir() else place.path.parent
    files = check_files(folder)
    digest = weights_digest(place.path, fresh=True)
    return Verified(name, place.path, digest, None if files is None else len(files), _load(place))


def _kind(name: str, settings: Settings) -> Kind:
    target = model_options(name, settings).weights or name
    if target in CATALOGUE:
        return CATALOGUE[target].kind
    if ":" not in target:
        raise UnknownName("model", name, [*CATALOGUE, *settings.models])
    return "detector" if target.partition(":")[0] in DETECTOR_FAMILIES else "predictor"


def _load(place: Place) -> int | None:
    """Loads strictly; returns how many parameters there are."""
    if place.family == "yolo":
        return None
    if place.family == "yunet":
        from annotator.detection.yunet import YunetDetector

        YunetDetector(place.path, name=place.name)
        return None
    if place.family == "mivolo":
        from annotator.predictors.mivolo.checkpoint import load_model

        return _count(load_model(place.path, accelerated=False))
    if place.family == "llava":
        import torch

        from annotator.predictors.llava.checkpoint import load_llava, load_tokenizer

        load_tokenizer(place.path)
        return _count(load_llava(place.path, dtype=torch.bfloat16))
    from annotator.detection.huggingface import HuggingFaceDetector

    return HuggingFaceDetector(place.path, name=place.name, device="cpu").parameters


def _count(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
