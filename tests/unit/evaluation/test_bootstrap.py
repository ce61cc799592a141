"""Bootstrap intervals: coverage by simulation, agreement with SciPy, images, pairing."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy import stats

from annotator.errors import InputError
from annotator.evaluation.bootstrap import bootstrap_mean, bootstrap_means, paired_bootstrap
from benchmarks.coverage import coverage, in_use, percentile

DRAWS = 1000
MONTE_CARLO = 0.007
"""Standard error of a coverage of 95 % that is counted in 1,000 draws; by so much a cell may lie beyond 93 to 97 %."""


@pytest.mark.parametrize(("people", "per_image"), [(100, 1), (250, 4)])
def test_intervals_cover_the_truth_in_93_to_97_percent(people: int, per_image: int) -> None:
    """Heavy-tailed errors, children among the people, all on one image sharing a part of theirs; seeded draws."""
    found = coverage(in_use, people, DRAWS, per_image)
    assert {n: c for n, c in found.items() if not 0.93 - MONTE_CARLO <= c <= 0.97 + MONTE_CARLO} == {}
    assert 0.94 <= np.mean(list(found.values())) <= 0.96


def test_the_simulation_finds_intervals_that_are_too_short() -> None:
    """It would not pass a percentile bootstrap, nor one that takes people of an image to be independent."""
    assert coverage(percentile, 100, DRAWS, 1, ["mape"])["mape"] < 0.93 - MONTE_CARLO
    alone = coverage(lambda loss, image, seed: in_use(loss, np.arange(len(loss)), seed), 200, 500, 10, ["mae"])
    assert alone["mae"] < 0.93 - MONTE_CARLO


@pytest.mark.parametrize("n", [15, 60, 250])
def test_intervals_cover_the_mean_of_light_tails_too(n: int) -> None:
    """Absolute normal errors."""
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


def test_the_interval_is_the_symmetric_bootstrap_t_of_the_logarithm() -> None:
    """An independent one, each resample drawn and studentised by itself."""
    values = np.random.default_rng(1).exponential(4, 60)
    ours = bootstrap_mean(values)
    again, mean = np.random.default_rng(2).choice(values, (60, 20_000)), values.mean()
    pivots = np.abs(np.log(again.mean(axis=0) / mean)) / (stats.sem(again) / again.mean(axis=0))
    reach = np.quantile(pivots, 0.95) * stats.sem(values) / mean
    assert ours.value == pytest.approx(mean)
    assert math.log(ours.high / mean) == pytest.approx(reach, rel=0.04)
    assert math.log(mean / ours.low) == pytest.approx(reach, rel=0.04)


def test_of_many_people_it_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(4, 4000)
    ours = bootstrap_mean(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_people_of_one_image_count_as_one_where_they_are_alike() -> None:
    """Everybody ten times, on the same image: as sure as everybody once."""
    random = np.random.default_rng(7)
    once, image = random.exponential(4, 80), np.repeat(np.arange(80), 10)
    again = bootstrap_mean(np.repeat(once, 10), image=image)
    alone = bootstrap_mean(once)
    assert (again.low, again.high) == pytest.approx((alone.low, alone.high), rel=1e-9)
    assert again.n == 800
    right = (once < 8).astype(np.float64)
    again, alone = bootstrap_mean(np.repeat(right, 10), image=image), bootstrap_mean(right)
    assert (again.low, again.high) == pytest.approx((alone.low, alone.high), rel=0.01)
    gap = random.normal(size=80)
    both = [paired_bootstrap(np.repeat(gap, k), np.zeros(80 * k), image=image if k > 1 else None) for k in (1, 10)]
    assert both[0].p == pytest.approx(both[1].p)
    assert bootstrap_mean(once, image=np.zeros(80, np.int64)).high == math.inf


def test_images_in_any_order_and_of_any_number_are_the_same() -> None:
    random = np.random.default_rng(8)
    values, image = random.exponential(4, (90, 2)), random.integers(0, 30, 90)
    values[random.random((90, 2)) < 0.2] = np.nan
    order = random.permutation(90)
    found = bootstrap_means(values, image=image)
    shuffled = bootstrap_means(values[order], image=image[order] * 7 + 3)
    assert [part.high for part in shuffled] == pytest.approx([part.high for part in found])


@pytest.mark.parametrize("apart", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("n", [100, 400])
def test_intervals_of_paired_shares_cover_the_truth(n: int, apart: float) -> None:
    """Both predictors right in all but a few: 4,000 samples of who alone was wrong."""
    random = np.random.default_rng(n)
    lost, won, _ = random.multinomial(n, [0.03 + apart, 0.03, 0.94 - apart], 4000).T
    covered = {}
    for case in {(int(a), int(b)) for a, b in zip(lost, won, strict=True)}:
        gap = np.repeat([1.0, -1.0, 0.0], [*case, n - sum(case)])
        found = paired_bootstrap(gap, np.zeros(n), resamples=1)
        covered[case] = found.difference.low <= apart <= found.difference.high
        assert (found.p < 0.05) == (found.difference.low > 0 or found.difference.high < 0)
    assert 0.93 <= np.mean([covered[int(a), int(b)] for a, b in zip(lost, won, strict=True)]) <= 0.99


def test_the_seed_decides_and_row_chunks_do_not_change_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).exponential(size=(50, 2))
    assert bootstrap_means(values, seed=1) == bootstrap_means(values, seed=1)
    assert bootstrap_means(values, seed=1) != bootstrap_means(values, seed=2)
    whole = bootstrap_means(values, seed=1)
    monkeypatch.setattr("annotator.evaluation.resampling.CHUNK_CELLS", 999)
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
    with pytest.raises(InputError, match="at least 0"):
        bootstrap_mean(np.array([1.0, -1.0]))


def test_a_hundred_thousand_people_take_seconds() -> None:
    values = np.random.default_rng(6).exponential(4, (100_000, 4))
    start = time.process_time()
    intervals = bootstrap_means(values)
    assert time.process_time() - start < 20
    assert intervals[0].high - intervals[0].low == pytest.approx(2 * 1.96 * 4 / math.sqrt(100_000), rel=0.1)
