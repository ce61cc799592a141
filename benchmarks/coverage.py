"""How often 95 % intervals cover the truth: people are SIMULATED, the errors heavy-tailed as real ones are.

    python -m benchmarks.coverage [--draws 4000] [--people 100 200 500 2000]

Ages are uniform to 90, a fifth of the people are children. Errors grow with age and with how hard a person is, which is
lognormal; a quarter of it belongs to the image. Two predictors err alike by half. Beside the intervals in use stand
those of the plain percentile bootstrap of people.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from annotator.evaluation.bootstrap import RESAMPLES, bootstrap_means, compare_gaps

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Method = Callable[[Floats, Ints, int], tuple[Floats, Floats]]

AT_ONCE = 50
"""Draws that share their resamples; more would make the share that covers less exact."""
ACCURACIES = (0.90, 0.95, 0.98)
GAP = "difference"


@dataclass(frozen=True, slots=True)
class Draws:
    """Many draws of the same number of people, ``(people, draws)`` each; ``image`` is ``(people,)``."""

    image: Ints
    losses: Mapping[str, Floats]


def draw(people: int, draws: int, per_image: int, seed: int) -> Draws:
    """People whose errors, and whose genders' errors, are alike on one image."""
    random = np.random.default_rng(seed)
    shape = (people, draws)
    age = np.where(random.random(shape) < 0.2, random.uniform(0, 12, shape), random.uniform(0, 90, shape))
    image = np.arange(people) // per_image
    ease = np.sqrt(0.25) * random.normal(size=(image[-1] + 1, draws))[image] + np.sqrt(0.75) * random.normal(size=shape)
    sd = (1.5 + 0.05 * age) * np.exp(0.55 * ease)
    common = random.normal(size=shape)
    first, second = (
        np.abs(np.maximum(age + sd * np.sqrt(0.5) * (common + random.normal(size=shape)), 0) - age) for _ in range(2)
    )
    losses = {"mae": first, "mape": first / (age + 1), "cs5": (first <= 5).astype(np.float64), GAP: first - second}
    for accuracy in ACCURACIES:
        losses[f"gender {accuracy:.2f}"] = (ease < stats.norm.ppf(accuracy)).astype(np.float64)
    return Draws(image, losses)


@cache
def truth() -> Mapping[str, float]:
    """What the intervals should cover: the means of two million people, exact where they are known."""
    means = {name: float(loss.mean()) for name, loss in draw(2000, 1000, 1, 1).losses.items()}
    return means | {GAP: 0.0} | {f"gender {accuracy:.2f}": accuracy for accuracy in ACCURACIES}


def in_use(values: Floats, image: Ints, seed: int) -> tuple[Floats, Floats]:
    """Bounds of the intervals that `annotator evaluate` prints, ``(draws,)`` each."""
    if (values < 0).any():
        found = [one.difference for one in compare_gaps(values, image=image, seed=seed)]
    else:
        found = bootstrap_means(values, image=image, seed=seed)
    return np.array([one.low for one in found]), np.array([one.high for one in found])


def percentile(values: Floats, image: Ints, seed: int) -> tuple[Floats, Floats]:
    """Bounds of the percentile bootstrap, people drawn one by one whatever their image."""
    del image
    people = len(values)
    times = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), RESAMPLES)
    low, high = np.quantile(times @ values / people, [0.025, 0.975], axis=0)
    return low, high


def coverage(
    method: Method, people: int, draws: int, per_image: int, names: Sequence[str] | None = None
) -> dict[str, float]:
    """Share of ``draws`` whose interval covers the truth, by loss; of all losses unless some are named."""
    covered: dict[str, list[float]] = {name: [] for name in names or truth()}
    for start in range(0, draws, AT_ONCE):
        drawn = draw(people, min(AT_ONCE, draws - start), per_image, seed=people + start)
        for name, hits in covered.items():
            low, high = method(drawn.losses[name], drawn.image, start)
            hits += ((low <= truth()[name]) & (truth()[name] <= high)).tolist()
    return {name: float(np.mean(hits)) for name, hits in covered.items()}


def main() -> None:
    """One line for each number of people, method and crowd."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--people", type=int, nargs="+", default=[100, 200, 500, 2000])
    asked = parser.parse_args()
    names = list(truth())
    print(f"{'people':>6}  {'on an image':11}  {'interval':10}  " + "  ".join(f"{name:>11}" for name in names))
    for people in asked.people:
        for per_image in (1, 4):
            for method in (in_use, percentile):
                cells = [f"{share:11.3f}" for share in coverage(method, people, asked.draws, per_image).values()]
                title = method.__name__.replace("_", " ")
                print(f"{people:6}  {per_image:<11}  {title:10}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
