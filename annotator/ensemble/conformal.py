"""Third stage of a fit: intervals that hold what they promise, by normalised Mondrian split conformal prediction.

Vovk, Gammerman, Shafer 2005; Bostrom's `crepes` computes the same numbers and is the oracle of our tests. A fit keeps
one number per age group, where `crepes` keeps every residual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.ensemble.evidence import Floats

CONFIDENCE = 0.9
GROUP_YEARS = 5.0
GROUP_PEOPLE = 400
"""Neighbouring age groups are merged until each has this many: coverage then varies by 1.5 points (one sd)."""

POOL_PEOPLE = 400
"""How many people the pooled quantile counts as in each group's. The scores are already relative to the expected error,
so that groups differ little; in simulations this takes a fifth off the scatter of the groups' coverage."""

SURVIVAL_POINTS = 201


@dataclass(frozen=True, slots=True)
class Conformal:
    """Scores are ``|error| / expected error``.

    Group ``g`` holds predicted ages in ``[edges[g - 1], edges[g])`` (``edges`` is ``(g - 1,)``, years), ``quantiles``
    its ``(g,)`` 90 % score, shrunk to everybody's. ``scores`` are ``(201,)`` evenly spaced quantiles of all scores: the
    shape of the error.
    """

    edges: Floats
    quantiles: Floats
    scores: Floats

    @property
    def sd_per_error(self) -> float:
        """Standard deviation of an error over its expected absolute value."""
        return float(np.sqrt(np.mean(self.scores**2)))

    def half_width(self, age: Floats, expected: Floats) -> Floats:
        """``(n,)`` half of the 90 % interval in years."""
        half: Floats = self.quantiles[np.searchsorted(self.edges, age, side="right")] * expected
        return half

    def probability_above(self, years: float, expected: Floats) -> Floats:
        """``(n,)``: P(|error| > years), from how the scores are distributed."""
        above: Floats = 1 - np.interp(years / expected, self.scores, np.linspace(0, 1, len(self.scores)))
        return above


def learn_conformal(age: Floats, error: Floats, expected: Floats) -> Conformal:
    """Calibrate on out-of-fold errors.

    Args:
        age: ``(n,)`` predicted ages in years.
        error: ``(n,)`` prediction minus truth.
        expected: ``(n,)`` expected absolute errors, from models that did not see the person.
    """
    scores = np.abs(error) / expected
    edges = age_groups(age)
    group = np.searchsorted(edges, age, side="right")
    pool = conformal_quantile(scores)
    members = [scores[group == g] for g in range(len(edges) + 1)]
    quantiles = np.array(
        [(len(own) * conformal_quantile(own) + POOL_PEOPLE * pool) / (len(own) + POOL_PEOPLE) for own in members]
    )
    return Conformal(edges, quantiles, np.quantile(scores, np.linspace(0, 1, SURVIVAL_POINTS)))


def conformal_quantile(scores: Floats, confidence: float = CONFIDENCE) -> float:
    """The ``ceil((n + 1) confidence)``-th smallest score; the largest where there are too few.

    >>> conformal_quantile(np.arange(1.0, 20.0))
    18.0
    """
    rank = int(np.ceil((len(scores) + 1) * confidence - 1e-9))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def age_groups(age: Floats, people: int = GROUP_PEOPLE) -> Floats:
    """Inner edges, in years, of groups made of whole 5-year bins with at least ``people`` each (one group if fewer)."""
    bins = np.arange(GROUP_YEARS, 101.0, GROUP_YEARS)
    counts = np.bincount(np.searchsorted(bins, age, side="right"), minlength=len(bins) + 1)
    edges, held = [], 0
    for count, edge in zip(counts.tolist(), bins.tolist(), strict=False):
        held += count
        if held >= people and counts[int(edge // GROUP_YEARS) :].sum() >= people:
            edges.append(edge)
            held = 0
    return np.array(edges, dtype=np.float64)
