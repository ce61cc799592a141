"""Which detector and predictors a name stands for. Nothing is loaded before it is needed.

A name is one of the catalogue, one of the settings' ``[chat.NAME]`` endpoints, or ``FAMILY:PATH`` for weights of one's
own: ``mivolo:/models/mine.pth.tar``, ``llava:/models/mine``, ``huggingface:/models/finder``, ``yolo:/models/mine.pt``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from annotator.demo import DEMO_MODELS, DEMO_NOTICE, weights_dir
from annotator.detection.base import Detector
from annotator.endpoint import Endpoint
from annotator.errors import ConfigurationError, UnknownName, WeightsInvalid, WeightsMissing
from annotator.predictors.base import Predictor
from annotator.predictors.catalogue import PROFILES, Entry, Family, Kind, entry
from annotator.predictors.weights import version_of, weights_digest
from annotator.settings import Settings

Model = TypeVar("Model", bound=Detector | Predictor)

GIVEN = "given"
"""The detector that detects nothing: only boxes that came with the images count."""

DETECTOR_FAMILIES = ("huggingface", "yolo")
PREDICTOR_FAMILIES = ("mivolo", "llava")


class Lazy(Generic[Model]):
    """A model by name whose ``version`` is known before its weights are in memory; loaded once, on first use.

    ``digest`` is the sha256 of its weights (``None`` for a remote model), ``notice`` what must be said of it.
    """

    def __init__(
        self,
        name: str,
        version: str,
        load: Callable[[], Model],
        *,
        notice: str | None = None,
        digest: str | None = None,
    ) -> None:
        self.name, self.version, self.notice, self.digest = name, version, notice, digest
        self._load = load
        self._loaded: Model | None = None
        self._lock = threading.Lock()

    def get(self) -> Model:
        """The model, loaded by the first caller while others wait.

        Raises:
            WeightsMissing, WeightsInvalid: it cannot be loaded, or is not what its version said.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = self._checked(self._load())
            return self._loaded

    def _checked(self, model: Model) -> Model:
        if model.version != self.version:
            raise WeightsInvalid(
                f"'{self.name}' was {self.version} a moment ago and is {model.version} now; run the command again"
            )
        return model


@dataclass(frozen=True)
class ModelSet:
    """What a project pre-labels with. Without a ``detector`` only given boxes count."""

    profile: str
    detector: Lazy[Detector] | None
    predictors: tuple[Lazy[Predictor], ...]

    @property
    def notices(self) -> dict[str, str]:
        """What must be said of predictors wherever their predictions are shown, by name."""
        return {model.name: model.notice for model in self.predictors if model.notice}


def open_models(settings: Settings) -> ModelSet:
    """The settings' profile, with its detector and predictors replaced by those that the settings name.

    Raises:
        UnknownName: a profile, detector or predictor is not known.
        WeightsMissing: weights are not on this machine; names the command that gets them.
        ConfigurationError: the profile has no detector of its own and the settings name none.
    """
    if settings.profile not in PROFILES:
        raise UnknownName("profile", settings.profile, list(PROFILES))
    detector, predictors = PROFILES[settings.profile]
    names = dict.fromkeys(settings.predictors or predictors)
    for name in names:
        check_predictor(name, settings)
    return ModelSet(
        settings.profile,
        open_detector(settings.detector or detector, settings),
        tuple(open_predictor(name, settings) for name in names),
    )


def check_predictor(name: str, settings: Settings) -> None:
    """Nothing where a predictor of that name could exist, whether its weights are here or not.

    Raises:
        UnknownName: it cannot.
    """
    if name not in settings.chat and name.partition(":")[0] not in PREDICTOR_FAMILIES:
        entry(name, "predictor")


def open_detector(name: str | None, settings: Settings) -> Lazy[Detector] | None:
    """The detector of that name, ``None`` for ``given``.

    Raises:
        UnknownName, WeightsMissing, ConfigurationError: as `open_models`.
    """
    if name is None:
        raise ConfigurationError(
            f"profile '{settings.profile}' has no detector of its own; set detector in annotator.toml to "
            "huggingface:FOLDER, yolo-face-person (AGPL-3.0), or given (only boxes that come with the images)"
        )
    if name == GIVEN:
        return None
    place = locate(name, "detector", settings)
    return _huggingface(place, settings) if place.family == "huggingface" else _yolo(place, settings)


