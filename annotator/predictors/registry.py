"""Which detector and predictors a name stands for. Nothing is loaded before it is needed.

A name is one of the catalogue, one of the settings' ``[chat.NAME]`` endpoints, or ``FAMILY:PATH`` for weights of one's
own: ``mivolo:/models/mine.pth.tar``, ``llava:/models/mine``, ``huggingface:/models/finder``, ``yolo:/models/mine.pt``.
``[models.NAME]`` of the settings says how it is run, and may make a new name for the same weights. Detectors joined by
``+``, such as ``dfine-m+huggingface:/models/faces``, are one that finds what any of them does.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from annotator.demo import DEMO_MODELS, DEMO_NOTICE, weights_dir
from annotator.detection.base import Detector
from annotator.endpoint import Endpoint
from annotator.errors import ConfigurationError, UnknownName, WeightsInvalid, WeightsMissing
from annotator.model_options import ModelOptions
from annotator.predictors.base import Predictor
from annotator.predictors.catalogue import CATALOGUE, PROFILES, REMOTE, Entry, Family, Kind, entry
from annotator.predictors.versions import llava_suffix, mivolo_suffix
from annotator.predictors.weights import version_of, weights_digest
from annotator.settings import Settings

Model = TypeVar("Model", bound=Detector | Predictor)

GIVEN = "given"
"""The detector that detects nothing: only boxes that came with the images count."""

DETECTOR_FAMILIES = ("huggingface", "yolo")
PREDICTOR_FAMILIES = ("mivolo", "llava")

OPTIONS: dict[Family, frozenset[str]] = {
    "huggingface": frozenset({"batch_size"}),
    "yolo": frozenset({"batch_size"}),
    "mivolo": frozenset({"batch_size", "inputs", "crops", "dtype", "compiled"}),
    "llava": frozenset({"batch_size", "dtype", "answer", "template", "crop", "tree", "quantisation", "device_map"}),
}
"""Which options of ``[models.NAME]`` each family has, besides ``weights``."""


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
    profile = PROFILES[settings.profile]
    names = dict.fromkeys(settings.predictors or _predictors(settings))
    for name in names:
        check_predictor(name, settings)
    return ModelSet(
        settings.profile,
        open_detector(settings.detector or profile.detector, settings),
        tuple(open_predictor(name, settings) for name in names),
    )


def _predictors(settings: Settings) -> tuple[str, ...]:
    """Those of the profile."""
    profile = PROFILES[settings.profile]
    if profile.endpoints and not settings.chat:
        raise ConfigurationError(
            f"profile '{settings.profile}' asks a server: name it in annotator.toml, "
            '[chat.NAME] with base_url = "http://HOST/v1" and model = "..."'
        )
    return (*profile.predictors, *settings.chat) if profile.endpoints else profile.predictors


def check_predictor(name: str, settings: Settings) -> None:
    """Nothing where a predictor of that name could exist, whether its weights are here or not.

    Raises:
        UnknownName: it cannot.
    """
    target = model_options(name, settings).weights or name
    if target in settings.chat or target.partition(":")[0] in PREDICTOR_FAMILIES:
        return
    if target in REMOTE:
        raise ConfigurationError(
            f"predictor '{target}' is an endpoint: name it in annotator.toml, "
            f'[chat.{target}] with base_url = "https://HOST/v1" and model = "..."'
        )
    entry(target, "predictor")


def model_options(name: str, settings: Settings) -> ModelOptions:
    """How the model of that name is run: the catalogue's options, under the profile's, under ``[models.NAME]``."""
    own = settings.models.get(name, ModelOptions())
    target = own.weights or name
    options = CATALOGUE[target].options if target in CATALOGUE else ModelOptions()
    profile = PROFILES.get(settings.profile)
    if profile and name in profile.options:
        options = options.merged(profile.options[name])
    return options.merged(own)


def _check_options(name: str, family: Family, options: ModelOptions) -> None:
    unknown = options.model_fields_set - OPTIONS[family] - {"weights"}
    if unknown:
        raise ConfigurationError(
            f"[models.{name}] sets {', '.join(sorted(unknown))}, which {family} models do not have; they have "
            f"{', '.join(sorted(OPTIONS[family]))}"
        )


def open_detector(name: str | None, settings: Settings) -> Lazy[Detector] | None:
    """The detector of that name, ``None`` for ``given``.

    Raises:
        UnknownName, WeightsMissing, ConfigurationError: as `open_models`.
    """
    if name is None:
        raise ConfigurationError(
            f"profile '{settings.profile}' has no detector of its own; set detector in annotator.toml to "
            "dfine-m (people), dfine-m+huggingface:FACES, yolo-face-person (AGPL-3.0), or given (boxes of the images)"
        )
    if name == GIVEN:
        return None
    parts = name.split("+")
    if len(parts) > 1:
        return _combined([_detector(part, settings) for part in parts])
    return _detector(name, settings)


def _detector(name: str, settings: Settings) -> Lazy[Detector]:
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
    options: ModelOptions = field(default_factory=ModelOptions)


def locate(name: str, kind: Kind, settings: Settings) -> Place:
    """Where the weights of a named model, or of ``FAMILY:PATH``, lie.

    Raises:
        UnknownName: neither a name nor a family.
        WeightsMissing: there is nothing at the place; says what to do.
    """
    options = model_options(name, settings)
    place = _place(options.weights or name, kind, settings)
    _check_options(name, place.family, options)
    return replace(place, name=name if options.weights else place.name, options=options)


def _place(name: str, kind: Kind, settings: Settings) -> Place:
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
        raise WeightsMissing(f"the weights of '{name}' are not in {folder}; run {_get_command(found)}")
    return Place(name, found.family, weights)


def _get_command(found: Entry) -> str:
    command = f"`annotator models pull {found.name}`"
    if found.by_hand:
        return f"`annotator models pull {found.name} --from FILE` with {found.by_hand}"
    return f"{command}, without network `annotator models pull {found.name} --from FOLDER`"


def _shipped(found: Entry) -> Place:
    folder = weights_dir(found.name)
    if not folder.is_dir():
        raise WeightsMissing(f"the weights of '{found.name}' are missing from this installation; install it again")
    return Place(found.name, found.family, folder, DEMO_NOTICE)


def _huggingface(place: Place, settings: Settings) -> Lazy[Detector]:
    from annotator.detection.suppress import Thresholds

    def load() -> Detector:
        from annotator.detection.huggingface import HuggingFaceDetector

        return HuggingFaceDetector(
            place.path,
            name=place.name,
            device=settings.device,
            batch_size=place.options.batch_size or 8,
            notice=place.notice,
        )

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
            batch_size=place.options.batch_size or 8,
            notice=place.notice,
        )

    version = yolo_version(place.path, place.name, Thresholds())
    return Lazy(place.name, version, load, notice=place.notice, digest=weights_digest(place.path))


def _combined(parts: list[Lazy[Detector]]) -> Lazy[Detector]:
    from annotator.detection.combined import CombinedDetector, combined_version

    name = "+".join(part.name for part in parts)
    notice = " ".join(dict.fromkeys(part.notice for part in parts if part.notice)) or None

    def load() -> Detector:
        return CombinedDetector(name, [part.get() for part in parts])

    digest = hashlib.sha256("".join(str(part.digest) for part in parts).encode()).hexdigest()
    version = combined_version(name, [part.version for part in parts])
    return Lazy(name, version, load, notice=notice, digest=digest)


def _mivolo(place: Place, settings: Settings) -> Lazy[Predictor]:
    options = place.options

    def load() -> Predictor:
        from annotator.predictors.mivolo.predictor import MiVOLOPredictor

        return MiVOLOPredictor(
            place.path,
            name=place.name,
            device=settings.device,
            batch_size=options.batch_size,
            notice=place.notice,
            inputs=options.inputs,
            crops=options.crops,
            dtype=options.dtype,
            compiled=options.compiled,
        )

    suffix = mivolo_suffix(options.inputs, _arithmetic(options, settings, "float16"), options.crops)
    digest = weights_digest(place.path)
    return Lazy(place.name, version_of(place.name, digest) + suffix, load, notice=place.notice, digest=digest)


def _llava(place: Place, settings: Settings) -> Lazy[Predictor]:
    options = place.options
    template = options.template or "vicuna_v1"

    def load() -> Predictor:
        from annotator.predictors.llava.predictor import LlavaPredictor

        return LlavaPredictor(
            place.path,
            name=place.name,
            device=settings.device,
            dtype=options.dtype,
            batch_size=options.batch_size or 16,
            notice=place.notice,
            answer=options.answer,
            template=template,
            crop=options.crop,
            full_tree=options.tree == "full",
            quantisation=options.quantisation,
            device_map=options.device_map,
        )

    dtype = _arithmetic(options, settings, "bfloat16")
    suffix = llava_suffix(options.answer, template, options.crop, options.tree, dtype, options.quantisation)
    digest = weights_digest(place.path)
    return Lazy(place.name, version_of(place.name, digest) + suffix, load, notice=place.notice, digest=digest)


def _arithmetic(options: ModelOptions, settings: Settings, on_gpu: str) -> str:
    """The dtype that a predictor will choose."""
    if options.dtype != "auto":
        return options.dtype
    return on_gpu if _on_gpu(settings.device) else "float32"


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
