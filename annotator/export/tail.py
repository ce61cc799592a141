"""The old are few: how often training should draw each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from annotator.evaluation.groups import GROUP_YEARS

TAIL_AGE = 70
"""Older people than this are the tail."""

MOST_REPEATS = 5.0
"""Nobody is drawn more often than this: a handful of people is learnt by heart instead."""


@dataclass(frozen=True, slots=True)
class TailWeights:
    """Sampling weights by age: 1 up to 70, above it what brings a five-year group to the usual size, at most 5.

    >>> weights = TailWeights.of([(30, 40), (45, 60), (72, 10), (90, 1)])
    >>> weights.weight(30), weights.weight(72), weights.weight(90)
    (1.0, 5.0, 5.0)
    """

    by_group: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, ages: Iterable[tuple[int, int]]) -> TailWeights:
        """From ``(age, people)``; the usual size is the median of the groups up to 70 years."""
        sizes: dict[int, int] = {}
        for age, people in ages:
            if age >= 0:
                sizes[age // GROUP_YEARS] = sizes.get(age // GROUP_YEARS, 0) + people
        first = TAIL_AGE // GROUP_YEARS
        usual = median([size for group, size in sizes.items() if group < first] or [0])
        tail = {group: size for group, size in sizes.items() if group >= first}
        return cls({group: min(MOST_REPEATS, max(1.0, usual / size)) for group, size in tail.items()})

    def weight(self, age: int) -> float:
        """How often to draw somebody of that age."""
        return self.by_group.get(age // GROUP_YEARS, 1.0) if age > TAIL_AGE else 1.0
