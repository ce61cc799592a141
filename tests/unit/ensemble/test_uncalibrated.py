"""Fusion without truth: the Student posterior against scipy, and what raises the expected error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from annotator.domain import Evidence, Fused, Gender, Prediction, PredictionStatus, ReviewReason
from annotator.ensemble.fusion import fuse
from annotator.ensemble.published import CORRELATION, published_error
from annotator.ensemble.scores import recall_at


def said(predictor: str, age: float | None, female: float | None = 0.99, status: str = "ok", **more: Any) -> Prediction:
    return Prediction(predictor, "1", PredictionStatus(status), age, female_probability=female, **more)


def person(*predictions: Prediction, **more: Any) -> Evidence:
    return Evidence("p", "g", predictions, **({"face_height": 100.0, "body_height": 300.0} | more))


def one(*predictions: Prediction, **more: Any) -> Fused:
    (result,) = fuse([person(*predictions, **more)])
    return result


def test_two_predictors_that_agree_follow_the_student_posterior() -> None:
    result = one(said("mivolo", 30.0), said("sharegpt4v", 30.0))
    sds = np.array([1.25 * 3.65, 1.25 * 3.52])
    sigma = np.outer(sds, sds) * np.array([[1, CORRELATION], [CORRELATION, 1]])
    variance = 1 / np.linalg.inv(sigma).sum()
    posterior = stats.t(df=5, scale=np.sqrt(variance * 4 / 5))
    assert result.fit == "uncalibrated"
    assert result.age == pytest.approx(30.0)
    assert (result.age_low, result.age_high) == pytest.approx((30 + posterior.ppf(0.05), 30 + posterior.ppf(0.95)))
    assert result.age_sd == pytest.approx(posterior.std())
    mean_absolute, _ = integrate.quad(lambda e: 2 * e * posterior.pdf(e), 0, np.inf)
    assert result.expected_error == pytest.approx(mean_absolute, rel=1e-6)
    assert result.large_error_probability == pytest.approx(2 * posterior.sf(5))


def test_disagreement_own_spread_and_a_missing_face_raise_the_expected_error() -> None:
    calm = one(said("mivolo", 30.0), said("sharegpt4v", 31.0, age_sd=3.0))
    apart = one(said("mivolo", 30.0), said("sharegpt4v", 45.0, age_sd=3.0))
    unsure = one(said("mivolo", 30.0), said("sharegpt4v", 31.0, age_sd=12.0))
    faceless = one(said("mivolo", 30.0), said("sharegpt4v", 31.0, age_sd=3.0), face_height=None)
    for worse in (apart, unsure, faceless):
        assert worse.expected_error > calm.expected_error
        assert worse.large_error_probability > calm.large_error_probability
    assert calm.reasons == ()
    assert ReviewReason.AGE_DISAGREEMENT in apart.reasons
    assert ReviewReason.NO_FACE in faceless.reasons


@pytest.mark.parametrize("status", ["refused", "no_evidence", "invalid", "failed"])
def test_a_predictor_without_a_usable_answer_drops_out(status: str) -> None:
    alone, beside = one(said("mivolo", 30.0)), one(said("mivolo", 30.0), said("sharegpt4v", 70.0, status=status))
    assert (beside.age, beside.age_low, beside.female_probability) == (
        alone.age,
        alone.age_low,
        alone.female_probability,
    )
    assert (ReviewReason.REFUSED in beside.reasons) == (status in ("refused", "invalid"))


def test_nobody_answered() -> None:
    result = one(said("mivolo", None, None, "refused"))
    assert (result.age, result.age_low, result.age_high, result.female_probability, result.gender) == (None,) * 5
    assert result.large_error_probability == 1.0
    assert result.reasons == (ReviewReason.REFUSED,)
    assert fuse([Evidence("p", "g", ())])[0].age is None
    assert fuse([]) == []


def test_age_without_gender_and_gender_without_age() -> None:
    assert one(said("mivolo", 30.0, None)).gender is None
    result = one(said("mivolo", None, 0.99))
    assert (result.age, result.gender) == (None, Gender.FEMALE)


def test_genders_are_combined_by_log_odds() -> None:
    agree, differ = one(said("a", 30.0, 0.9), said("b", 30.0, 0.9)), one(said("a", 30.0, 0.9), said("b", 30.0, 0.1))
    assert agree.female_probability == pytest.approx(1 / (1 + np.exp(-2 * np.log(9) / 1.5)))
    assert differ.female_probability == pytest.approx(0.5)
    assert {ReviewReason.GENDER_DISAGREEMENT, ReviewReason.LOW_CONFIDENCE} <= set(differ.reasons)


def test_reasons_of_the_crop() -> None:
    small = one(said("mivolo", 30.0), face_height=12.0)
    far = one(said("mivolo", 30.0), face_height=None, body_height=40.0)
    crowded = one(said("mivolo", 30.0), overlap=0.8)
    assert small.reasons == (ReviewReason.SMALL_CROP,)
    assert set(far.reasons) >= {ReviewReason.NO_FACE, ReviewReason.SMALL_CROP}
    assert crowded.reasons == (ReviewReason.OVERLAP,)


def test_a_table_without_boxes_says_nothing_about_faces() -> None:
    assert one(said("mivolo", 30.0), face_height=None, body_height=None).reasons == ()


def test_a_guessing_language_model_is_low_confidence() -> None:
    assert one(said("sharegpt4v", 30.0, format_probability=0.2)).reasons == (ReviewReason.LOW_CONFIDENCE,)


def test_ages_stay_between_zero_and_the_oldest() -> None:
    young, old = one(said("mivolo", 0.5)), one(said("mivolo", 129.0))
    assert young.age_low == 0.0
    assert old.age_high == 130.0


def test_demo_weights_have_no_published_error() -> None:
    assert published_error("demo-mivolo") == published_error("somebody-elses")
    assert published_error("mivolo").mae == 3.65


def test_orders_better_than_chance_without_any_truth(held_out: Any) -> None:
    fused = fuse(held_out.people)
    error = np.array([abs(one.age - truth) for one, truth in zip(fused, held_out.age, strict=True)])
    expected = np.array([one.expected_error for one in fused])
    assert recall_at(expected, error > 5, 0.2) > 0.3
    assert {one.fit for one in fused} == {"uncalibrated"}


def test_people_are_independent_of_each_other(held_out: Any) -> None:
    some = held_out.people[:50]
    assert fuse(some) == [fuse([person])[0] for person in some]
    assert fuse(some[::-1]) == fuse(some)[::-1]
