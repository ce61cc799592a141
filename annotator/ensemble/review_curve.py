"""What review would catch, before anybody is paid for it: review x %, catch y % of the errors above 5 years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from annotator.domain import PreLabel, Truth
from annotator.ensemble.columns import LARGE_ERROR_YEARS
from annotator.ensemble.evidence import Floats
from annotator.ensemble.hashing import uniform_hash
from annotator.ensemble.verdicts import top_share

RATES = (0.05, 0.1, 0.2, 0.3, 0.5)
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Reviewing ``rate`` of the people catches ``caught`` of the large errors; ``low``..``high`` is a 95 % interval.

    All are shares in [0, 1]. The bounds are ``None`` where no truth is known.
    """

    rate: float
    caught: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ReviewCurve:
    """Points in order of the rate.

    Measured on ``people`` with a truth, ``large`` of whom err by more than 5 years; or, where ``measured`` is false,
    expected from each person's P(|error| > 5), with ``large`` the expected number among all ``people``.
    """

    points: tuple[CurvePoint, ...]
    people: int
    large: float
    measured: bool


def review_curve(
    verdicts: Sequence[PreLabel], truth: Mapping[str, Truth], *, seed: int, rates: Sequence[float] = RATES
) -> ReviewCurve:
    """Measure the curve on the people with a known age, or, where none of them errs much, expect it.

    The people are ranked among everybody; those with a truth should be drawn at random, and be judged by a fit that did
    not see them (`cross_fuse`). The interval is Clopper and Pearson's, exact for a share.

    Args:
        verdicts: everybody.
        truth: by person id, for some.
        seed: the triage's own, which breaks ties as it did there.
        rates: shares of the people to review.
    """
    priority = np.array([one.priority for one in verdicts], dtype=np.float64)
    ties = uniform_hash([one.fused.person_id for one in verdicts], seed)
    ages = [truth.get(one.fused.person_id, Truth()).age for one in verdicts]
    error = np.abs(np.array([one.fused.age for one in verdicts], dtype=np.float64) - np.array(ages, dtype=np.float64))
    large = error > LARGE_ERROR_YEARS
    measured = bool(large.any())
    chance = large.astype(float) if measured else _chances(verdicts)
    points = tuple(_point(rate, chance, top_share(priority, rate, ties), measured=measured) for rate in sorted(rates))
    people = int(np.isfinite(error).sum()) if measured else len(verdicts)
    return ReviewCurve(points, people, float(chance.sum()), measured)


def share_interval(hits: float, count: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share.

    >>> tuple(round(bound, 3) for bound in share_interval(0, 10))
    (0.0, 0.308)
    """
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(hits, count - hits + 1, tail)) if hits > 0 else 0.0
    high = float(special.betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return low, high


def _point(rate: float, chance: Floats, chosen: np.ndarray, *, measured: bool) -> CurvePoint:
    total, hits = float(chance.sum()), float(chance[chosen].sum())
    if not measured:
        return CurvePoint(rate, hits / total if total else 0.0, None, None)
    return CurvePoint(rate, hits / total, *share_interval(hits, total))


def _chances(verdicts: Sequence[PreLabel]) -> Floats:
    return np.array([one.fused.large_error_probability for one in verdicts], dtype=np.float64)
