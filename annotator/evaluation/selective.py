"""How well a doubt score finds the errors: selective prediction and intervals (science.md section 1).

``doubt`` is ``(n,)``, higher is more doubtful; ``loss`` is ``(n,)``, such as ``|e|`` in years. People with equal doubt
count as in random order: every figure is the expectation over it, so that the order of the rows never matters.
"""

from __future__ import annotations

import numpy as np

from annotator.errors import InputError
from annotator.evaluation.metrics import CS_SLACK, Floats, mean, same_shape

LARGE_ERROR_YEARS = 5.0


def _check(doubt: Floats, loss: Floats) -> None:
    same_shape(doubt, loss)
    if len(doubt) == 0 or np.isnan(doubt).any() or np.isnan(loss).any():
        raise InputError("doubt and loss must be given for at least one person, and for each of them")


def _kept_loss(doubt: Floats, loss: Floats) -> Floats:
    """``(n + 1,)`` expected sum of losses of the ``k`` least doubtful people, for ``k`` = 0 to ``n``."""
    order = np.argsort(doubt, kind="stable")
    total = np.concatenate(([0.0], np.cumsum(loss[order])))
    ends = np.flatnonzero(np.diff(doubt[order], append=np.inf) > 0) + 1
    ends = np.concatenate(([0], ends)) if ends[-1] == len(loss) else np.concatenate(([0], ends, [len(loss)]))
    return np.interp(np.arange(len(loss) + 1), ends, total[ends])


def _kept_people(n: int, rate: float) -> int:
    if not 0 <= rate <= 1:
        raise InputError(f"expected a review rate from 0 to 1, got {rate}")
    return n - round(n * rate)


def large_error_recall(doubt: Floats, error: Floats, rate: float = 0.2, limit: float = LARGE_ERROR_YEARS) -> float:
    """Share of the people with ``|error| > limit`` years among the ``rate`` most doubtful; NaN where there are none.

    Raises:
        InputError: shapes differ, a value is missing, or the rate is not in [0, 1].

    Examples:
        >>> large_error_recall(np.array([9.0, 1.0, 2.0, 3.0, 8.0]), np.array([7.0, 1.0, 6.0, 0.0, 2.0]), rate=0.4)
        0.5
    """
    _check(doubt, error)
    large = (np.abs(error) > limit + CS_SLACK).astype(np.float64)
    if not large.any():
        return float("nan")
    return float(1 - _kept_loss(doubt, large)[_kept_people(len(doubt), rate)] / large.sum())


def kept_error(doubt: Floats, loss: Floats, rate: float = 0.2) -> float:
    """Mean loss of the people that are left when the ``rate`` most doubtful are reviewed; NaN where nobody is left.

    Raises:
        InputError: shapes differ, a value is missing, or the rate is not in [0, 1].

    Examples:
        >>> kept_error(np.array([9.0, 1.0, 2.0, 3.0, 8.0]), np.array([7.0, 1.0, 6.0, 2.0, 2.0]), rate=0.4)
        3.0
    """
    _check(doubt, loss)
    kept = _kept_people(len(doubt), rate)
    return float(_kept_loss(doubt, loss)[kept] / kept) if kept else float("nan")


def aurc(doubt: Floats, loss: Floats) -> float:
    """Area under the risk-coverage curve: ``1/n sum_k (mean loss of the k least doubtful)``.

    Raises:
        InputError: shapes differ or a value is missing.

    Examples:
        >>> aurc(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
        1.0
    """
    _check(doubt, loss)
    n = len(loss)
    return float(np.mean(_kept_loss(doubt, loss)[1:] / np.arange(1, n + 1)))


def augrc(doubt: Floats, loss: Floats) -> float:
    """Area under the generalised risk-coverage curve, the average undetected loss (arXiv 2407.01032).

    The generalised risk at coverage ``k / n`` is ``1/n sum`` of the losses of the ``k`` least doubtful; the area is
    taken by trapezoids. For 0/1 losses with failure rate ``f`` it is ``(1 - AUROC) f (1 - f) + f^2 / 2``.

    Raises:
        InputError: shapes differ or a value is missing.

    Examples:
        >>> augrc(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
        0.125
    """
    _check(doubt, loss)
    n = len(loss)
    return float(np.trapezoid(_kept_loss(doubt, loss) / n, dx=1 / n))


def interval_coverage(low: Floats, high: Floats, true: Floats) -> float:
    """Share of people whose true age lies in ``[low, high]``; NaN triples are left out.

    Raises:
        InputError: the shapes differ or are not one-dimensional.

    Examples:
        >>> interval_coverage(np.array([20.0, 30.0]), np.array([25.0, 35.0]), np.array([25.0, 36.0]))
        0.5
    """
    same_shape(low, true)
    same_shape(high, true)
    missing = np.isnan(low) | np.isnan(high) | np.isnan(true)
    return mean(np.where(missing, np.nan, (low <= true) & (true <= high)))


def interval_width(low: Floats, high: Floats) -> float:
    """Mean of ``high - low`` in years; NaN pairs are left out.

    Raises:
        InputError: the shapes differ or are not one-dimensional.

    Examples:
        >>> interval_width(np.array([20.0, 30.0]), np.array([25.0, 45.0]))
        10.0
    """
    same_shape(low, high)
    return mean(high - low)
