"""The job that retrains: each predictor that learns here, on what was settled since it last did."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from annotator.errors import AnnotatorError, ConfigurationError
from annotator.pipeline.retrain import NotYet, Plan, retrain
from annotator.predictors.places import locate
from annotator.predictors.registry import predictor_names
from annotator.settings import Settings
from annotator.store.session import Store

log = logging.getLogger(__name__)


class Stopped(AnnotatorError):
    """The training was stopped; it is gone on with when it is taken up again."""


class Listener:
    """Logs what a training says, and ends it where it is not wanted any more."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def begin(self, what: str, total: int | None = None) -> None:
        """A new stretch of work."""
        self.note(what if total is None else f"{what}: {total:,}")

    def step(self, count: int = 1, people: int = 0) -> None:
        """Some steps are done."""
        self._check()

    def note(self, text: str) -> None:
        """Something worth a line."""
        log.info("%s", text)
        self._check()

    def _check(self) -> None:
        if self._stopped():
            raise Stopped("the training was stopped")


def retrain_all(store: Store, settings: Settings, stopped: Callable[[], bool]) -> dict[str, Any]:
    """Retrain every predictor that learns here; counts, and a line on each.

    Raises:
        ConfigurationError: there is none that can.
        Stopped: ``stopped`` said so.
    """
    counts: dict[str, Any] = {"promoted": 0, "refused": 0, "skipped": 0}
    for name in learners(settings):
        recipe = settings.retrain_recipes.get(locate(name, "predictor", settings).family)
        plan = Plan(name, recipe=recipe, device=settings.device)
        try:
            found = retrain(store, settings, plan, Listener(stopped))
        except NotYet as error:
            counts["skipped"] += 1
            counts[name] = str(error)
            continue
        counts["promoted" if found.accepted else "refused"] += 1
        before, after = found.before["mae"], found.scores["mae"]
        counts[name] = f"{found.name} is {found.why} (MAE {after:.2f}, before {before:.2f}, {found.people} people)"
    return counts


def learners(settings: Settings) -> list[str]:
    """The predictors that are retrained: those that the settings name, or the project's MiVOLO models.

    Raises:
        ConfigurationError: there is none.
    """
    if settings.retrain_predictors:
        return settings.retrain_predictors
    local = [name for name in predictor_names(settings) if name not in settings.chat]
    found = [name for name in local if locate(name, "predictor", settings).family == "mivolo"]
    if not found:
        raise ConfigurationError("this project has no MiVOLO model; set retrain_predictors to what shall be retrained")
    return found
