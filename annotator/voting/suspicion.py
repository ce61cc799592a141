"""Annotators whose answers look odd: constant, too fast, or copied. Hints for a lead, never a verdict."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from annotator.voting.tables import Floats, Ints, VoteTable

MIN_VOTES = 20
"""Fewer votes than this say nothing about a habit."""
CONSTANT_SHARE = 0.5
FAST_RATIO = 1 / 3
COPY_SHARE = 0.9
MAX_PAIRED = 200
"""Copies are looked for among so many annotators at most (those with the most votes): pairs grow as their square."""


def suspicions(votes: VoteTable, seconds: Floats) -> list[tuple[str, ...]]:
    """What looks odd about each annotator of ``votes``, in words; empty where nothing does.

    ``seconds`` is the median time of a vote per annotator, NaN where unknown. *Constant*: one age makes up more than
    half of 20 votes or more. *Too fast*: under a third of the typical annotator's time. *Copies*: the same age as one
    other annotator on more than 90 % of at least 20 shared people.
    """
    found: list[list[str]] = [[] for _ in votes.annotator_ids]
    typical = float(np.nanmedian(seconds)) if np.isfinite(seconds).any() else float("nan")
    counts = np.bincount(votes.annotator, minlength=len(votes.annotator_ids))
    for code in np.flatnonzero(counts >= MIN_VOTES).tolist():
        constant = _constant_age(votes.age[votes.annotator == code])
        if constant is not None:
            found[code].append(f"answers {constant:g} most of the time")
        if seconds[code] < FAST_RATIO * typical:
            found[code].append(f"{seconds[code]:.1f} s a vote, the typical annotator takes {typical:.1f}")
    for first, second, people in _copies(votes, counts):
        found[first].append(f"same ages as {votes.annotator_ids[second]} on {people} people")
        found[second].append(f"same ages as {votes.annotator_ids[first]} on {people} people")
    return [tuple(words) for words in found]


def _constant_age(ages: Floats) -> float | None:
    values, counts = np.unique(ages[~np.isnan(ages)], return_counts=True)
    if counts.sum() < MIN_VOTES or counts.max() <= CONSTANT_SHARE * counts.sum():
        return None
    return float(values[counts.argmax()])


def _copies(votes: VoteTable, counts: Ints) -> list[tuple[int, int, int]]:
    many = np.argsort(-counts, kind="stable")[:MAX_PAIRED]
    answers = {}
    for code in many[counts[many] >= MIN_VOTES].tolist():
        mine = (votes.annotator == code) & ~np.isnan(votes.age)
        answers[code] = (votes.person[mine], votes.age[mine])
    found = []
    for first, second in combinations(sorted(answers), 2):
        shared, a, b = np.intersect1d(answers[first][0], answers[second][0], return_indices=True)
        same = answers[first][1][a] == answers[second][1][b]
        if len(shared) >= MIN_VOTES and same.mean() > COPY_SHARE:
            found.append((first, second, len(shared)))
    return found
