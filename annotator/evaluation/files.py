"""The predictions table of `annotator score`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotator.domain import MAX_AGE
from annotator.errors import InputError
from annotator.evaluation.metrics import Floats, Ints
from annotator.tables import read_table
from annotator.voting.tables import Names, factorise_arrow


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """One row per person and predictor, as codes into sorted names; ages in years, NaN where refused."""

    person_ids: Names
    predictors: Names
    person: Ints
    predictor: Ints
    age: Floats
    gender: Ints


def read_predictions(path: Path) -> PredictionTable:
    """Predictions from ``person_id,predictor,age,gender``; either value may be empty.

    An age may lie between -1 and 0, as a regression gives it (it counts as 0); -1 itself is a marker, not an age.

    Raises:
        StorageError: the file cannot be read.
        InputError: the file has no rows, or a row is wrong; names the line.
    """
    table = read_table(path, ("person_id", "predictor", "age", "gender"))
    if not table.rows:
        raise InputError(f"{path} has a header but no predictions")
    people, person = factorise_arrow(table.names("person_id"))
    predictors, predictor = factorise_arrow(table.names("predictor"))
    age, gender = table.numbers("age", -1, MAX_AGE, above=True), table.genders("gender")
    keys = person * len(predictors) + predictor
    table.refuse_repeats(keys, np.arange(table.rows), "this predictor has this person already in {}; keep one of them")
    return PredictionTable(people, predictors, person, predictor, age, gender)
