"""Reading distributions off the alternatives of single tokens."""

from __future__ import annotations

import math

import pytest

from annotator.predictors.chat.logprobs import TokenChoices, age_distribution, female_probability


def choices(text: str, **weights: float) -> TokenChoices:
    return TokenChoices(text, {key.strip("_"): math.log(value) for key, value in weights.items()})


def test_pieces_of_both_words_count() -> None:
    token = choices("f", f=0.5, fem=0.1, female=0.15, male=0.2, m=0.05)
    assert female_probability([choices("[", _=1.0), token]) == pytest.approx(0.75)


def test_no_gender_token_gives_nothing() -> None:
    assert female_probability([choices("Sorry", Sorry=0.9)]) is None


def test_digits_as_single_tokens_are_no_age_distribution() -> None:
    assert age_distribution([choices("3", _3=1.0), choices("1", _1=1.0)]) is None


def test_too_little_mass_is_not_used() -> None:
    assert age_distribution([choices("31", _31=0.5, _32=0.3), choices("]")]) is None


def test_moments_are_those_of_the_covered_part() -> None:
    found = age_distribution([choices("31", _30=0.25, _31=0.5, _32=0.2, _999=0.05), choices("]")])
    assert found is not None
    assert found.mass == pytest.approx(0.95)
    assert found.mean == pytest.approx((30 * 0.25 + 31 * 0.5 + 32 * 0.2) / 0.95)
    assert found.median == 31
