"""Which detector and predictors a name stands for. Nothing is loaded before it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from annotator.detection.base import Detector
from annotator.predictors.base import Predictor

Model = TypeVar("Model", bound=Detector | Predictor)


class Lazy(Generic[Model]):
    """A model by name whose ``version`` is known before its weights are in memory; loaded once, on first use."""

    def __init__(self, name: str, version: str, load: Callable[[], Model], notice: str | None = None) -> None:
        self.name, self.version, self.notice = name, version, notice
        self._load = load
        self._loaded: Model | None = None
        self._lock = threading.Lock()

    def get(self) -> Model:
        """The model, loaded by the first caller while others wait.

        Raises:
            WeightsMissing, WeightsInvalid: it cannot be loaded.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded


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
