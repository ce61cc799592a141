"""A model by name, loaded when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from annotator.detection.base import Detector
from annotator.errors import WeightsInvalid
from annotator.predictors.base import Predictor

Model = TypeVar("Model", bound=Detector | Predictor)


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
