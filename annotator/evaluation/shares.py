"""Intervals of shares in closed form: a share near 0 or 1 resamples to itself, and shows less doubt than there is."""

from __future__ import annotations

import numpy as np
from scipy import stats

from annotator.evaluation.resampling import LEVEL

NORMAL = float(stats.norm.ppf((1 + LEVEL) / 2))


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % score interval of a share of ``n`` independent people (Wilson, "Probable inference", 1927).

    Examples:
        >>> low, high = wilson(0.98, 100)
        >>> round(low, 4), round(high, 4)
        (0.93, 0.9945)
    """
    spread = NORMAL * NORMAL / n
    centre = (share + spread / 2) / (1 + spread)
    reach = NORMAL / (1 + spread) * float(np.sqrt(share * (1 - share) / n + spread / (4 * n)))
    return max(0.0, min(centre - reach, share)), min(1.0, max(centre + reach, share))


def paired_shares(lost: float, won: float, n: float) -> tuple[float, float, float]:
    """Bounds and two-sided p of ``(lost - won) / n``, a difference of two shares among the same ``n`` people.

    ``lost`` people are wrong in the first predictor only, ``won`` in the second only (Bonett and Price, "Adjusted Wald
    confidence interval for a difference of binomial proportions based on paired data", 2012).

    Examples:
        >>> low, high, p = paired_shares(0, 6, 100)
        >>> round(low, 4), round(high, 4), p < 0.05
        (-0.112, -0.0057, True)
    """
    first, second = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    centre = first - second
    error = float(np.sqrt((first + second - centre**2) / (n + 2)))
    p = 2 * float(stats.norm.sf(abs(centre) / error))
    return max(-1.0, centre - NORMAL * error), min(1.0, centre + NORMAL * error), p
