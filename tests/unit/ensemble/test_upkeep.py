"""Refits, drift, the review curve and the cascade."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from annotator.domain import Fused, Gender, Truth
from annotator.ensemble import upkeep
from annotator.ensemble.cascade import cascade_report, only, whom_to_ask
from annotator.ensemble.coverage import Coverage
from annotator.ensemble.fitting import fit
from annotator.ensemble.fusion import fuse
from annotator.ensemble.model import Fit
from annotator.ensemble.review_curve import review_curve, share_interval
from annotator.ensemble.upkeep import compare, reason_to_refit, refit
from annotator.ensemble.verdicts import triage


def test_a_refit_waits_for_enough_new_truth(fitted: Fit) -> None:
    same = dict(fitted.predictors)
    assert reason_to_refit(None, 49, same) is None
    assert reason_to_refit(None, 50, same) == "there is no fit yet and 50 people have a true age"
    assert reason_to_refit(fitted, 2999, same) is None
    assert reason_to_refit(fitted, 3000, same) == "3000 people have a true age, 2500 had one at the last fit"
    assert reason_to_refit(fitted, 2500, same | {"mivolo-384": "new"}) == "the predictors or their versions changed"


def test_a_first_fit_has_to_match_the_published_errors(known: Any) -> None:
    little = refit(None, known.people[:300], known.truth, seed=0)  # in this world the published errors are right
    assert not little.accepted
    assert little.fit is None
    assert little.why.startswith("worse than the published errors: age error ")
    enough = refit(None, known.people, known.truth, seed=0)
    assert enough.fit is enough.candidate
    assert enough.why == "no loss is worse than by the published errors"


def test_a_fit_for_other_predictors_is_no_rival(known: Any, fitted: Fit) -> None:
    fewer = refit(fitted, only(known.people, {"mivolo-384"}), known.truth, seed=0)
    assert fewer.accepted
    assert fewer.people == len(known.people)
    assert fewer.why == "no loss is worse than by the published errors"


def test_more_truth_replaces_a_fit_on_little(known: Any) -> None:
    small = fit(known.people[:80], known.truth, seed=0)
    outcome = refit(small, known.people[:1200], known.truth, seed=0)
    assert outcome.accepted
    assert outcome.fit is outcome.candidate
    assert 1100 < outcome.people <= 1120  # those that the last fit had not seen
    assert {change.loss for change in outcome.changes} == {"age error", "interval score", "gender log loss"}


def test_a_worse_fit_does_not_replace_the_last(
    known: Any, fitted: Fit, monkeypatch: pytest.MonkeyPatch, held_out: Any
) -> None:
    def shifted(people: Any, truth: Any, *, seed: int) -> tuple[Fit, list[Fused]]:
        bad = [replace(one, age=one.age + 9, age_low=one.age_low + 9) for one in fuse(people, fitted)]
        return replace(fitted, version="bad"), bad

    monkeypatch.setattr(upkeep, "cross_fuse", shifted)
    outcome = refit(fitted, held_out.people[:200], held_out.truth, seed=0)
    assert outcome.fit is fitted
    assert not outcome.accepted
    assert outcome.why.startswith("worse than the last fit: age error ")


def test_compare_counts_misses_twentyfold_and_leaves_out_what_is_unknown() -> None:
    def opinion(name: str, age: float | None, low: float, high: float) -> Fused:
        return Fused(name, age, 1.0, low, high, 0.8, 3.0, 0.1, (), "x")

    truth = {"a": Truth(30.0, Gender.MALE), "b": Truth(40.0), "c": Truth()}
    new = [opinion("a", 30, 25, 35), opinion("b", 45, 41, 50), opinion("c", 9, 1, 20)]
    by_name = {change.loss: change for change in compare(new, new, truth)}
    assert by_name["age error"].new == pytest.approx(2.5)
    assert by_name["interval score"].new == pytest.approx((10 + 9 + 20 * 1) / 2)
    assert "gender log loss" not in by_name  # one person is not a sample
    assert not any(change.is_worse for change in by_name.values())


@pytest.mark.parametrize(("people", "covered", "alarm"), [(500, 434, True), (500, 435, False), (499, 0, False)])
def test_drift_alarm(people: int, covered: int, alarm: bool) -> None:
    assert Coverage(people, covered).alarm is alarm


def test_share_interval_is_exact() -> None:
    oracle = stats.binomtest(30, 70).proportion_ci(0.95, "exact")
    assert share_interval(30, 70) == pytest.approx((oracle.low, oracle.high))
    assert share_interval(70, 70)[1] == 1.0


def test_curve_measured_on_some_holds_for_all(crossed: tuple[Fit, list[Fused]], fitted: Fit, held_out: Any) -> None:
    verdicts = triage(fuse(held_out.people, fitted), review_rate=0.2, audit_rate=0.02, seed=0)
    some = {person.person_id: held_out.truth[person.person_id] for person in held_out.people[:2000]}
    part = review_curve(verdicts, some, seed=0)
    whole = review_curve(verdicts, held_out.truth, seed=0)
    assert part.measured
    assert part.people == 2000
    for point, true in zip(part.points, whole.points, strict=True):
        assert point.low is not None
        assert point.high is not None
        assert point.low - 0.02 <= true.caught <= point.high + 0.02
    caught = [point.caught for point in whole.points]
    assert caught == sorted(caught)
    assert caught[2] > 0.4


def test_curve_without_truth_is_expected_and_claims_no_interval(held_out: Any) -> None:
    verdicts = triage(fuse(held_out.people), review_rate=0.2, audit_rate=0.02, seed=0)
    curve = review_curve(verdicts, {}, seed=0, rates=(1.0, 0.2))
    assert not curve.measured
    assert [point.rate for point in curve.points] == [0.2, 1.0]
    assert curve.points[1].caught == pytest.approx(1.0)
    assert curve.points[0].low is None
    assert curve.large == pytest.approx(sum(one.fused.large_error_probability for one in verdicts))


def test_cascade_asks_about_the_uncertain_and_a_random_few(held_out: Any) -> None:
    cheap = fuse(only(held_out.people, {"mivolo-384"}))
    asked = whom_to_ask(cheap, above=1e9, seed=0, paired_rate=0.1)
    assert np.mean(asked) == pytest.approx(0.1, abs=0.02)
    some = whom_to_ask(cheap, above=4.0, seed=0, paired_rate=0.0)
    assert some == [one.expected_error > 4.0 for one in cheap]
    assert all(whom_to_ask([replace(cheap[0], age=None)], above=1e9, seed=0, paired_rate=0.0))


def test_cascade_report_shows_the_price(known: Any) -> None:
    people = known.people[:800]
    seconds = {"mivolo-384": 0.01, "sharegpt4v-7b": 0.5}
    arguments = {"cheap": {"mivolo-384"}, "seconds": seconds, "seed": 0}
    nobody = cascade_report(people, known.truth, above=1e9, paired_rate=0.0, **arguments)
    everybody = cascade_report(people, known.truth, above=0.0, **arguments)
    half = cascade_report(people, known.truth, above=3.6, **arguments)
    assert (nobody.asked, everybody.asked) == (0, 800)
    assert nobody.seconds_saved == pytest.approx(400.0)
    assert everybody.seconds_saved == 0.0
    assert everybody.mae_cascade == everybody.mae_all
    assert 100 < half.asked < 700
    assert everybody.mae_all < half.mae_cascade < nobody.mae_cascade
