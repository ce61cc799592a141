"""Calibration learned from people with a known truth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fit:
    """One calibration of the ensemble; ``version`` names it in every pre-label."""

    version: str
