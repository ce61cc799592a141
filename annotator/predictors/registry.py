"""Which detector and predictors a name stands for. Nothing is loaded before it is needed.

A name is one of the catalogue, one of the settings' ``[chat.NAME]`` endpoints, or ``FAMILY:PATH`` for weights of one's
own: ``mivolo:/models/mine.pth.tar``, ``llava:/models/mine``, ``huggingface:/models/finder``, ``yunet:/models/f.onnx``,
``yolo:/models/mine.pt``. ``[models.NAME]`` of the settings says how it is run, and may make a new name for the same
weights. Detectors joined by ``+``, such as ``dfine-m+yunet``, are one that finds what any of them does.
"""

from __future__ import annotations

from dataclasses import dataclass

from annotator.detection.base import Detector
from annotator.errors import ConfigurationError, UnknownName
from annotator.predictors.base import Predictor
from annotator.predictors.builders import build_chat, build_detector, build_predictor, combine
from annotator.predictors.catalogue import PROFILES, REMOTE, entry
from annotator.predictors.lazy import Lazy
from annotator.predictors.places import PREDICTOR_FAMILIES, locate, model_options
from annotator.predictors.trained import in_use
from annotator.settings import Settings

GIVEN = "given"
"""The detector that detects nothing: only boxes that came with the images count."""


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

    A trained model that was promoted to the place of one of these predictors is opened instead of it.

    Raises:
        UnknownName: a profile, detector or predictor is not known.
        WeightsMissing: weights are not on this machine; names the command that gets them.
        ConfigurationError: the profile has no detector of its own and the settings name none.
    """
    if settings.profile not in PROFILES:
        raise UnknownName("profile", settings.profile, list(PROFILES))
    profile = PROFILES[settings.profile]
    names = dict.fromkeys(in_use(predictor_names(settings), settings))
    for name in names:
        check_predictor(name, settings)
    return ModelSet(
        settings.profile,
        open_detector(settings.detector or profile.detector, settings),
        tuple(open_predictor(name, settings) for name in names),
    )


def predictor_names(settings: Settings) -> list[str]:
    """The project's predictors by the names that the settings or the profile give, whether or not they were replaced.

    Raises:
        ConfigurationError: the profile asks endpoints and the settings name none.
    """
    return list(settings.predictors or _predictors(settings))


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


def open_detector(name: str, settings: Settings) -> Lazy[Detector] | None:
    """The detector of that name, ``None`` for ``given``.

    Raises:
        UnknownName, WeightsMissing, ConfigurationError: as `open_models`.
    """
    if name == GIVEN:
        return None
    parts = [build_detector(locate(part, "detector", settings), settings) for part in name.split("+")]
    return parts[0] if len(parts) == 1 else combine(parts)


def open_predictor(name: str, settings: Settings) -> Lazy[Predictor]:
    """The predictor of that name.

    Raises:
        UnknownName, WeightsMissing: as `open_models`.
    """
    if name in settings.chat:
        return build_chat(name, settings.chat[name], settings)
    return build_predictor(locate(name, "predictor", settings), settings)
