"""Whether intervals hold what they promise."""

from __future__ import annotations

from dataclasses import dataclass

ALARM_COVERAGE = 0.87
ALARM_PEOPLE = 500
"""With 500 people a true coverage of 90 % falls below 87 % in one week of eighty."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of ``people`` with a truth lay inside their 90 % interval."""

    people: int
    covered: int

    @property
    def rate(self) -> float | None:
        """The share, ``None`` without people."""
        return self.covered / self.people if self.people else None

    @property
    def alarm(self) -> bool:
        """Whether the intervals no longer hold what they promise: below 87 % on at least 500 people."""
        return self.people >= ALARM_PEOPLE and self.covered < ALARM_COVERAGE * self.people
