"""Distributions from the ``top_logprobs`` of one chat answer.

A server returns, for each token of its answer, the likeliest alternatives. Where the age is one token (GPT-4o writes
numbers up to 999 so), the alternatives at its place are a truncated age distribution; where digits are single tokens
they are not, and only the gender can be read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annotator.domain import MAX_AGE

MIN_MASS = 0.9
"""An age distribution that covers less than this is not used: its tails are unknown."""


@dataclass(frozen=True, slots=True)
class TokenChoices:
    """One token of the answer and the log probabilities of the alternatives at its place (itself among them)."""

    text: str
    alternatives: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AgeDistribution:
    """Mean, median and sd in years of the covered part; ``mass`` is the covered probability."""

    mean: float
    median: float
    sd: float
    mass: float


def female_probability(tokens: Sequence[TokenChoices]) -> float | None:
    """P(female) at the first token that begins a gender; ``None`` where none does.

    Every alternative that is a beginning of one of the two words counts for it.

    >>> female_probability([TokenChoices("[", {}), TokenChoices("male", {"male": math.log(.2), "fem": math.log(.6)})])
    0.75
    """
    for token in tokens:
        if _begins(token.text, "male") or _begins(token.text, "female"):
            female = sum(math.exp(value) for text, value in token.alternatives.items() if _begins(text, "female"))
            male = sum(math.exp(value) for text, value in token.alternatives.items() if _begins(text, "male"))
            return round(female / (female + male), 9) if female + male > 0 else None
    return None


def age_distribution(tokens: Sequence[TokenChoices]) -> AgeDistribution | None:
    """The age distribution where the answer's number is one token; ``None`` otherwise, or if too little is covered."""
    for position, token in enumerate(tokens):
        if not token.text.strip().isdecimal():
            continue
        if position + 1 < len(tokens) and re.match(r"\d", tokens[position + 1].text):
            return None
        return _summary(token.alternatives)
    return None


def _summary(alternatives: Mapping[str, float]) -> AgeDistribution | None:
    weights: dict[int, float] = {}
    for text, value in alternatives.items():
        number = text.strip()
        if number.isdecimal() and int(number) <= MAX_AGE:
            weights[int(number)] = weights.get(int(number), 0.0) + math.exp(value)
    mass = sum(weights.values())
    if mass < MIN_MASS:
        return None
    mean = sum(age * weight for age, weight in weights.items()) / mass
    variance = sum(weight * (age - mean) ** 2 for age, weight in weights.items()) / mass
    return AgeDistribution(mean, _median(weights, mass), math.sqrt(variance), min(mass, 1.0))


def _median(weights: Mapping[int, float], mass: float) -> float:
    below = 0.0
    for age in sorted(weights):
        below += weights[age]
        if below >= mass / 2:
            return float(age)
    return float(max(weights))


def _begins(text: str, word: str) -> bool:
    piece = text.strip().lower().lstrip("['\"")
    return bool(piece) and word.startswith(piece)
