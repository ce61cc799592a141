"""Five-year groups of the true age."""

from __future__ import annotations

import numpy as np

from annotator.evaluation.metrics import Floats, Ints

GROUP_YEARS = 5


def age_groups(true: Floats) -> Ints:
    """Number of each person's group, ``(n,)``: 0 for ages in [0, 5), 1 for [5, 10) and so on; -1 where missing.

    Examples:
        >>> age_groups(np.array([0.0, 4.9, 5.0, 87.0, np.nan])).tolist()
        [0, 0, 1, 17, -1]
    """
    return np.where(np.isnan(true), -1, np.nan_to_num(true) // GROUP_YEARS).astype(np.int64)


def group_name(group: int) -> str:
    """``"20-24"`` for group 4.

    Examples:
        >>> group_name(4)
        '20-24'
    """
    return f"{group * GROUP_YEARS}-{group * GROUP_YEARS + GROUP_YEARS - 1}"
