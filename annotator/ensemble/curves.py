"""Smooth functions of the predicted age, learned by kernel averages and shrunk to a prior where data are thin."""

from __future__ import annotations

import numpy as np

from annotator.ensemble.evidence import Bools, Floats

KNOTS: Floats = np.arange(0.0, 101.0, 5.0)
"""Ages, in years, at which a curve has a value; linear between, constant beyond."""

BANDWIDTH = 5.0
"""Standard deviation, in years, of the Gaussian kernel."""

PRIOR_PEOPLE = 20.0
"""How many people the prior counts as: below this many near a knot, the prior has more say than the data."""


def learn_curve(ages: Floats, values: Floats, prior: Floats | float) -> Floats:
    """``(21,)`` local means of ``values`` over the predicted ages, at `KNOTS`.

    ``c(k) = (sum_i K((a_i - k) / h) v_i + m prior(k)) / (sum_i K + m)``: a Nadaraya-Watson mean with ``m``
    pseudo-people at the prior, so that without data the curve is the prior.

    Args:
        ages: ``(n,)`` predicted ages in years, finite.
        values: ``(n,)`` what to average, finite.
        prior: one value, or ``(21,)``.
    """
    kernel = np.exp(-0.5 * ((KNOTS[:, None] - ages[None, :]) / BANDWIDTH) ** 2)
    curve: Floats = (kernel @ values + PRIOR_PEOPLE * np.asarray(prior)) / (kernel.sum(axis=1) + PRIOR_PEOPLE)
    return curve


def at(curve: Floats, ages: Floats) -> Floats:
    """The curve at these ages; NaN stays NaN."""
    return np.interp(ages, KNOTS, curve)


def learn_pair(ages: Floats, values: Floats, second: Bools, prior: float, second_factor: float = 1.0) -> Floats:
    """``(2, 21)``: one curve for those with ``second`` 0 and one for 1, each shrunk to the curve of both together.

    Args:
        ages: ``(n,)`` predicted ages in years.
        values: ``(n,)`` what to average.
        second: ``(n,)`` bool: who belongs to the second curve.
        prior: value of the pooled curve without data.
        second_factor: how many times the pooled curve the second curve's prior is.
    """
    both = learn_curve(ages, values, (values.sum() + PRIOR_PEOPLE * prior) / (len(values) + PRIOR_PEOPLE))
    return np.stack(
        [
            learn_curve(ages[~second], values[~second], both),
            learn_curve(ages[second], values[second], both * second_factor),
        ]
    )


def at_pair(pair: Floats, ages: Floats, second: Bools) -> Floats:
    """Each person's value from the curve that the person belongs to."""
    return np.where(second, at(pair[1], ages), at(pair[0], ages))
