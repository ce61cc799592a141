"""What a label costs: error against human votes per person, on a SIMULATED population shaped like LAGENDA.

    python -m benchmarks.label_cost [--people 6000] [--seed 0]

People and the errors of two predictors come from benchmarks/simulate.py. Sixty annotators have a bias, noise that grows
with age, and 0, 5 or 15 % spammers among them. Two worlds:

- against the crowd: the truth is what infinitely many honest annotators would say; it is what a benchmark made of votes
  measures, and the predictors' published errors are errors against it.
- against real age: people look older or younger than they are by 4 years (one sd), to annotators and predictors alike.
  Ten weighted votes then err by about the 3.47 years that LAGENDA's authors report on people of known age.

Every method may use 500 control people whose truth is given. Their votes are the same for all and not counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator.domain import Gender, Truth
from annotator.ensemble.fitting import cross_fuse
from annotator.ensemble.verdicts import triage
from annotator.voting import ControlTable, VoteTable, aggregate
from annotator.voting.stopping import Verdict, next_step
from annotator.voting.tables import Consensus
from benchmarks.simulate import Population, simulate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ANNOTATORS, VOTES, CONTROLS = 60, 10, 500
BIAS_SD, NOISE_SDS = 1.5, (3.0, 7.0)
SPAMMERS = (0.0, 0.05, 0.15)
SHARED_SDS = {"against the crowd": 0.0, "against real age": 4.0}
ENSEMBLE = "the ensemble"

POLICIES = ((0.2, 3, 2.5), (0.5, 3, 2.5), (0.5, 2, 2.0), (1.0, 1, 2.5), (1.0, 2, 2.5), (1.0, 2, 2.0), (1.0, 3, 2.0))
"""Share of the people that is reviewed, fewest votes, and the posterior sd in years at which asking stops."""


@dataclass(frozen=True)
class World:
    """Truth of ``n`` people and ten votes on each, in the order in which they would be asked.

    ``annotator``, ``age_votes`` and ``gender_votes`` are ``(n, 10)``; the first `CONTROLS` people are the controls.
    """

    population: Population
    age: Floats
    female: Ints
    annotator: Ints
    age_votes: Floats
    gender_votes: Ints
    fused_age: Floats
    fused_female: Ints
    review_order: Ints

    @property
    def names(self) -> NDArray[np.object_]:
        """Person ids."""
        return np.array([person.person_id for person in self.population.people], dtype=object)

    @property
    def controls(self) -> ControlTable:
        """What is known beforehand."""
        return ControlTable.from_columns(self.names[:CONTROLS], self.age[:CONTROLS], self.female[:CONTROLS])

    def votes(self, count: Ints, *, ensemble: bool) -> VoteTable:
        """The first ``count`` votes on each person, all ten on the controls; the ensemble votes once on everybody."""
        asked = np.arange(VOTES)[None, :] < count[:, None]
        asked[:CONTROLS] = True
        person, column = np.nonzero(asked)
        who = np.array([f"annotator {number:02d}" for number in range(ANNOTATORS)], dtype=object)
        columns = [
            self.names[person],
            who[self.annotator[person, column]],
            self.age_votes[person, column],
            self.gender_votes[person, column],
        ]
        if ensemble:
            own = (self.names, np.full(len(self.age), ENSEMBLE, dtype=object), self.fused_age, self.fused_female)
            columns = [np.concatenate(pair) for pair in zip(columns, own, strict=True)]
        return VoteTable.from_columns(*columns)


@dataclass(frozen=True)
class Cost:
    """One line of the table: votes per person, MAE in years, shares of errors above 5 years and of right genders."""

    method: str
    votes: float
    mae: float
    large: float
    gender: float


def make_world(people: int, spammers: float, shared_sd: float, seed: int) -> World:
    """Draw people, annotators and votes; fit the ensemble on the controls, out of fold where it judges them."""
    population = simulate(people, seed)
    rng = np.random.default_rng(seed + 1)
    looks = population.age
    age = np.clip(looks - shared_sd * (0.5 + looks / 80) * rng.normal(size=people), 0, 100)
    spams = np.arange(ANNOTATORS) < round(spammers * ANNOTATORS)
    sd, bias = rng.uniform(*NOISE_SDS, ANNOTATORS), rng.normal(0, BIAS_SD, ANNOTATORS)
    annotator = np.argsort(rng.random((people, ANNOTATORS)), axis=1)[:, :VOTES]
    noise = rng.normal(size=annotator.shape) * sd[annotator] * (0.6 + looks / 90)[:, None]
    said = np.clip(np.round(looks[:, None] + bias[annotator] + noise), 0, 100)
    said = np.where(spams[annotator], rng.integers(0, 91, annotator.shape), said)
    female = population.female.astype(np.int64)
    right = np.where(spams, 0.5, rng.uniform(0.94, 0.99, ANNOTATORS))[annotator]
    says = np.where(rng.random(annotator.shape) < right, female[:, None], 1 - female[:, None])
    genders = [Gender.FEMALE if one else Gender.MALE for one in female[:CONTROLS]]
    ids = [person.person_id for person in population.people[:CONTROLS]]
    truth = {name: Truth(float(a), g) for name, a, g in zip(ids, age, genders, strict=False)}
    _, fused = cross_fuse(population.people, truth, seed=seed)
    verdicts = triage(fused, review_rate=0.2, audit_rate=0.0, seed=seed)
    return World(
        population,
        age,
        female,
        annotator,
        said.astype(np.float64),
        says,
        np.array([one.age for one in fused], dtype=np.float64),
        np.array([one.female_probability for one in fused]).round().astype(np.int64),
        np.argsort([-one.priority for one in verdicts], kind="stable"),
    )


def plain(world: World, method: str, count: int) -> Cost:
    """The same number of votes on everybody, aggregated without the ensemble."""
    consensus = aggregate(
        world.votes(np.full(len(world.age), count), ensemble=False),
        world.controls,
        age_method=method,
        gender_method="lagenda" if method == "lagenda" else "majority",
    )
    rows = _rows(consensus, world)
    return measure(world, f"{count} votes, {method}", float(count), consensus.age[rows], consensus.gender[rows])


def ours(world: World, rate: float, least: int, enough: float) -> Cost:
    """Pre-label everybody, review the doubtful ``rate``, and ask about each of them until the rule is content.

    The ensemble votes along; the stopping rule and the weights are the tool's own.
    """
    review = np.zeros(len(world.age), dtype=bool)
    review[world.review_order[: round(rate * len(world.age))]] = True
    count = np.where(review, least, 0).astype(np.int64)
    while True:
        consensus = aggregate(world.votes(count, ensemble=True), world.controls, gender_method="dawid-skene")
        rows = _rows(consensus, world)
        steps = next_step(consensus, min_votes=least + 1, max_votes=VOTES + 1, max_age_sd=enough)[rows]
        again = review & (count < VOTES) & (steps == Verdict.ASK)
        again[:CONTROLS] = False
        if not again.any():
            break
        count[again] += 1
    age = np.where(review, consensus.age[rows], world.fused_age)
    gender = np.where(review, consensus.gender[rows], world.fused_female)
    name = f"review {rate:.0%}, {least} votes or more, until sd {enough:g}"
    return measure(world, name, float(count[CONTROLS:].mean()), age, gender)


def measure(world: World, method: str, votes: float, age: Floats, gender: Ints) -> Cost:
    """Compare labels with the truth, the controls left out."""
    error = np.abs(age - world.age)[CONTROLS:]
    right = (gender == world.female)[CONTROLS:]
    return Cost(method, votes, float(error.mean()), float((error > 5).mean()), float(right.mean()))


def _rows(consensus: Consensus, world: World) -> Ints:
    """Where each of the world's people is in the consensus."""
    return np.searchsorted(consensus.person_ids.astype(str), world.names.astype(str))


