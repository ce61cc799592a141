"""The CSV tables of `annotator vote`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from annotator.domain import MAX_AGE
from annotator.errors import InputError
from annotator.tables import read_table, write_tables
from annotator.voting.tables import FEMALE, MALE, Consensus, ControlTable, Ints, Names, VoteTable, factorise_arrow


def read_votes(path: Path) -> VoteTable:
    """Votes from ``person_id,annotator_id,age,gender``; either value may be empty.

    Raises:
        StorageError: the file cannot be read.
        InputError: the file has no rows, or a row is wrong: an annotator gave a person two ages or two genders, an age
            is not between 0 and 130, a gender or name is not one; names the line.
    """
    table = read_table(path, ("person_id", "annotator_id", "age", "gender"))
    if not table.rows:
        raise InputError(f"{path} has a header but no votes")
    people, person = factorise_arrow(table.names("person_id"))
    annotators, annotator = factorise_arrow(table.names("annotator_id"))
    age, gender = table.numbers("age", 0, MAX_AGE), table.genders("gender")
    pair = person * len(annotators) + annotator
    for what, given in (("an age", ~np.isnan(age)), ("a gender", gender >= 0)):
        rows = np.flatnonzero(given)
        table.refuse_repeats(pair[rows], rows, f"this annotator gave this person {what} already in {{}}; keep one vote")
    return VoteTable.from_codes(people, annotators, person, annotator, age, gender)


def read_truth(path: Path) -> ControlTable:
    """Known people from ``person_id,age,gender``; either value may be empty.

    Raises:
        StorageError: the file cannot be read.
        InputError: the file has no rows, or a row is wrong; names the line.
    """
    table = read_table(path, ("person_id", "age", "gender"))
    if not table.rows:
        raise InputError(f"{path} has a header but no people")
    people, person = factorise_arrow(table.names("person_id"))
    age, gender = table.numbers("age", 0, MAX_AGE), table.genders("gender")
    table.refuse_repeats(person, np.arange(table.rows), "this person has a truth already in {}; keep one of them")
    order = np.argsort(person)
    return ControlTable(people, age[order], gender[order])


def annotators_path(labels: Path) -> Path:
    """Where the annotators' quality goes: ``LABELS.annotators.csv`` beside ``LABELS.csv``."""
    return labels.with_name(f"{labels.stem}.annotators.csv")


def write_consensus(path: Path, consensus: Consensus) -> None:
    """Write the labels to ``path`` and the annotators' quality beside it, both or neither.

    Raises:
        StorageError: they cannot be written.
    """
    who = consensus.annotators
    labels = {
        "person_id": consensus.person_ids,
        "age": consensus.age,
        "age_sd": consensus.age_sd,
        "gender": gender_names(consensus.gender),
        "gender_probability": consensus.gender_probability,
        "votes": consensus.votes,
    }
    annotators = {
        "annotator_id": who.annotator_ids,
        "votes": who.votes,
        "controls": who.controls,
        "age_mae": who.age_mae,
        "age_bias": who.age_bias,
        "age_sd": who.age_sd,
        "gender_accuracy": who.gender_accuracy,
        "age_weight": who.age_weight,
    }
    write_tables({path: labels, annotators_path(path): annotators})


def gender_names(codes: Ints) -> Names:
    """``female``, ``male`` or ``None`` for each code."""
    names = np.full(len(codes), None, dtype=object)
    names[codes == FEMALE], names[codes == MALE] = "female", "male"
    return names
