"""Whether a trained model may take the place of the one that is used: only if it is not worse on held-out people."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator.errors import InputError
from annotator.evaluation.bootstrap import Comparison, paired_bootstrap
from annotator.evaluation.metrics import GENDER_YEARS, balance
from annotator.export.manifest import read_manifest
from annotator.export.reading import checked_manifest, image_splits
from annotator.images.decode import decode
from annotator.pipeline.predict import predictions
from annotator.pipeline.version import PROMOTED
from annotator.predictors.base import PersonView, Predictor
from annotator.predictors.registry import check_predictor, open_predictor
from annotator.predictors.trained import Trained, find_trained, in_use, keep_trained, read_trained
from annotator.predictors.verify import verify
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import EventRow
from annotator.training.people import KnownPerson, read_dataset

MIN_PEOPLE = 30
"""With fewer held-out people a model that is worse by years would pass."""

HELD_OUT = ("test", "val")
"""The first of these splits that a dataset has is held out."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Losses:
    """Of people in one order: |error| in years, and 1 for a wrong gender; NaN where there is no answer.

    ``image`` is the same number for people on one image.
    """

    age: Floats
    gender: Floats
    image: Ints


@dataclass(frozen=True, slots=True)
class Promotion:
    """What came of it: differences of the losses, new minus old, negative where the new model is better.

    ``unknown`` are the models of which it cannot be told whether they learnt from the held-out people.
    """

    name: str
    incumbent: str
    people: int
    age: Comparison
    gender: Comparison
    scores: dict[str, float]
    before: dict[str, float]
    accepted: bool
    why: str
    unknown: tuple[str, ...] = ()


def register(store: Store, settings: Settings, model: Trained) -> Trained:
    """List a trained model with its dataset and scores; registering the same one again changes nothing but these.

    Raises:
        UnknownName: what it would replace is no predictor.
        WeightsMissing, WeightsInvalid, InputError: there are no weights at its place, or they do not load.
    """
    check_predictor(model.replaces, settings)
    place = settings.path(Path(model.weights))
    if model.family == "llava" and place.is_file():
        raise InputError(f"{place} is a file; a LLaVA is named by its folder: llava:{place.parent}")
    model = replace(model, sha256=verify(f"{model.family}:{place}", settings).sha256)
    keep_trained(settings, model)
    facts = {"name": model.name, "dataset": model.dataset, "replaces": model.replaces, "scores": dict(model.scores)}
    with store.write() as session:
        session.add(EventRow(kind="model_registered", subject=model.sha256, data=facts))
    return model


def promote(store: Store, settings: Settings, name: str, dataset: Path) -> Promotion:
    """Compare a trained model with the one in its place on ``dataset``'s held-out people; use it if it is not worse.

    It is worse where the 95 % interval of the paired difference, of the age's error or of the gender's, lies above
    zero, or where both differences together do (:func:`~annotator.evaluation.metrics.balance`): few people show no
    interval above zero, and a chain of models that are each a little worse must not come to be used. Then nothing
    changes. The next `annotator prelabel`, and the next batch of a night, uses a promoted model.

    Raises:
        UnknownName: there is no trained model of that name.
        InputError: there are too few held-out people, one of the models learnt from one of them, or the model is in
            use already.
    """
    model = find_trained(name, settings)
    split, people = held_out(dataset)
    (incumbent,) = in_use([model.replaces], settings)
    if incumbent == name:
        raise InputError(f"'{name}' is in use already")
    known = read_trained(settings)
    unknown = _refuse_seen([known[one] for one in (name, incumbent) if one in known], dataset, split)
    new, old = (losses(open_predictor(one, settings).get(), people) for one in (name, incumbent))
    # somebody without an answer is no reason to prefer the model that gives none
    age, gender = (
        paired_bootstrap(_worst(ours, theirs), _worst(theirs, ours), image=new.image, seed=settings.seed)
        for ours, theirs in ((new.age, old.age), (new.gender, old.gender))
    )
    worse = [what for what, one in (("age", age), ("gender", gender)) if one.difference.low > 0]
    together = balance(age.difference.value, gender.difference.value)
    why = "not worse in age or gender"
    if worse:
        why = f"worse in {' and '.join(worse)}"
    elif together > 0:
        share = 1 / GENDER_YEARS
        why = f"worse on balance by {together:.2g} years, where {share:.0%} more wrong genders are a year"
    accepted = not worse and together <= 0
    found = Promotion(name, incumbent, len(people), age, gender, _scores(new), _scores(old), accepted, why, unknown)
    if found.accepted:
        keep_trained(settings, replace(model, scores=found.scores, promoted=True))
    facts = {
        "name": name,
        "incumbent": incumbent,
        "people": len(people),
        "scores": found.scores,
        "before": found.before,
    }
    kind = PROMOTED if found.accepted else "model_refused"
    with store.write() as session:
        session.add(EventRow(kind=kind, subject=model.sha256, data={**facts, "why": why}))
    return found


