"""When a person has votes enough."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from annotator.voting.tables import Consensus, Names


class Verdict(StrEnum):
    """What happens to a person next."""

    SETTLED = "settled"
    ASK = "ask"
    EXPERT = "expert"


def next_step(
    consensus: Consensus,
    *,
    min_votes: int = 3,
    max_votes: int = 10,
    max_age_sd: float = 2.5,
    min_gender_probability: float = 0.95,
) -> Names:
    """Whether each person is settled, is asked again, or goes to an expert; ``(people,)`` of ``Verdict``.

    Settled is who has ``min_votes``, a posterior sd of at most ``max_age_sd`` years and a gender of at least
    ``min_gender_probability``. Who is not settled after ``max_votes`` goes to an expert.

    Examples:
        >>> from annotator.voting import VoteTable, aggregate
        >>> votes = VoteTable.from_columns(["p"] * 4 + ["q"], list("abcde"), [30, 31, 30, 31, 50], [1, 1, 1, 1, 0])
        >>> [str(step) for step in next_step(aggregate(votes, age_method="mean"))]
        ['settled', 'ask']
    """
    # a comparison with NaN is false: who lacks an age or a gender is not settled
    sure = (consensus.age_sd <= max_age_sd) & (consensus.gender_probability >= min_gender_probability)
    settled = (consensus.votes >= min_votes) & sure & (consensus.gender >= 0)
    steps = np.full(len(settled), Verdict.ASK, dtype=object)
    steps[consensus.votes >= max_votes] = Verdict.EXPERT
    steps[settled] = Verdict.SETTLED
    return steps
