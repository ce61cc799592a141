"""``python -m tests.helpers.fake_cli ARGUMENTS``: the command line with stand-in models in place of real weights.

``FAKE_SECONDS`` is how long a prediction takes, ``FAKE_VERSION`` the predictors' version.
"""

from __future__ import annotations

import os
import time
from typing import Any

from annotator.cli import main
from annotator.predictors import registry
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from tests.helpers.models import MeanPredictor, model_set


def open_fakes(settings: Settings) -> ModelSet:
    """Stand-ins for every profile; names of predictors are checked as ever."""
    for name in settings.predictors or ():
        registry.check_predictor(name, settings)
    version, seconds = os.environ.get("FAKE_VERSION", "1"), float(os.environ.get("FAKE_SECONDS", "0"))
    mean, other = MeanPredictor(version=version), MeanPredictor("other", version=version, shift=8.0)
    mean.before = lambda: time.sleep(seconds)
    return model_set(mean, other)


def install(patch: Any = setattr) -> None:
    """Put the stand-ins in place."""
    patch(registry, "open_models", open_fakes)


if __name__ == "__main__":
    install()
    main()
