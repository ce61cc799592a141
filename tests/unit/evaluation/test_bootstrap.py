"""Bootstrap intervals: coverage by simulation, agreement with SciPy, pairing."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy import stats

from annotator.errors import InputError
from annotator.evaluation.bootstrap import bootstrap_mean, bootstrap_means, paired_bootstrap


@pytest.mark.parametrize("n", [15, 60, 250])
def test_intervals_cover_the_true_mean_in_93_to_97_percent(n: int) -> None:
    """Absolute normal errors, as ages have; 1,500 samples of n people each, as columns."""
    random = np.random.default_rng(n)
    true_mae = 5 * math.sqrt(2 / math.pi)
    covered = []
    for seed in range(3):
        intervals = bootstrap_means(np.abs(random.normal(0, 5, (n, 500))), seed=seed)
        covered += [interval.low <= true_mae <= interval.high for interval in intervals]
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("n", [60, 200, 1000])
@pytest.mark.parametrize("share", [0.75, 0.9, 0.98])
def test_intervals_of_shares_cover_the_truth(n: int, share: float) -> None:
    """Exactly: the probability of all counts of hits whose interval holds the true share."""
    covered = 0.0
    for hits in range(n + 1):
        interval = bootstrap_mean((np.arange(n) < hits).astype(np.float64), resamples=1)
        covered += stats.binom.pmf(hits, n, share) * (interval.low <= share <= interval.high)
    assert 0.93 <= covered <= 0.97


def test_shares_equal_scipys_wilson_interval() -> None:
    for hits, n in ((0, 5), (5, 5), (1, 1), (98, 100), (70, 200)):
        ours = bootstrap_mean((np.arange(n) < hits).astype(np.float64))
        theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_the_interval_agrees_with_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(4, 400)
    ours = bootstrap_mean(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_the_seed_decides_and_row_chunks_do_not_change_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(50, 2))
    assert bootstrap_means(values, seed=1) == bootstrap_means(values, seed=1)
    assert bootstrap_means(values, seed=1) != bootstrap_means(values, seed=2)
    whole = bootstrap_means(values, seed=1)
    monkeypatch.setattr("annotator.evaluation.bootstrap.CHUNK_CELLS", 999)
    assert [part.low for part in bootstrap_means(values, seed=1)] == pytest.approx([part.low for part in whole])


def test_a_missing_value_is_left_out_of_its_own_column() -> None:
    values = np.array([[1.0, np.nan], [2.0, 0.0], [3.0, 1.0], [4.0, np.nan]])
    first, second = bootstrap_means(values)
    assert (first.n, first.value) == (4, 2.5)
    assert (second.n, second.value) == (2, 0.5)


def test_few_values_give_no_false_certainty() -> None:
    nothing, one = bootstrap_mean(np.array([np.nan])), bootstrap_mean(np.array([3.0]))
    assert nothing.n == 0
    assert math.isnan(nothing.value)
    assert (one.value, one.low, one.high) == (3.0, -math.inf, math.inf)
    same = bootstrap_mean(np.full(1000, 0.1))
    assert same.low == pytest.approx(0.1)
    assert same.high == pytest.approx(0.1)


def test_pairing_sees_what_two_intervals_do_not() -> None:
    random = np.random.default_rng(4)
    shared = random.exponential(4, 500)
    result = paired_bootstrap(shared, shared + random.normal(0.2, 0.5, 500))
    assert result.difference.high < 0
    assert result.p == pytest.approx(1 / 2000)
    assert bootstrap_mean(shared).high > bootstrap_mean(shared + 0.2).low


def test_p_is_small_by_chance_in_one_of_twenty() -> None:
    random = np.random.default_rng(5)
    ps = [paired_bootstrap(random.normal(size=80), random.normal(size=80), seed=s).p for s in range(300)]
    assert 0.02 <= np.mean(np.array(ps) < 0.05) <= 0.09


def test_pairs_with_a_missing_value_are_left_out() -> None:
    gap = paired_bootstrap(np.array([1.0, np.nan, 3.0]), np.array([2.0, 5.0, np.nan]))
    assert (gap.difference.n, gap.difference.value) == (1, -1.0)
    assert paired_bootstrap(np.array([np.nan]), np.array([1.0])).difference.n == 0
    with pytest.raises(InputError):
        paired_bootstrap(np.zeros(2), np.zeros(3))
    with pytest.raises(InputError):
        bootstrap_means(np.zeros(3))


def test_a_hundred_thousand_people_take_seconds() -> None:
    values = np.random.default_rng(6).exponential(4, (100_000, 4))
    start = time.process_time()
    intervals = bootstrap_means(values)
    assert time.process_time() - start < 20
    assert intervals[0].high - intervals[0].low == pytest.approx(2 * 1.96 * 4 / math.sqrt(100_000), rel=0.1)
