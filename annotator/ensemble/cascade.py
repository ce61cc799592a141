"""Asking the expensive predictor only where it is worth it; off unless a project asks for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotator.domain import Evidence, Fused, Truth
from annotator.ensemble.columns import LARGE_ERROR_YEARS
from annotator.ensemble.evidence import Floats
from annotator.ensemble.fitting import cross_fuse, with_truth
from annotator.ensemble.hashing import uniform_hash
from annotator.ensemble.scores import REVIEW_RATE, recall_at

PAIRED_RATE = 0.05
"""Share of the people that every predictor sees in any case: a fit lives on pairs that nobody selected."""


@dataclass(frozen=True, slots=True)
class CascadeReport:
    """What a cascade would have done on ``people`` with a truth.

    ``asked`` of them would have been shown to the expensive predictors; ``seconds_saved`` is model time over all of
    them; MAE in years and recall (of errors above 5 years at 20 % review) with everybody asked and with the cascade.
    """

    people: int
    asked: int
    seconds_saved: float
    mae_all: float
    mae_cascade: float
    recall_all: float
    recall_cascade: float


def whom_to_ask(cheap: Sequence[Fused], *, above: float, seed: int, paired_rate: float = PAIRED_RATE) -> list[bool]:
    """Whom the expensive predictors should see, in the order given.

    They are those whose expected error by the cheap predictors alone exceeds ``above`` years or who have no age yet,
    and a random ``paired_rate`` of the others, stable in every order and rerun.
    """
    draws = uniform_hash([person.person_id for person in cheap], seed)
    return [
        person.age is None or person.expected_error > above or draw < paired_rate
        for person, draw in zip(cheap, draws.tolist(), strict=True)
    ]


def only(people: Sequence[Evidence], predictors: Collection[str]) -> list[Evidence]:
    """The same people with these predictors' opinions alone."""
    return [
        replace(person, predictions=tuple(p for p in person.predictions if p.predictor in predictors))
        for person in people
    ]


def cascade_report(
    people: Sequence[Evidence],
    truth: Mapping[str, Truth],
    *,
    cheap: Collection[str],
    above: float,
    seconds: Mapping[str, float],
    seed: int,
    paired_rate: float = PAIRED_RATE,
) -> CascadeReport:
    """Play the cascade on people that all predictors saw and whose truth is known, everybody judged out of fold.

    Args:
        people: evidence of all predictors; those without a truth are left out.
        truth: by person id.
        cheap: names of the predictors that see everybody.
        above: expected error, in years, beyond which the others are asked.
        seconds: model time per person, by predictor; the expensive ones' counts as saved.
        seed: of the fits and of the random share.
        paired_rate: that share.

    Raises:
        InputError: there are too few people to fit on; see `fit`.
    """
    known = with_truth(people, truth)
    _, with_all = cross_fuse(known, truth, seed=seed)
    _, with_cheap = cross_fuse(only(known, cheap), truth, seed=seed)
    asked = whom_to_ask(with_cheap, above=above, seed=seed, paired_rate=paired_rate)
    mixed = [full if ask else some for full, some, ask in zip(with_all, with_cheap, asked, strict=True)]
    spared = len(known) - sum(asked)
    cost = sum(value for name, value in seconds.items() if name not in cheap)
    mae_all, recall_all = _quality(with_all, truth)
    mae_cascade, recall_cascade = _quality(mixed, truth)
    return CascadeReport(len(known), sum(asked), spared * cost, mae_all, mae_cascade, recall_all, recall_cascade)


def _quality(fused: Sequence[Fused], truth: Mapping[str, Truth]) -> tuple[float, float]:
    said, age, expected = (
        np.array(column, dtype=np.float64)
        for column in (
            [one.age for one in fused],
            [truth[one.person_id].age for one in fused],
            [one.expected_error for one in fused],
        )
    )
    error: Floats = np.abs(said - age)
    known = np.isfinite(error)
    large = error[known] > LARGE_ERROR_YEARS
    return float(error[known].mean()), recall_at(expected[known], large, REVIEW_RATE)
