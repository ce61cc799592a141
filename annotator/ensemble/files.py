"""The CSV tables of `annotator triage`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from annotator.domain import MAX_AGE, Evidence, Prediction, PredictionStatus, PreLabel
from annotator.ensemble.evidence import Floats
from annotator.ensemble.published import published_error
from annotator.errors import InputError
from annotator.tables import MISSING, Table, read_table, write_tables

OWN_ID = re.compile(r"([0-9a-f]{16})-\d{2,}")
"""A person id of this project, which begins with the image's: people of one image stay together in a fit."""

FACES = {"1": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "false": 0.0, "no": 0.0} | dict.fromkeys(MISSING, np.nan)
"""Spellings of whether there is a face, in lower case."""

FROM_TABLE = "table"
"""Version of every prediction that came without one."""


def read_evidence(path: Path) -> list[Evidence]:
    """People, in order of appearance, from ``person_id,predictor,age,gender`` and ``age_sd,female_probability,face``.

    Only the first four columns must be there. An age or a gender may be empty; a row with neither (nor a probability)
    is a refusal. A gender without ``female_probability`` is as probable as the predictor's published accuracy; with
    one, the probability counts. ``face`` holds for the person: one predictor that saw a face is enough. An age may lie
    between -1 and 0, as a regression gives it (it counts as 0); -1 itself is a marker, not an age.

    Raises:
        StorageError: the file cannot be read.
        InputError: the file has no rows, or a row is wrong; names the line.
    """
    table = read_table(path, ("person_id", "predictor", "age", "gender"), ("age_sd", "female_probability", "face"))
    if not table.rows:
        raise InputError(f"{path} has a header but no predictions")
    people = pc.dictionary_encode(table.names("person_id"))
    predictors = pc.dictionary_encode(table.names("predictor"))
    person, predictor = (column.indices.to_numpy().astype(np.int64) for column in (people, predictors))
    keys = person * len(predictors.dictionary) + predictor
    table.refuse_repeats(keys, np.arange(table.rows), "this predictor has this person already in {}; keep one of them")
    names = predictors.dictionary.to_pylist()
    predictions = _predictions(table, names, predictor)
    return _people(people.dictionary.to_pylist(), person, predictions, _faces(table))


def write_verdicts(path: Path, verdicts: Sequence[PreLabel]) -> None:
    """Write one row per person, in the order given; several reasons are joined by ``;``.

    Raises:
        StorageError: it cannot be written.
    """
    fused = [one.fused for one in verdicts]
    ages = ("age", "age_low", "age_high")
    numbers = {name: np.array([getattr(one, name) for one in fused], dtype=np.float64) for name in ages}
    columns: dict[str, Any] = {
        "person_id": [one.person_id for one in fused],
        **numbers,
        "gender": np.array([one.gender for one in fused], dtype=object),
        "female_probability": np.array([one.female_probability for one in fused], dtype=np.float64),
        "expected_error": np.array([one.expected_error for one in fused], dtype=np.float64),
        "priority": np.array([one.priority for one in verdicts], dtype=np.float64),
        "review": np.array([one.review for one in verdicts], dtype=bool),
        "reasons": [";".join(one.reasons) for one in verdicts],
    }
    write_tables({path: columns})


def _predictions(table: Table, names: Sequence[str], predictor: Any) -> list[Prediction]:
    age = np.clip(table.numbers("age", -1, MAX_AGE, above=True), 0, None)
    female = _female_probability(table, names, predictor)
    age_sd = table.numbers("age_sd", 0, MAX_AGE, above=True) if "age_sd" in table else np.full(table.rows, np.nan)
    told = np.isfinite(age) | np.isfinite(female)
    status = (PredictionStatus.REFUSED, PredictionStatus.OK)
    columns = (_optional(age), _optional(age_sd), _optional(female), told.tolist(), predictor.tolist())
    return [
        Prediction(names[which], FROM_TABLE, status[ok], one_age, sd if ok else None, one_female)
        for one_age, sd, one_female, ok, which in zip(*columns, strict=True)
    ]


def _female_probability(table: Table, names: Sequence[str], predictor: Any) -> Floats:
    code = table.genders("gender")
    sure = np.array([published_error(name).gender_accuracy for name in names])[predictor]
    guessed = np.where(code == 1, sure, np.where(code == 0, 1 - sure, np.nan))
    if "female_probability" not in table:
        return guessed
    given = table.numbers("female_probability", 0, 1)
    return np.where(np.isfinite(given), given, guessed)


def _faces(table: Table) -> Floats:
    if "face" not in table:
        return np.full(table.rows, np.nan)
    spelled = [text.lower() for text in table.columns["face"].to_pylist()]
    for row, text in enumerate(spelled):
        if text not in FACES:
            table.fail(row, f"unknown face '{text[:40]}'; use 1 or 0, or leave it empty where it is unknown")
    return np.array([FACES[text] for text in spelled], dtype=np.float64)


def _people(ids: Sequence[str], person: Any, predictions: Sequence[Prediction], faces: Floats) -> list[Evidence]:
    given: list[list[Prediction]] = [[] for _ in ids]
    for code, prediction in zip(person.tolist(), predictions, strict=True):
        given[code].append(prediction)
    seen = np.full(len(ids), np.nan)
    np.fmax.at(seen, person, faces)
    return [
        # a height that is not a number: there is a box, nobody measured it
        Evidence(name, _group(name), tuple(told), np.nan if face == 1 else None, None if face != face else np.nan)
        for name, told, face in zip(ids, given, seen.tolist(), strict=True)
    ]


def _group(person_id: str) -> str:
    own = OWN_ID.fullmatch(person_id)
    return own[1] if own else person_id


def _optional(column: Floats) -> list[float | None]:
    return [None if missing else value for value, missing in zip(column.tolist(), np.isnan(column), strict=True)]
