"""What the page shows, as plain columns; the pipeline fills it from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from annotator.ensemble.cascade import CascadeReport

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PeopleColumns:
    """Pre-labelled people, one entry each, NaN where unknown.

    Ages, bounds of the 90 % interval and expected errors in years; ``large_error_probability`` is P(|error| > 5).
    ``predictions`` holds each predictor's age. ``truth_age`` and ``truth_female`` (1, 0 or NaN) are what is known:
    given with the data, or settled by votes; ``trusted`` marks those whose truth did not depend on the triage
    (controls and the random audit), the only ones from which an error rate of all people can be told.
    """

    age: Floats
    age_low: Floats
    age_high: Floats
    female_probability: Floats
    expected_error: Floats
    large_error_probability: Floats
    priority: Floats
    review: Bools
    settled: Bools
    truth_age: Floats
    truth_female: Floats
    trusted: Bools
    predictions: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def error(self) -> Floats:
        """|fused age - truth| in years, NaN where the truth is unknown."""
        return np.abs(self.age - self.truth_age)

    def __len__(self) -> int:
        return len(self.age)


@dataclass(frozen=True, slots=True)
class AnnotatorRow:
    """One annotator: counts, errors on controls in years, seconds per vote, and what looks odd (in words).

    ``bias_by_age`` has, for each ten-year group of the controls' ages with its first year, the bias in years (shrunk
    towards the annotator's own where controls are few) and the number of controls; groups without any are left out.
    """

    name: str
    votes: int
    controls: int
    age_mae: float
    age_bias: float
    age_sd: float
    gender_accuracy: float
    weight: float
    seconds: float | None
    suspicions: tuple[str, ...] = ()
    bias_by_age: tuple[tuple[int, float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class HardPerson:
    """One of the people most in need of a look; ``picture`` is a small JPEG, ``link`` leads to the review task."""

    person_id: str
    picture: bytes | None
    verdict: str
    predictions: Sequence[str]
    reasons: Sequence[str]
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts for the first lines of the page.

    ``failures`` are (stage, reason, count). ``votes_left`` is how many votes the open review wants at least: what is
    missing to the stop rule's least number, and one for whoever has that many and is not settled. ``seconds_per_vote``
    is the median so far.
    """

    images: int
    images_done: int
    people: int
    pre_labelled: int
    flagged: int
    settled: int
    accepted: int
    given: int
    votes: int
    votes_left: int
    seconds_per_vote: float | None
    failures: Sequence[tuple[str, str, int]] = ()


@dataclass(frozen=True, slots=True)
class CascadePrice:
    """What the cascade saves and costs.

    ``people`` were seen by the ``first`` predictor and ``asked`` of them by the others, who see people on whom the
    first is expected to err by more than ``above`` years. ``seconds_saved`` and ``seconds_spent`` are model time.
    ``played`` has the errors with and without; ``None`` where too few truths are known.
    """

    first: str
    above: float
    people: int
    asked: int
    seconds_saved: float
    seconds_spent: float
    played: CascadeReport | None


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page. ``notices`` are caveats such as that of the demo weights, ``alarms`` call for action."""

    title: str
    version: str
    fit: str
    created: str
    progress: Progress
    people: PeopleColumns
    annotators: Sequence[AnnotatorRow] = ()
    hardest: Sequence[HardPerson] = ()
    notices: Sequence[str] = ()
    agreement: str | None = None
    alarms: Sequence[str] = ()
    cascade: CascadePrice | None = None
