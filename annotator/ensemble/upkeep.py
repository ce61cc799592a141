"""Keeping a fit true: when to fit again, whether the new fit may replace the last, and an alarm for drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotator.domain import Evidence, Fused, Gender, Truth
from annotator.ensemble.conformal import CONFIDENCE
from annotator.ensemble.evidence import Bools, Floats
from annotator.ensemble.fitting import MIN_AGES, cross_fuse, with_truth
from annotator.ensemble.fusion import fuse
from annotator.ensemble.hashing import short_hashes
from annotator.ensemble.model import Fit

REFIT_GROWTH = 0.2
REFIT_PEOPLE = 50
"""Fit again when the people with a truth grew by this share and by this many."""

WORSE_SDS = 1.645
"""A loss is worse when its mean paired difference is this many standard errors above 0 (one-sided, 5 %)."""


@dataclass(frozen=True, slots=True)
class Change:
    """A loss of the new fit and of the last on the same people, and the standard error of the mean difference."""

    loss: str
    new: float
    last: float
    standard_error: float

    @property
    def is_worse(self) -> bool:
        """Whether the new fit is worse by more than chance explains."""
        return self.new - self.last > WORSE_SDS * self.standard_error + 1e-12


@dataclass(frozen=True, slots=True)
class Succession:
    """Which fit counts from now on (``fit``; ``None``: published errors do), which was tried, and why, in words."""

    fit: Fit | None
    candidate: Fit
    accepted: bool
    changes: tuple[Change, ...]
    people: int
    why: str


def reason_to_refit(last: Fit | None, ages: int, predictors: Mapping[str, str]) -> str | None:
    """Why to fit again, in words; ``None`` where the last fit still serves.

    Args:
        last: the fit in use.
        ages: people with a true age and a prediction by now.
        predictors: versions in use, by name.
    """
    if ages < MIN_AGES:
        return None
    if last is None:
        return f"there is no fit yet and {ages} people have a true age"
    if dict(last.predictors) != dict(predictors):
        return "the predictors or their versions changed"
    if ages - last.ages >= max(REFIT_PEOPLE, REFIT_GROWTH * last.ages):
        return f"{ages} people have a true age, {last.ages} had one at the last fit"
    return None


def refit(last: Fit | None, people: Sequence[Evidence], truth: Mapping[str, Truth], *, seed: int) -> Succession:
    """Fit again, and keep the last fit where the new one is worse by more than chance explains.

    Where there is no last fit for these predictors, the published errors stand in for it: a fit on few people may be
    worse than they are. Both are judged on people whom the last fit did not see, the new one out of fold; where these
    are fewer than `MIN_AGES`, on everybody, which favours the last. Compared are the absolute age error, the interval
    score (Gneiting and Raftery 2007: width plus 20 times the distance by which the truth is missed) and the gender's
    log loss.

    Raises:
        InputError: there are too few people to fit on; see `fit`.
    """
    known = with_truth(people, truth)
    candidate, new = cross_fuse(known, truth, seed=seed)
    fitting = last if last and dict(last.predictors) == dict(candidate.predictors) else None
    rows = _judges(fitting, known, truth) if fitting else list(range(len(known)))
    old = fuse([known[row] for row in rows], fitting)
    changes = compare([new[row] for row in rows], old, truth)
    worse = [change for change in changes if change.is_worse]
    before = "the last fit" if fitting else "the published errors"
    why = f"no loss is worse than by {before}" if not worse else f"worse than {before}: {', '.join(map(_words, worse))}"
    return Succession(last if worse else candidate, candidate, not worse, changes, len(rows), why)


def compare(new: Sequence[Fused], last: Sequence[Fused], truth: Mapping[str, Truth]) -> tuple[Change, ...]:
    """Paired losses of two opinions on the same people in the same order; those without data are left out."""
    changes = []
    losses = zip(_losses(new, truth).items(), _losses(last, truth).values(), strict=True)
    for (name, ours), theirs in losses:
        both = np.isfinite(ours) & np.isfinite(theirs)
        if both.sum() >= 2:
            gap = (ours - theirs)[both]
            error = float(gap.std(ddof=1) / np.sqrt(len(gap)))
            changes.append(Change(name, float(ours[both].mean()), float(theirs[both].mean()), error))
    return tuple(changes)


def _judges(last: Fit, known: Sequence[Evidence], truth: Mapping[str, Truth]) -> list[int]:
    fresh: Bools = ~np.isin(short_hashes([person.person_id for person in known]), last.seen)
    aged = np.array([truth[person.person_id].age is not None for person in known], dtype=bool)
    rows = fresh if (fresh & aged).sum() >= MIN_AGES else np.ones(len(known), dtype=bool)
    return np.flatnonzero(rows).tolist()


def _losses(fused: Sequence[Fused], truth: Mapping[str, Truth]) -> dict[str, Floats]:
    """``(n,)`` losses by name, NaN where there is no truth or no opinion."""
    age = np.array([truth.get(one.person_id, Truth()).age for one in fused], dtype=np.float64)
    said = np.array([one.age for one in fused], dtype=np.float64)
    female = np.array([one.female_probability for one in fused], dtype=np.float64)
    gender = [truth.get(one.person_id, Truth()).gender for one in fused]
    is_female = np.array([one is Gender.FEMALE for one in gender], dtype=bool)
    unknown = np.array([one is None for one in gender], dtype=bool)
    right = np.where(unknown, np.nan, np.where(is_female, female, 1 - female))
    log_loss: Floats = -np.log(np.clip(right, 1e-12, 1))
    return {
        "age error": np.abs(said - age),
        "interval score": _interval_scores(fused, truth),
        "gender log loss": log_loss,
    }


def _interval_scores(fused: Sequence[Fused], truth: Mapping[str, Truth]) -> Floats:
    """``(n,)`` in years, NaN where the truth or the interval is missing."""
    age = np.array([truth.get(one.person_id, Truth()).age for one in fused], dtype=np.float64)
    low = np.array([one.age_low for one in fused], dtype=np.float64)
    high = np.array([one.age_high for one in fused], dtype=np.float64)
    missed: Floats = np.clip(low - age, 0, None) + np.clip(age - high, 0, None)
    return high - low + 2 / (1 - CONFIDENCE) * missed


def _words(change: Change) -> str:
    return f"{change.loss} {change.new:.3f} after {change.last:.3f}"
