"""Loss weights from the smoothed density of ages (LDS; Yang et al., arXiv 2102.09554)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

KERNEL_SIGMA = 2.0
"""Years: the standard deviation of the Gaussian that smooths the counts of ages."""

LIMIT = 5.0
"""No weight is larger, and none is smaller than its inverse."""


def density_weights(ages: NDArray[np.float64], sigma: float = KERNEL_SIGMA) -> NDArray[np.float64]:
    """``(131,)``: the weight of the age loss at each whole age, mean 1 over ``ages`` (NaN is left out).

    ``w(y) = c / sqrt(density(y))`` with the density smoothed over neighbouring ages, as far as within `LIMIT`.

    >>> weights = density_weights(np.array([20.0] * 90 + [60.0] * 10))
    >>> bool(weights[60] > weights[20])
    True
    """
    known = np.clip(np.rint(ages[~np.isnan(ages)]), 0, 130).astype(np.int64)
    if not len(known):
        return np.ones(131)
    counts = np.bincount(known, minlength=131).astype(np.float64)
    smooth = np.maximum(gaussian_filter1d(counts, sigma, mode="constant"), 1e-3)
    weights = 1.0 / np.sqrt(smooth)
    weights = np.clip(weights / weights[known].mean(), 1.0 / LIMIT, LIMIT)
    scaled: NDArray[np.float64] = weights / weights[known].mean()
    return scaled
