"""Scoring the demo: people that were found are matched with the drawn ones, and every opinion with the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.demo.evaluate import match
from annotator.domain import Box, Gender, Label, Prediction, PreLabel, Truth
from annotator.images.lagenda import csv_items
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import ImageRow, LabelRow, PersonRow, PersonSource, PredictionRow, PreLabelRow

LARGE_ERROR = 5.0
"""Years; an age that is further off is an error worth catching (CS@5)."""

Opinion = tuple[float | None, Gender | None]


@dataclass(frozen=True, slots=True)
class Score:
    """One opinion on people whose truth is known: how many have an age, MAE in years, share of right genders."""

    people: int
    mae: float
    gender_accuracy: float


@dataclass(frozen=True, slots=True)
class DemoScores:
    """What came out against what was drawn.

    ``models`` has every predictor and ``ensemble``, ``labels`` the final labels, all on people whom the detector found.
    ``caught`` of the ``errors`` (ages more than five years off, or a wrong gender) of the ensemble were flagged.
    """

    drawn: int
    found: int
    false_finds: int
    models: Mapping[str, Score]
    labels: Score
    flagged: int
    errors: int
    caught: int


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """A person that the detector found and that was drawn there."""

    person_id: str
    key: int
    truth: Truth


@dataclass(frozen=True, slots=True)
class KnownPeople:
    """Everybody found whose truth is known; ``truths`` also has the people of the control pictures."""

    found: Sequence[FoundPerson]
    drawn: int
    false_finds: int
    truths: Mapping[str, Truth]


def known_people(store: Store, truth_table: Path) -> KnownPeople:
    """Matches people in the store with those of ``truth_table`` (LAGENDA columns) by their body boxes, IoU >= .5."""
    drawn = {item.name: item.persons for item in csv_items(truth_table, 0)}
    found: list[FoundPerson] = []
    false_finds = 0
    with store.read() as session:
        for name, rows in _people_by_image(session).items():
            there = drawn.get(name, ())
            owners = match([_body(row) for row in rows], [person.body or Box(0, 0, 0, 0) for person in there])
            false_finds += sum(owner is None for owner in owners)
            found += [
                FoundPerson(row.person_id, row.id, there[owner].truth)
                for row, owner in zip(rows, owners, strict=True)
                if owner is not None
            ]
        truths = {person.person_id: person.truth for person in found} | _controls(session)
    return KnownPeople(found, sum(map(len, drawn.values())), false_finds, truths)


def people_to_ask(store: Store) -> list[str]:
    """Flagged people without a label, and the controls."""
    open_review = (
        select(PersonRow.person_id)
        .join(PreLabelRow, (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current)
        .outerjoin(LabelRow, LabelRow.person_key == PersonRow.id)
        .where(PreLabelRow.review.is_(True), LabelRow.id.is_(None))
    )
    with store.read() as session:
        return sorted({*session.scalars(open_review), *_controls(session)})


def score_demo(store: Store, known: KnownPeople) -> DemoScores:
    """Every model, the ensemble and the labels against what was drawn."""
    truths = [person.truth for person in known.found]
    keys = [person.key for person in known.found]
    with store.read() as session:
        said = _predictions(session, keys)
        fused = _pre_labels(session, keys)
        labels = _labels(session, keys)
    models = {name: score([_opinion(answers.get(key)) for key in keys], truths) for name, answers in said.items()}
    ensemble = [_fused_opinion(fused.get(key)) for key in keys]
    models["ensemble"] = score(ensemble, truths)
    wrong = [_is_error(opinion, truth) for opinion, truth in zip(ensemble, truths, strict=True)]
    flags = [key in fused and fused[key].review for key in keys]
    return DemoScores(
        drawn=known.drawn,
        found=len(keys),
        false_finds=known.false_finds,
        models=models,
        labels=score([_label_opinion(labels.get(key)) for key in keys], truths),
        flagged=sum(flags),
        errors=sum(wrong),
        caught=sum(error and flag for error, flag in zip(wrong, flags, strict=True)),
    )


def score(opinions: Sequence[Opinion], truths: Sequence[Truth]) -> Score:
    """MAE and gender accuracy over those who have a value; NaN where nobody has.

    >>> score([(30.0, Gender.MALE), (None, None)], [Truth(33.0, Gender.MALE), Truth(1.0, Gender.MALE)])
    Score(people=1, mae=3.0, gender_accuracy=1.0)
    """
    pairs = list(zip(opinions, truths, strict=True))
    errors = [abs(age - truth.age) for (age, _), truth in pairs if age is not None and truth.age is not None]
    right = [gender is truth.gender for (_, gender), truth in pairs if gender is not None]
    return Score(len(errors), _mean(errors), _mean(right))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _is_error(opinion: Opinion, truth: Truth) -> bool:
    age, gender = opinion
    if age is None or truth.age is None:
        return True
    return abs(age - truth.age) > LARGE_ERROR or gender is not truth.gender


def _opinion(prediction: Prediction | None) -> Opinion:
    return (prediction.age, prediction.gender) if prediction else (None, None)


def _fused_opinion(pre_label: PreLabel | None) -> Opinion:
    return (pre_label.fused.age, pre_label.fused.gender) if pre_label else (None, None)


def _label_opinion(label: Label | None) -> Opinion:
    return (label.age, label.gender) if label else (None, None)


def _body(row: PersonRow) -> Box:
    return records.to_box(row, "body") or Box(0, 0, 0, 0)


def _people_by_image(session: Session) -> dict[str, list[PersonRow]]:
    query = select(ImageRow.name, PersonRow).join(PersonRow, PersonRow.image_key == ImageRow.id)
    detected = query.where(PersonRow.source == PersonSource.DETECTED, PersonRow.active)
    people: dict[str, list[PersonRow]] = {}
    for name, row in session.execute(detected.order_by(PersonRow.id)):
        people.setdefault(name, []).append(row)
    return people


def _controls(session: Session) -> dict[str, Truth]:
    query = select(PersonRow.person_id, PersonRow.truth_age, PersonRow.truth_gender)
    rows = session.execute(query.where(PersonRow.truth_age.is_not(None), PersonRow.truth_gender.is_not(None)))
    return {person_id: Truth(age, gender) for person_id, age, gender in rows}


def _predictions(session: Session, keys: Iterable[int]) -> dict[str, dict[int, Prediction]]:
    wanted = set(keys)
    found: dict[str, dict[int, Prediction]] = {}
    for row in session.scalars(select(PredictionRow).order_by(PredictionRow.predictor, PredictionRow.id)):
        if row.person_key in wanted:
            found.setdefault(row.predictor, {})[row.person_key] = records.to_prediction(row)
    return found


def _pre_labels(session: Session, keys: Iterable[int]) -> dict[int, PreLabel]:
    wanted = set(keys)
    rows = session.scalars(select(PreLabelRow).where(PreLabelRow.is_current))
    return {row.person_key: records.to_pre_label(row, str(row.person_key)) for row in rows if row.person_key in wanted}


def _labels(session: Session, keys: Iterable[int]) -> dict[int, Label]:
    wanted = set(keys)
    rows = session.scalars(select(LabelRow))
    return {row.person_key: records.to_label(row, str(row.person_key)) for row in rows if row.person_key in wanted}
