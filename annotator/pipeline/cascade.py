"""The cascade: predictors after the first see only people whom the first is not expected to judge well.

It is off unless ``cascade_error`` is set. What a fit learns from is never left to it: everybody in the audit's draw,
everybody whose truth was given, and a random share beside are shown to all predictors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import Evidence, Fused
from annotator.ensemble.cascade import PAIRED_RATE, only, whom_to_ask
from annotator.ensemble.codec import fit_from_dict
from annotator.ensemble.fusion import fuse
from annotator.ensemble.model import Fit
from annotator.ensemble.published import UNCALIBRATED
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import FitRow, MetaRow
from annotator.store.upsert import upsert

FIRST_FIT = "cascade:fit"
"""Key of the ``meta`` row that names the calibration of the first predictor alone."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """Who is shown to the predictors after ``first``: people expected to err by more than ``above`` years by it alone.

    ``fit`` calibrates the first predictor alone (``None``: by published errors). ``paired_rate`` is the random share
    that everybody sees in any case; the audit's draw is part of it, since both are the same draw.
    """

    first: str
    above: float
    paired_rate: float
    seed: int
    fit: Fit | None

    @property
    def parts(self) -> dict[str, object]:
        """What a pre-label depends on, for the ensemble's version."""
        fit = self.fit.version if self.fit else UNCALIBRATED
        return {"first": self.first, "above": self.above, "paired": self.paired_rate, "seed": self.seed, "fit": fit}

    def asks(self, people: Sequence[Evidence]) -> list[bool]:
        """Who goes on to the other predictors, in the order given; everybody has the first one's opinion."""
        alone = fuse(only(people, {self.first}), self.fit)
        return whom_to_ask(alone, above=self.above, seed=self.seed, paired_rate=self.paired_rate)

    def fuse(self, people: Sequence[Evidence], fit: Fit | None) -> list[Fused]:
        """Everybody's fused opinion: by ``fit``, or by the first predictor's own where nobody else was asked."""
        alone = [all(one.predictor == self.first for one in person.predictions) for person in people]
        by_first = iter(fuse([person for person, yes in zip(people, alone, strict=True) if yes], self.fit))
        by_all = iter(fuse([person for person, yes in zip(people, alone, strict=True) if not yes], fit))
        return [next(by_first if yes else by_all) for yes in alone]


def cascade_in_force(store: Store, settings: Settings, models: ModelSet) -> Cascade | None:
    """The cascade that the settings ask for; ``None`` where they do not, or where there is one predictor only."""
    if settings.cascade_error is None or len(models.predictors) < 2:
        return None
    first = models.predictors[0]
    with store.read() as session:
        fit = first_fit(session)
    usable = fit if fit and dict(fit.predictors) == {first.name: first.version} else None
    rate = max(PAIRED_RATE, settings.audit_rate)
    return Cascade(first.name, settings.cascade_error, rate, settings.seed, usable)


def first_fit(session: Session) -> Fit | None:
    """The calibration of a first predictor alone that counts, of whatever version."""
    version = session.scalar(select(MetaRow.value).where(MetaRow.key == FIRST_FIT))
    parameters = session.scalar(select(FitRow.parameters).where(FitRow.version == version)) if version else None
    return fit_from_dict(parameters) if parameters else None


def keep_first_fit(session: Session, version: str) -> None:
    """From now on this calibration counts for the first predictor alone."""
    upsert(session, MetaRow, [{"key": FIRST_FIT, "value": version}], keys=("key",))
