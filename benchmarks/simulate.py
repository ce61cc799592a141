"""A simulated population with two predictors' errors; every table made from it must say that it is simulated.

Shaped after published figures: two predictors with MAE 3.65 and 4.0 years, correlation .5, errors that grow with age,
about a fifth of the fused errors above 5 years, and a difficulty that the inputs (face size, sharpness, the second
predictor's own spread) show in part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator.domain import Evidence, Gender, Prediction, PredictionStatus, Truth

NAMES = ("mivolo-384", "sharegpt4v-7b")
MAES = (3.65, 4.0)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """People with the truth of each, in one order."""

    people: list[Evidence]
    truth: dict[str, Truth]
    age: Floats
    female: NDArray[np.bool_]

    def part(self, start: int, stop: int) -> Population:
        """The people from ``start`` to ``stop``."""
        people = self.people[start:stop]
        truth = {person.person_id: self.truth[person.person_id] for person in people}
        return Population(people, truth, self.age[start:stop], self.female[start:stop])


def simulate(
    count: int, seed: int, *, correlation: float = 0.5, no_face: float = 0.05, refused: float = 0.01
) -> Population:
    """Draw people.

    Args:
        count: how many.
        seed: of everything.
        correlation: between the two predictors' errors, given the difficulty.
        no_face: share of people without a face; their errors are 1.7 times as large.
        refused: share of people that the second predictor refuses.
    """
    rng = np.random.default_rng(seed)
    age = np.clip(np.where(rng.random(count) < 0.85, rng.uniform(0, 70, count), rng.uniform(60, 95, count)), 0, 95)
    difficulty = rng.normal(size=count)
    faceless = rng.random(count) < no_face
    scale = (0.45 + age / 60) * np.exp(0.45 * difficulty) * np.where(faceless, 1.7, 1.0)
    shared = np.sqrt(correlation) * rng.normal(size=count)
    errors = [scale * (shared + np.sqrt(1 - correlation) * rng.normal(size=count)) for _ in NAMES]
    biases = [1.5 * np.sin(age / 15), np.where(age < 10, 1.0, -0.02 * (age - 40))]
    said = [
        age + bias + error * _factor(error, bias, mae) for bias, error, mae in zip(biases, errors, MAES, strict=True)
    ]
    own_sd = scale * 3.5 * np.exp(0.3 * rng.normal(size=count))
    female = rng.random(count) < 0.52
    probabilities = [_female_probability(rng, female, difficulty, age, sharp) for sharp in (3.2, 4.0)]
    face_height = np.exp(4.6 - 0.6 * difficulty + 0.5 * rng.normal(size=count))
    sharpness = np.exp(5.0 - 0.6 * difficulty + 0.6 * rng.normal(size=count))
    unanswered = rng.random(count) < refused
    image = np.cumsum(rng.random(count) < 0.6)
    people = [
        Evidence(
            person_id=f"{image[i]:016x}-{i % 100:02d}-{i}",
            group=f"{image[i]:016x}",
            predictions=(
                _prediction(NAMES[0], said[0][i], None, probabilities[0][i]),
                _refusal() if unanswered[i] else _prediction(NAMES[1], said[1][i], own_sd[i], probabilities[1][i]),
            ),
            face_height=None if faceless[i] else float(face_height[i]),
            body_height=float(5 * face_height[i]),
            overlap=float(max(0.0, 0.15 * difficulty[i])),
            sharpness=float(sharpness[i]),
        )
        for i in range(count)
    ]
    genders = [Gender.FEMALE if one else Gender.MALE for one in female.tolist()]
    truth = {p.person_id: Truth(float(a), g) for p, a, g in zip(people, age, genders, strict=True)}
    return Population(people, truth, age, female)


def _factor(error: Floats, bias: Floats, mae: float) -> float:
    """What to scale the error by so that bias and error together have this MAE (by bisection)."""
    low, high = 0.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.abs(bias + middle * error).mean() < mae else (low, middle)
    return (low + high) / 2


def _female_probability(
    rng: np.random.Generator, female: NDArray[np.bool_], difficulty: Floats, age: Floats, sharp: float
) -> Floats:
    """Overconfident probabilities, worse for infants and for hard photos."""
    strength = sharp * np.exp(-0.3 * difficulty) * np.clip(age / 8, 0.25, 1)
    logit = np.where(female, 1, -1) * strength + 1.5 * rng.normal(size=len(age))
    return 1 / (1 + np.exp(-1.6 * logit))


def _prediction(name: str, age: float, age_sd: float | None, female: float) -> Prediction:
    return Prediction(
        name,
        "simulated",
        PredictionStatus.OK,
        age=min(max(0.0, float(age)), 120.0),
        age_sd=None if age_sd is None else float(age_sd),
        female_probability=float(female),
    )


def _refusal() -> Prediction:
    return Prediction(NAMES[1], "simulated", PredictionStatus.REFUSED, reason="simulated refusal")
