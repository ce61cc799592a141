"""Learning a fit from people with a known truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotator.domain import Evidence, Fused, Gender, Truth
from annotator.ensemble.codec import UNNAMED, named
from annotator.ensemble.crossfit import Training, choose_folds, cross_fit
from annotator.ensemble.evidence import USABLE, evidence_table
from annotator.ensemble.fusion import as_fused, fuse
from annotator.ensemble.hashing import short_hashes
from annotator.ensemble.model import Fit
from annotator.ensemble.scores import score_fit
from annotator.errors import InputError

MIN_AGES = 50
"""Fewer known ages than this say less than the published errors do."""


def fit(people: Sequence[Evidence], truth: Mapping[str, Truth], *, seed: int) -> Fit:
    """Calibrate the ensemble on the people of whom ``truth`` says something.

    The truth should come from people drawn at random (the audit, control tasks): a fit on flagged people alone takes
    the hard ones for the rule.

    Args:
        people: evidence; those without truth are ignored.
        truth: by person id.
        seed: of the folds and of scikit-learn.

    Raises:
        InputError: fewer than `MIN_AGES` people have an age and a prediction, they are all on one image, or a predictor
            comes in several versions.
    """
    return cross_fuse(with_truth(people, truth), truth, seed=seed)[0]


def cross_fuse(people: Sequence[Evidence], truth: Mapping[str, Truth], *, seed: int) -> tuple[Fit, list[Fused]]:
    """Fit, and fuse everybody: people with a truth by models that saw neither them nor anyone on their image.

    Arguments and errors are those of `fit`; the fused people come in the order given.
    """
    known = sorted(with_truth(people, truth), key=lambda person: person.person_id)
    versions = predictor_versions(known)
    data = _training(known, versions, truth, seed)
    model, columns = cross_fit(data, seed)
    result = named(
        Fit(
            version=UNNAMED,
            seed=seed,
            predictors=versions,
            people=len(known),
            groups=len(set(data.table.groups)),
            ages=int(np.isfinite(data.age).sum()),
            genders=int(np.isfinite(data.female).sum()),
            scores=score_fit(data, model, columns),
            model=model,
            seen=np.sort(short_hashes(data.table.person_ids)),
        )
    )
    by_id = {person.person_id: person for person in as_fused(data.table, columns, result.version)}
    others = [person for person in people if person.person_id not in by_id]
    by_id.update((person.person_id, person) for person in fuse(others, result))
    return result, [by_id[person.person_id] for person in people]


def with_truth(people: Sequence[Evidence], truth: Mapping[str, Truth]) -> list[Evidence]:
    """The people of whom something is known."""
    return [person for person in people if not truth.get(person.person_id, Truth()).is_empty]


def count_usable(people: Sequence[Evidence], truth: Mapping[str, Truth]) -> int:
    """How many people have both a true age and a predicted one."""
    return sum(
        truth.get(person.person_id, Truth()).age is not None
        and any(p.age is not None and p.status in USABLE for p in person.predictions)
        for person in people
    )


def predictor_versions(people: Sequence[Evidence]) -> dict[str, str]:
    """The version of each predictor, by name.

    Raises:
        InputError: a predictor comes in two versions; their errors are not one thing.
    """
    versions: dict[str, str] = {}
    for person in people:
        for prediction in person.predictions:
            known = versions.setdefault(prediction.predictor, prediction.version)
            if known != prediction.version:
                raise InputError(
                    f"predictor '{prediction.predictor}' comes in versions '{known}' and '{prediction.version}'; "
                    "fit on the predictions of one of them"
                )
    return dict(sorted(versions.items()))


def _training(
    known: Sequence[Evidence], versions: Mapping[str, str], truth: Mapping[str, Truth], seed: int
) -> Training:
    truths = [truth[person.person_id] for person in known]
    table = evidence_table(known, versions)
    age = np.array([one.age for one in truths], dtype=np.float64)
    usable = count_usable(known, truth)
    if usable < MIN_AGES:
        raise InputError(f"{usable} people have a true age and a prediction; a fit needs at least {MIN_AGES}")
    female = np.array(
        [np.nan if one.gender is None else one.gender is Gender.FEMALE for one in truths], dtype=np.float64
    )
    return Training(table, age, female, choose_folds(table.groups, seed))
