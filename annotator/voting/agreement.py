"""How far annotators, or predictors, agree on ages: ICC(2,k) and Bland-Altman limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from annotator.errors import InputError
from annotator.voting.sums import AgeVotes
from annotator.voting.tables import Floats, VoteTable


@dataclass(frozen=True, slots=True)
class Agreement:
    """Variance components of the votes in years squared, and the intraclass correlations that follow.

    ``icc1`` is the reliability of one vote, ``icck`` that of the mean of ``k`` votes, with ``k`` the harmonic mean of
    the votes per person.
    """

    person_variance: float
    annotator_variance: float
    error_variance: float
    k: float
    icc1: float
    icck: float


def intraclass_correlation(votes: VoteTable) -> Agreement:
    """ICC(2,1) and ICC(2,k): absolute agreement of random annotators on random people (Shrout and Fleiss 1979).

    ``ICC(2,k) = p / (p + (a + e) / k)`` with the variances ``p`` of people, ``a`` of annotators and ``e`` of errors.
    These come from Henderson's first method, which takes any pattern of who voted on whom and equals the analysis of
    variance where everybody voted on everybody. Negative estimates count as zero.

    Raises:
        InputError: no person has two age votes, or there are fewer than two people or annotators with votes.
    """
    ages = AgeVotes.of(votes, None)
    per_person = ages.count.astype(np.float64)
    per_annotator = ages.by_annotator(np.ones(len(ages.age)))
    people, annotators, n = int(np.sum(per_person > 0)), int(np.sum(per_annotator > 0)), len(ages.age)
    if people < 2 or annotators < 2 or n <= people or n <= annotators:
        raise InputError("agreement needs two people and two annotators, and people with more than one age vote")
    centred = ages.age - ages.age.mean()
    total = float(centred @ centred)
    by_person = _squares(ages.by_person(centred), per_person)
    by_annotator = _squares(ages.by_annotator(centred), per_annotator)
    within_person = (total - by_person) / (n - people)  # a + e
    within_annotator = (total - by_annotator) / (n - annotators)  # p + e
    k1, k2 = float(per_person @ per_person) / n, float(per_annotator @ per_annotator) / n
    # by_person = (n - k1) p + (people - k2) a + (people - 1) e, with p and a replaced by the two lines above
    spare = (n - k1) * within_annotator + (people - k2) * within_person - by_person
    error = spare / (n - k1 + people - k2 - (people - 1))
    person, annotator = max(within_annotator - error, 0.0), max(within_person - error, 0.0)
    k = people / float(np.sum(1 / per_person[per_person > 0]))
    noise = annotator + max(error, 0.0)
    return Agreement(person, annotator, max(error, 0.0), k, _ratio(person, noise), _ratio(person, noise / k))


def _squares(sums: Floats, count: Floats) -> float:
    some = count > 0
    return float(np.sum(np.square(sums[some]) / count[some]))


def _ratio(signal: float, noise: float) -> float:
    return signal / (signal + noise) if signal + noise > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Mean difference of two measurements in years with its 95 % interval, and the 95 % limits of agreement."""

    n: int
    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    upper: float


def bland_altman(first: Floats, second: Floats) -> BlandAltman:
    """Bland and Altman's limits of agreement, ``bias +- 1.96 sd`` of ``first - second``.

    Args:
        first: ages in years, ``(n,)``; pairs with a NaN are left out.
        second: ages of the same people, ``(n,)``.

    Raises:
        InputError: the shapes differ, or fewer than two pairs are complete.

    Examples:
        >>> result = bland_altman(np.array([30.0, 41.0, 52.0]), np.array([29.0, 41.0, 50.0]))
        >>> result.n, result.bias, result.sd
        (3, 1.0, 1.0)
    """
    if first.shape != second.shape:
        raise InputError(f"expected as many first as second ages, got {first.shape} and {second.shape}")
    difference = first - second
    difference = difference[~np.isnan(difference)]
    n = len(difference)
    if n < 2:
        raise InputError(f"limits of agreement need two pairs of ages, got {n}")
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / n**0.5
    return BlandAltman(n, bias, bias - half, bias + half, sd, bias - 1.96 * sd, bias + 1.96 * sd)
