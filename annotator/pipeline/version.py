"""The ensemble's version: one text that names everything a pre-label depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.detection.given import GIVEN_VERSION
from annotator.ensemble.codec import fit_from_dict
from annotator.ensemble.model import Fit
from annotator.ensemble.published import UNCALIBRATED
from annotator.errors import AnnotatorError
from annotator.pipeline.cascade import FIRST_FIT, Cascade, cascade_in_force
from annotator.predictors.registry import ModelSet, open_predictor
from annotator.predictors.trained import read_trained
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import EventRow, FitRow, MetaRow
from annotator.store.upsert import upsert

IN_USE = "prelabel:predictors"
"""Key of the ``meta`` row that holds the predictors of the last pre-labelling."""
PROMOTED = "model_promoted"
"""Kind of the event that a trained model (``name``) took the place of another (``incumbent``)."""


def ensemble_version(models: ModelSet, fit: Fit | None = None, cascade: Cascade | None = None) -> str:
    """``annotator-<profile>-<12 hex>``: sha256 over detector, predictors (in any order), calibration and cascade.

    It is stored with every pre-label and is Label Studio's ``model_version``.
    """
    parts = {
        "detector": detector_version(models),
        "predictors": sorted(model.version for model in models.predictors),
        "fit": fit.version if fit else UNCALIBRATED,
        **({"cascade": cascade.parts} if cascade else {}),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"annotator-{models.profile}-{digest[:12]}"


def version_in_force(store: Store, settings: Settings, models: ModelSet) -> str:
    """The version of what would be pre-labelled now."""
    return ensemble_version(models, current_fit(store, models), cascade_in_force(store, settings, models))


def was_in_force(store: Store, settings: Settings, models: ModelSet, version: str) -> bool:
    """Whether ``version`` is what these models, or those before a promotion, made by an earlier calibration or none."""
    with store.read() as session:
        fits = [None, *(fit_from_dict(row) for row in session.scalars(select(FitRow.parameters)))]
    return any(_could_make(store, settings, one, fits, version) for one in _with_predecessors(store, settings, models))


def _could_make(store: Store, settings: Settings, models: ModelSet, fits: Sequence[Fit | None], version: str) -> bool:
    cascade = cascade_in_force(store, settings, models)
    cascades = [replace(cascade, fit=fit) for fit in fits] if cascade else [None]
    return any(ensemble_version(models, fit, one) == version for fit in fits for one in cascades)


def _with_predecessors(store: Store, settings: Settings, models: ModelSet) -> Iterator[ModelSet]:
    """These models, those before the last promotion, those before the one before it, while their weights are here."""
    yield models
    subjects = [model.sha256 for model in read_trained(settings).values()]
    mine = (EventRow.kind == PROMOTED) & EventRow.subject.in_(subjects)
    with store.read() as session:
        promotions = session.scalars(select(EventRow.data).where(mine).order_by(EventRow.id.desc())).all()
    for told in promotions:
        if told["name"] not in [model.name for model in models.predictors]:
            continue
        try:
            before = open_predictor(told["incumbent"], settings)
        except AnnotatorError:
            return  # what is gone cannot say which version it was
        kept = tuple(before if model.name == told["name"] else model for model in models.predictors)
        models = replace(models, predictors=kept)
        yield models


def detector_version(models: ModelSet) -> str:
    """The version that detected people are stored under."""
    return models.detector.version if models.detector else GIVEN_VERSION


def current_fit(store: Store, models: ModelSet) -> Fit | None:
    """The calibration that counts; ``None`` where there is none, or none for these versions of the predictors."""
    with store.read() as session:
        parameters = session.scalar(select(FitRow.parameters).where(FitRow.is_current))
    fit = fit_from_dict(parameters) if parameters else None
    wanted = {model.name: model.version for model in models.predictors}
    return fit if fit and dict(fit.predictors) == wanted else None


def fits_in_force(store: Store) -> tuple[str | None, str | None]:
    """The names of the calibrations that count, of all and of a cascade's first; cheap enough to ask at every call."""
    with store.read() as session:
        everybody = session.scalar(select(FitRow.version).where(FitRow.is_current))
        return everybody, session.scalar(select(MetaRow.value).where(MetaRow.key == FIRST_FIT))


def remember_predictors(session: Session, models: ModelSet) -> None:
    """Keep which predictors are in use, in their order, for those who work without opening models."""
    versions = {model.name: model.version for model in models.predictors}
    upsert(session, MetaRow, [{"key": IN_USE, "value": json.dumps(versions)}], keys=("key",))


def predictors_in_use(session: Session) -> dict[str, str]:
    """The version of each predictor of the last pre-labelling, by name; empty before the first."""
    found = session.scalar(select(MetaRow.value).where(MetaRow.key == IN_USE))
    versions: dict[str, str] = json.loads(found) if found else {}
    return versions