def table(people: int, seed: int) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    yield "label cost, SIMULATED; error of labels against human votes per person"
    for name, shared in SHARED_SDS.items():
        for spammers in SPAMMERS:
            world = make_world(people, spammers, shared, seed)
            baselines = [plain(world, "mean", VOTES), plain(world, "lagenda", VOTES)]
            alone = measure(world, "pre-labels alone", 0.0, world.fused_age, world.fused_female)
            tool = [alone, *(ours(world, *policy) for policy in POLICIES)]
            yield f"\n{f'{name}, {spammers:.0%} spammers':<42} votes/person    MAE  > 5 years  gender"
            yield from map(line, [*baselines, *tool])
            yield verdict(baselines[1], tool)


def line(cost: Cost) -> str:
    """One line of the table."""
    return f"{cost.method:<42} {cost.votes:>12.2f} {cost.mae:>6.2f} {cost.large:>10.1%} {cost.gender:>7.1%}"


def verdict(target: Cost, tool: list[Cost]) -> str:
    """The cheapest policy that errs no more than ten votes with LAGENDA weights, or what the best one reaches."""
    enough = [cost for cost in tool if cost.mae <= target.mae]
    if enough:
        best = min(enough, key=lambda cost: cost.votes)
        return (
            f"=> MAE of ten votes with LAGENDA weights ({target.mae:.2f}) reached at {best.votes:.2f} votes per person"
        )
    best = min(tool, key=lambda cost: cost.mae)
    return (
        f"=> MAE of ten votes with LAGENDA weights ({target.mae:.2f}) not reached; {best.mae:.2f} at {best.votes:.2f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for text in table(options.people, options.seed):
        print(text, flush=True)


if __name__ == "__main__":
    main()
