"""The same predictors shown different inputs: one variant each, with the weights in memory once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from annotator.errors import UnknownName
from annotator.model_options import ModelOptions
from annotator.predictors.base import Predictor
from annotator.predictors.catalogue import PROFILES
from annotator.predictors.lazy import Lazy
from annotator.predictors.places import locate
from annotator.predictors.registry import check_predictor, open_predictor
from annotator.settings import Settings

Inputs = Literal["body+face", "body", "face", "no-face"]
Crops = Literal["dataset", "inference"]
Answer = Literal["greedy", "median"]


@dataclass(frozen=True, slots=True)
class Spec:
    """A variant without its model: the predictor's name, the inputs asked for, and whether it runs elsewhere."""

    name: str
    inputs: Inputs
    remote: bool


@dataclass(frozen=True, slots=True)
class Variant:
    """A predictor with the inputs that were asked for, and what it then ``sees``.

    A multimodal model sees one picture: asked for body and face it sees the whole body. MiVOLO's body crop never shows
    the person's own face, so its ``no-face`` is its ``body``, under one version.
    """

    name: str
    inputs: Inputs
    sees: Inputs
    model: Lazy[Predictor]
    remote: bool = False

    @property
    def spec(self) -> Spec:
        """The variant without its model."""
        return Spec(self.name, self.inputs, self.remote)


def open_variants(
    names: Sequence[str], inputs: Sequence[str], settings: Settings, *, crops: Crops, answer: Answer | None = None
) -> list[Variant]:
    """Each predictor with each kind of input, in that order; nothing is loaded yet.

    ``crops`` is the rule of MiVOLO's crops, ``answer`` which estimate a multimodal model's age is (``None``: as set).

    Raises:
        UnknownName: a predictor or a kind of input is not known.
        WeightsMissing, ConfigurationError: as `open_predictor`.
    """
    variants = []
    for name in dict.fromkeys(names):
        check_predictor(name, settings)
        opener = _Opener(name, settings, crops, answer)
        variants += [opener.open(check_inputs(one)) for one in dict.fromkeys(inputs)]
    return variants


def check_inputs(name: str) -> Inputs:
    """``name`` as `Inputs`.

    Raises:
        UnknownName: it is none.
    """
    if name not in get_args(Inputs):
        raise UnknownName("inputs", name, get_args(Inputs))
    return cast("Inputs", name)


def usual_predictors(settings: Settings) -> tuple[str, ...]:
    """Those that the settings name, else the profile's with the endpoints that it asks."""
    if settings.predictors:
        return tuple(settings.predictors)
    if settings.profile not in PROFILES:
        raise UnknownName("profile", settings.profile, list(PROFILES))
    profile = PROFILES[settings.profile]
    return (*profile.predictors, *settings.chat) if profile.endpoints else profile.predictors


class _Opener:
    """Variants of one predictor; the first that is loaded lends its weights to the others."""

    def __init__(self, name: str, settings: Settings, crops: Crops, answer: Answer | None) -> None:
        self._name, self._settings, self._crops, self._answer = name, settings, crops, answer
        self._remote = name in settings.chat
        self._family = "chat" if self._remote else locate(name, "predictor", settings).family
        self._first: Lazy[Predictor] | None = None

    def open(self, inputs: Inputs) -> Variant:
        """The variant with these inputs."""
        if self._family == "mivolo":
            return Variant(self._name, inputs, inputs, self._mivolo(inputs))
        sees: Inputs = "body" if inputs == "body+face" else inputs
        return Variant(self._name, inputs, sees, self._chat(sees) if self._remote else self._llava(sees), self._remote)

    def _mivolo(self, inputs: Inputs) -> Lazy[Predictor]:
        shown = "body" if inputs == "no-face" else inputs
        lazy = self._with_options(ModelOptions(inputs=shown, crops=self._crops))
        return self._sharing(lazy, lambda model: model.showing(shown, self._crops))

    def _llava(self, sees: Inputs) -> Lazy[Predictor]:
        options = ModelOptions(crop=cast("Any", sees))
        if self._answer is not None:
            options = options.merged(ModelOptions(answer=self._answer))
        return self._sharing(self._with_options(options), lambda model: model.showing(sees))

    def _chat(self, sees: Inputs) -> Lazy[Predictor]:
        endpoint = self._settings.chat[self._name].model_copy(update={"crop": sees})
        chat = {**self._settings.chat, self._name: endpoint}
        return open_predictor(self._name, self._settings.model_copy(update={"chat": chat}))

    def _with_options(self, options: ModelOptions) -> Lazy[Predictor]:
        own = self._settings.models.get(self._name, ModelOptions()).merged(options)
        models = {**self._settings.models, self._name: own}
        return open_predictor(self._name, self._settings.model_copy(update={"models": models}))

    def _sharing(self, lazy: Lazy[Predictor], show: Callable[[Any], Predictor]) -> Lazy[Predictor]:
        """``lazy`` itself the first time, later the first one's model shown other crops."""
        if self._first is None:
            self._first = lazy
            return lazy
        first = self._first
        return Lazy(lazy.name, lazy.version, lambda: show(first.get()), notice=lazy.notice, digest=lazy.digest)
