"""Triage: shares, order, the audit and the reasons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator.domain import Fused, ReviewReason
from annotator.ensemble.hashing import short_hashes, uniform_hash
from annotator.ensemble.verdicts import triage


def fused(name: str, error: float, female: float | None = 1.0, *reasons: ReviewReason) -> Fused:
    return Fused(name, 30.0, 4.0, 24.0, 36.0, female, error, 0.2, reasons, "uncalibrated")


def people(count: int) -> list[Fused]:
    return [fused(f"p{number}", float(number % 7)) for number in range(count)]


def test_the_top_share_goes_to_review_in_order_of_priority() -> None:
    verdicts = triage(people(100), review_rate=0.2, audit_rate=0.0, seed=0)
    reviewed = [one.priority for one in verdicts if one.review]
    assert len(reviewed) == 20
    assert min(reviewed) >= max(one.priority for one in verdicts if not one.review)


def test_priority_adds_the_chance_of_a_wrong_gender() -> None:
    sure, torn, unknown = triage(
        [fused("a", 3.0, 1.0), fused("b", 3.0, 0.3), fused("c", 3.0, None)],
        review_rate=0,
        audit_rate=0,
        seed=0,
        gender_weight=10,
    )
    assert (sure.priority, torn.priority, unknown.priority) == pytest.approx((3.0, 6.0, 8.0))


def test_a_target_error_replaces_the_share() -> None:
    verdicts = triage(people(70), review_rate=1.0, audit_rate=0.0, seed=0, target_error=4.5)
    assert [one.review for one in verdicts] == [one.fused.expected_error > 4.5 for one in verdicts]


def test_nobody_without_an_age_is_accepted_unseen() -> None:
    nothing = Fused("z", None, None, None, None, None, 25.0, 1.0, (ReviewReason.REFUSED,), "uncalibrated")
    verdicts = triage([*people(10), nothing], review_rate=0.0, audit_rate=0.0, seed=0)
    assert [one.review for one in verdicts] == [False] * 10 + [True]


def test_the_audit_is_a_random_share_of_the_unflagged() -> None:
    verdicts = triage(people(20_000), review_rate=0.2, audit_rate=0.02, seed=3)
    audited = [one for one in verdicts if ReviewReason.AUDIT in one.reasons]
    assert len(audited) == pytest.approx(320, abs=4 * np.sqrt(320))
    assert all(one.review and one.reasons == (ReviewReason.AUDIT,) for one in audited)
    assert sum(one.review for one in verdicts) == 4000 + len(audited)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_order_does_not_matter(random: object) -> None:
    group = people(60)
    shuffled = list(group)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    arguments = {"review_rate": 0.3, "audit_rate": 0.2, "seed": 1}
    first = {one.fused.person_id: one for one in triage(group, **arguments)}
    second = {one.fused.person_id: one for one in triage(shuffled, **arguments)}
    assert first == second


def test_another_seed_audits_others() -> None:
    chosen = [
        {one.fused.person_id for one in triage(people(2000), review_rate=0, audit_rate=0.05, seed=seed) if one.review}
        for seed in (1, 2)
    ]
    assert chosen[0] != chosen[1]


def test_reasons_are_given_for_the_reviewed_alone() -> None:
    verdicts = triage(
        [fused("a", 9.0, 1.0, ReviewReason.NO_FACE), fused("b", 8.0), fused("c", 1.0, 1.0, ReviewReason.OVERLAP)],
        review_rate=2 / 3,
        audit_rate=0,
        seed=0,
    )
    assert [one.reasons for one in verdicts] == [(ReviewReason.NO_FACE,), (ReviewReason.LOW_CONFIDENCE,), ()]


def test_nobody() -> None:
    assert triage([], review_rate=0.2, audit_rate=0.02, seed=0) == []


def test_hashes_are_uniform_and_the_same_everywhere() -> None:
    draws = uniform_hash([str(number) for number in range(20_000)], 5)
    assert np.histogram(draws, bins=10, range=(0, 1))[0] == pytest.approx(2000, abs=200)
    assert uniform_hash(["a"], 0)[0] == pytest.approx(0.8979224548477975)
    assert len(np.unique(short_hashes([str(number) for number in range(1000)]))) == 1000
