"""The tables of the voting room: NumPy columns, names factorised to codes in sorted order of the names.

Genders are coded ``1`` female, ``0`` male, ``-1`` unknown; a missing age is NaN. Sorted codes make every result
independent of the order in which rows came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotator.domain import MAX_AGE, Gender, Vote
from annotator.errors import InputError

FEMALE, MALE, UNKNOWN = 1, 0, -1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Names = NDArray[Any]
"""One-dimensional array of ``str`` objects."""


def gender_code(gender: Gender | None) -> int:
    """``1`` female, ``0`` male, ``-1`` unknown.

    Examples:
        >>> gender_code(Gender.FEMALE), gender_code(Gender.MALE), gender_code(None)
        (1, 0, -1)
    """
    if gender is None:
        return UNKNOWN
    return FEMALE if gender is Gender.FEMALE else MALE


def gender_of(code: int) -> Gender | None:
    """The gender of a code, ``None`` where it is negative."""
    if code < 0:
        return None
    return Gender.FEMALE if code == FEMALE else Gender.MALE


def factorise(names: Sequence[str] | Names) -> tuple[Names, Ints]:
    """Sorted distinct names and, for each entry, the position of its name among them.

    Examples:
        >>> distinct, codes = factorise(["b", "a", "b"])
        >>> distinct.tolist(), codes.tolist()
        (['a', 'b'], [1, 0, 1])
    """
    return factorise_arrow(pa.array(names, pa.string()))


def factorise_arrow(column: Any) -> tuple[Names, Ints]:
    """``factorise`` for an Arrow array of strings, without a Python object per row."""
    encoded = column.dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary).to_numpy().astype(np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    distinct = encoded.dictionary.to_numpy(zero_copy_only=False)[order]
    return distinct, rank[encoded.indices.to_numpy()]


def _canonical_order(pair: Ints, age: Floats, gender: Ints) -> Ints:
    """The order by pair of person and annotator; the slow sort only where a pair occurs twice."""
    order = np.argsort(pair)
    if np.any(np.diff(pair[order]) == 0):
        order = np.lexsort((gender, age, pair))
    return order.astype(np.int64)


@dataclass(frozen=True, slots=True)
class VoteTable:
    """Votes as columns of one length: who (``annotator``) said what of whom (``person``).

    ``person`` and ``annotator`` are codes into ``person_ids`` and ``annotator_ids``; ``age`` is in years, NaN where
    not given; ``gender`` is coded. Rows lie in the order of person, then annotator.
    """

    person_ids: Names
    annotator_ids: Names
    person: Ints
    annotator: Ints
    age: Floats
    gender: Ints

    def __len__(self) -> int:
        return len(self.person)

    @classmethod
    def from_codes(
        cls, person_ids: Names, annotator_ids: Names, person: Ints, annotator: Ints, age: Floats, gender: Ints
    ) -> VoteTable:
        """A table of columns that are factorised already; sorts the rows.

        Raises:
            InputError: an age lies outside ``[0, 130]``.
        """
        wrong = np.flatnonzero(~(np.isnan(age) | ((age >= 0) & (age <= MAX_AGE))))
        if len(wrong):
            raise InputError(f"vote {wrong[0] + 1}: age {age[wrong[0]]:g} is not between 0 and {MAX_AGE}")
        order = _canonical_order(person * max(len(annotator_ids), 1) + annotator, age, gender)
        return cls(person_ids, annotator_ids, person[order], annotator[order], age[order], gender[order])

    @classmethod
    def from_columns(
        cls,
        person_ids: Sequence[str] | Names,
        annotator_ids: Sequence[str] | Names,
        age: Sequence[float | None] | Floats,
        gender: Sequence[int] | Ints,
    ) -> VoteTable:
        """A table of one name, name, age (NaN or ``None`` where missing) and gender code per vote.

        Examples:
            >>> table = VoteTable.from_columns(["p", "p"], ["b", "a"], [31, None], [FEMALE, UNKNOWN])
            >>> table.annotator_ids.tolist(), table.annotator.tolist(), table.age.tolist()
            (['a', 'b'], [0, 1], [nan, 31.0])
        """
        people, person = factorise(person_ids)
        annotators, annotator = factorise(annotator_ids)
        ages = np.asarray(age, dtype=np.float64)
        return cls.from_codes(people, annotators, person, annotator, ages, np.asarray(gender, dtype=np.int64))

    @classmethod
    def from_votes(cls, votes: Iterable[Vote]) -> VoteTable:
        """A table of domain votes; of two answers by one annotator on one person the later one counts."""
        last = {(vote.person_id, vote.annotator_id): vote for vote in votes}
        kept = list(last.values())
        return cls.from_columns(
            [vote.person_id for vote in kept],
            [vote.annotator_id for vote in kept],
            [vote.age for vote in kept],
            [gender_code(vote.gender) for vote in kept],
        )

    @property
    def answered(self) -> NDArray[np.bool_]:
        """One true row for each pair of person and annotator with an age or a gender; in one row or in two."""
        given = ~np.isnan(self.age) | (self.gender >= 0)
        pair = np.where(given, self.person * max(len(self.annotator_ids), 1) + self.annotator, -1)
        rows = np.flatnonzero(given)
        first = np.zeros(len(self), np.bool_)
        first[rows[np.diff(pair[rows], prepend=-1) != 0]] = True
        return first

    def select(self, rows: NDArray[np.bool_]) -> VoteTable:
        """The rows where ``rows`` is true, with all names kept."""
        return VoteTable(
            self.person_ids,
            self.annotator_ids,
            self.person[rows],
            self.annotator[rows],
            self.age[rows],
            self.gender[rows],
        )


@dataclass(frozen=True, slots=True)
class ControlTable:
    """People whose truth is known: distinct ``person_ids``, ``age`` (NaN where unknown) and ``gender`` codes."""

    person_ids: Names
    age: Floats
    gender: Ints

    @classmethod
    def from_columns(
        cls, person_ids: Sequence[str] | Names, age: Sequence[float | None] | Floats, gender: Sequence[int] | Ints
    ) -> ControlTable:
        """A table of one name, age and gender code per person.

        Raises:
            InputError: a person occurs twice.
        """
        people, codes = factorise(person_ids)
        if len(people) < len(codes):
            twice = people[np.flatnonzero(np.bincount(codes) > 1)[0]]
            raise InputError(f"person '{twice}' has two truths; keep one of them")
        order = np.argsort(codes)
        return cls(people, np.asarray(age, dtype=np.float64)[order], np.asarray(gender, dtype=np.int64)[order])

    def aligned(self, person_ids: Names) -> tuple[Floats, Ints]:
        """Age and gender code of each of ``person_ids`` (sorted), NaN and ``-1`` where the truth is unknown."""
        age = np.full(len(person_ids), np.nan)
        gender = np.full(len(person_ids), UNKNOWN, dtype=np.int64)
        if len(person_ids) and len(self.person_ids):
            place = np.minimum(np.searchsorted(person_ids, self.person_ids), len(person_ids) - 1)
            known = person_ids[place] == self.person_ids
            age[place[known]] = self.age[known]
            gender[place[known]] = self.gender[known]
        return age, gender


@dataclass(frozen=True, slots=True)
class AnnotatorColumns:
    """What is known of each annotator; one entry per annotator, NaN where there was nothing to measure.

    ``votes`` counts answers with an age or a gender, ``controls`` those on people whose truth is known. ``age_mae``,
    ``age_bias`` (mean of vote - truth), ``age_sd`` (around that mean) and ``gender_accuracy`` are plain figures on the
    controls; the weights come from their shrunk versions. ``age_weight`` is the weight of one vote, mean 1.
    """

    annotator_ids: Names
    votes: Ints
    controls: Ints
    age_mae: Floats
    age_bias: Floats
    age_sd: Floats
    gender_accuracy: Floats
    age_weight: Floats


@dataclass(frozen=True, slots=True)
class Consensus:
    """What the votes say: one entry per person, and the quality of each annotator.

    ``age_sd`` is the posterior standard deviation in years; ``gender`` is coded, ``-1`` where unsettled;
    ``gender_probability`` is the probability of the likelier gender; ``votes`` counts human annotators, ``n_eff`` is
    the effective number of age votes, ``(sum w)^2 / sum w^2``. ``age_method`` and ``gender_method`` are what was used
    (never ``auto``), ``notes`` says in words where that differs from what was asked.
    """

    person_ids: Names
    age: Floats
    age_sd: Floats
    gender: Ints
    gender_probability: Floats
    votes: Ints
    n_eff: Floats
    annotators: AnnotatorColumns
    age_method: str
    gender_method: str
    notes: tuple[str, ...] = ()