def held_out(dataset: Path) -> tuple[str, list[KnownPerson]]:
    """The split that a dataset holds out for comparisons of models, and its people.

    Raises:
        InputError: there are fewer than `MIN_PEOPLE`.
    """
    splits = read_dataset(dataset).splits
    split = next((name for name in HELD_OUT if splits.get(name)), HELD_OUT[0])
    people = splits.get(split, [])
    if len(people) < MIN_PEOPLE:
        raise InputError(
            f"{dataset} holds out {len(people)} people (split test, else val); a comparison needs {MIN_PEOPLE} or more"
        )
    return split, people


def _refuse_seen(models: Sequence[Trained], dataset: Path, split: str) -> tuple[str, ...]:
    """The names of the models whose own dataset is gone.

    Raises:
        InputError: a model learnt from an image that is held out here.
    """
    identity = checked_manifest(dataset)["id"]
    held = {sha256 for sha256, of in image_splits(dataset) if of == split}
    unknown = []
    for model in models:
        source = Path(model.learnt_from)
        if model.dataset == identity:  # its own splits hold these people out
            continue
        manifest = read_manifest(source) if model.learnt_from else None
        if manifest is None or manifest["id"] != model.dataset:
            unknown.append(model.name)
            continue
        seen = held & {sha256 for sha256, of in image_splits(source) if of == "train"}
        if seen:
            raise InputError(
                f"'{model.name}' learnt from {len(seen)} of the {len(held)} images that {dataset} holds out, so its "
                f"errors there say nothing; export it again with --parent {source}, which keeps everybody's split"
            )
    return tuple(unknown)


def losses(predictor: Predictor, people: Sequence[KnownPerson]) -> Losses:
    """What a predictor's answers about known people cost."""
    ages, genders = [], []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(people), 64):
            part = people[start : start + 64]
            answers = [
                one for batch in predictions(predictor, [_view(person) for person in part], pool) for one in batch
            ]
            for person, answer in zip(part, answers, strict=True):
                known = answer.age is not None and person.age is not None
                ages.append(abs((answer.age or 0.0) - (person.age or 0.0)) if known else np.nan)
                female = answer.female_probability
                wrong = np.nan if female is None or person.female is None else float((female >= 0.5) != person.female)
                genders.append(wrong)
    _, image = np.unique([str(person.image) for person in people], return_inverse=True)
    return Losses(np.array(ages), np.array(genders), image)


def _view(person: KnownPerson) -> PersonView:
    others = (*person.bodies, *person.faces)
    pixels = decode(person.image.read_bytes()).pixels
    return PersonView("", pixels, person.body, person.face, others, person.faces)


def _worst(own: Floats, other: Floats) -> Floats:
    """Losses with silence counted like the largest loss where the other one answered."""
    largest = np.nanmax(np.concatenate([own, other, [0.0]]))
    return np.where(np.isnan(own) & ~np.isnan(other), largest, own)


def _scores(found: Losses) -> dict[str, float]:
    return {"mae": float(np.nanmean(found.age)), "gender_accuracy": 1.0 - float(np.nanmean(found.gender))}