def open_predictor(name: str, settings: Settings) -> Lazy[Predictor]:
    """The predictor of that name.

    Raises:
        UnknownName, WeightsMissing: as `open_models`.
    """
    if name in settings.chat:
        return _chat(name, settings.chat[name], settings)
    place = locate(name, "predictor", settings)
    return _mivolo(place, settings) if place.family == "mivolo" else _llava(place, settings)


@dataclass(frozen=True, slots=True)
class Place:
    """Weights on this machine: the model's name, how they are read, where they lie, what must be said of them."""

    name: str
    family: Family
    path: Path
    notice: str | None = None


def locate(name: str, kind: Kind, settings: Settings) -> Place:
    """Where the weights of a named model, or of ``FAMILY:PATH``, lie.

    Raises:
        UnknownName: neither a name nor a family.
        WeightsMissing: there is nothing at the place; says what to do.
    """
    family, colon, path = name.partition(":")
    if colon and family in (DETECTOR_FAMILIES if kind == "detector" else PREDICTOR_FAMILIES):
        own = settings.path(Path(path).expanduser())
        if not own.exists():
            raise WeightsMissing(f"there are no weights at {own} for {kind} '{name}'; check the path")
        return Place(own.stem, family, own)  # type: ignore[arg-type]  # it is one of Family's
    found = entry(name, kind)
    if name in DEMO_MODELS:
        return _shipped(found)
    folder = settings.path(settings.models_dir) / name
    weights = folder / found.weights if found.weights else folder
    if not weights.exists():
        raise WeightsMissing(f"the weights of '{name}' are not in {folder}; run `annotator models pull {name}`")
    return Place(name, found.family, weights)


def _shipped(found: Entry) -> Place:
    folder = weights_dir(found.name)
    if not folder.is_dir():
        raise WeightsMissing(f"the weights of '{found.name}' are missing from this installation; install it again")
    return Place(found.name, found.family, folder, DEMO_NOTICE)


def _huggingface(place: Place, settings: Settings) -> Lazy[Detector]:
    from annotator.detection.suppress import Thresholds

    def load() -> Detector:
        from annotator.detection.huggingface import HuggingFaceDetector

        return HuggingFaceDetector(place.path, name=place.name, device=settings.device, notice=place.notice)

    digest = weights_digest(place.path)
    version = f"{version_of(place.name, digest)}-{Thresholds().tag}"
    return Lazy(place.name, version, load, notice=place.notice, digest=digest)


def _yolo(place: Place, settings: Settings) -> Lazy[Detector]:
    from annotator.detection.suppress import Thresholds
    from annotator.detection.yolo import YoloDetector, yolo_version

    def load() -> Detector:
        return YoloDetector(
            place.path,
            name=place.name,
            trusted_sha256=settings.yolo_sha256,
            device=settings.device,
            notice=place.notice,
        )

    version = yolo_version(place.path, place.name, Thresholds())
    return Lazy(place.name, version, load, notice=place.notice, digest=weights_digest(place.path))


def _mivolo(place: Place, settings: Settings) -> Lazy[Predictor]:
    def load() -> Predictor:
        from annotator.predictors.mivolo.predictor import MiVOLOPredictor

        return MiVOLOPredictor(place.path, name=place.name, device=settings.device, notice=place.notice)

    half = "+float16" if _on_gpu(settings.device) else ""
    digest = weights_digest(place.path)
    return Lazy(place.name, version_of(place.name, digest) + half, load, notice=place.notice, digest=digest)


def _llava(place: Place, settings: Settings) -> Lazy[Predictor]:
    def load() -> Predictor:
        from annotator.predictors.llava.predictor import LlavaPredictor

        return LlavaPredictor(place.path, name=place.name, device=settings.device, notice=place.notice)

    digest = weights_digest(place.path)
    return Lazy(place.name, version_of(place.name, digest), load, notice=place.notice, digest=digest)


def _chat(name: str, endpoint: Endpoint, settings: Settings) -> Lazy[Predictor]:
    from annotator.predictors.chat.predictor import ChatPredictor

    model = ChatPredictor(name, endpoint, settings.path(settings.data_dir) / "answers" / f"{name}.db")
    return Lazy(name, model.version, lambda: model, notice=model.notice)


def _on_gpu(device: str) -> bool:
    """Whether a model would run on a GPU; without one in the machine this costs no import of torch."""
    if device == "cpu" or not (device.startswith("cuda") or Path("/dev/nvidiactl").exists()):
        return False
    import torch

    return bool(torch.cuda.is_available())
