"""Calibrating the ensemble anew when enough truth has arrived; the last fit stays where the new one is worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.domain import Evidence, Prediction, Truth
from annotator.ensemble import upkeep
from annotator.ensemble.cascade import only
from annotator.ensemble.codec import fit_from_dict, fit_to_dict
from annotator.ensemble.fitting import MIN_AGES, count_usable
from annotator.ensemble.model import Fit
from annotator.errors import InputError
from annotator.pipeline.cascade import first_fit, keep_first_fit
from annotator.pipeline.drift import drift_of
from annotator.pipeline.truths import Trusted, trusted_people, truth_by_id
from annotator.pipeline.version import predictors_in_use
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import EventRow, FitRow, PredictionRow
from annotator.store.upsert import upsert

CHUNK = 5000
"""People whose predictions are read at a time."""


class Outcome(StrEnum):
    """What became of the calibration: nothing to learn from, the last one serves, replaced, or tried and worse."""

    TOO_FEW = "too_few"
    KEPT = "kept"
    NEW = "new"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class RefitReport:
    """What happened, in words in ``why``; ``people`` have a true age and a prediction by now.

    The figures are those of the fit that counts from now on, out of fold and in years; ``None`` where there is none.
    """

    outcome: Outcome
    why: str
    people: int
    version: str | None = None
    mae: float | None = None
    best_predictor_mae: float | None = None
    coverage: float | None = None


def refit(store: Store, settings: Settings) -> RefitReport:
    """Fits the ensemble again if there is reason to, and stores the fit with its scores; a second run does nothing.

    The next pre-labelling fuses everybody by the new fit, from the predictions that are known. A fit that is worse than
    the last by more than chance is stored too, but not used, and tried again only when more truth has arrived.
    """
    with store.read() as session:
        versions = predictors_in_use(session)
        people = trusted_people(session, settings)
        evidence = [one for one in evidence_of(session, people, versions) if len(one.predictions) == len(versions)]
        last, tried = _current(session), _newest(session, versions)
        drifted = drift_of(session, settings)
    truth = truth_by_id(people)
    ages = count_usable(evidence, truth)
    missing = _missing(versions, ages)
    if missing:
        return _described(Outcome.TOO_FEW, missing, ages, last, versions)
    if settings.cascade_error is not None and len(versions) > 1:
        _refit_first(store, settings, evidence, truth, versions)
    reason = upkeep.reason_to_refit(tried, ages, versions)
    if reason is None and drifted.alarm and tried and ages > tried.ages:
        reason = f"the intervals held only {drifted.rate or 0:.1%} of the last {drifted.people:,} true ages"
    if reason is None:
        return _described(Outcome.KEPT, "not enough new truth for another", ages, last, versions)
    try:
        found = upkeep.refit(last, evidence, truth, seed=settings.seed)
    except InputError as error:
        return _described(Outcome.TOO_FEW, str(error), ages, last, versions)
    with store.write() as session:
        _save(session, found, reason)
        if found.accepted:
            _make_current(session, found.candidate)
    if found.accepted:
        return _described(Outcome.NEW, reason, ages, found.fit, versions)
    return _described(Outcome.WORSE, found.why, ages, found.fit, versions)


def _refit_first(
    store: Store,
    settings: Settings,
    evidence: Sequence[Evidence],
    truth: Mapping[str, Truth],
    versions: Mapping[str, str],
) -> None:
    """The same for the first predictor alone, by which a cascade decides whom to show to the others."""
    name, version = next(iter(versions.items()))
    alone = only(evidence, {name})
    with store.read() as session:
        last, tried = first_fit(session), _newest(session, {name: version})
    reason = upkeep.reason_to_refit(tried, count_usable(alone, truth), {name: version})
    if reason is None:
        return
    found = upkeep.refit(last, alone, truth, seed=settings.seed)
    with store.write() as session:
        _save(session, found, reason)
        if found.accepted:
            keep_first_fit(session, found.candidate.version)


def _described(outcome: Outcome, why: str, ages: int, fit: Fit | None, versions: Mapping[str, str]) -> RefitReport:
    if fit is None or dict(fit.predictors) != dict(versions):
        return RefitReport(outcome, why, ages)
    scores = fit.scores
    return RefitReport(outcome, why, ages, fit.version, scores.fused_mae, scores.best_predictor_mae, scores.coverage)


def _missing(versions: Mapping[str, str], ages: int) -> str | None:
    """What is lacking for a fit that the next pre-labelling could use."""
    if not versions:
        return "annotator prelabel has to run first"
    return f"a fit needs {MIN_AGES}" if ages < MIN_AGES else None


def evidence_of(session: Session, people: Sequence[Trusted], versions: Mapping[str, str]) -> Iterator[Evidence]:
    """These people with what the given versions of the predictors said of them, in the order given."""
    for start in range(0, len(people), CHUNK):
        part = people[start : start + CHUNK]
        said = _predictions(session, part, versions)
        for person in part:
            yield records.to_evidence(person.row, person.image, said[person.row.id])


def _predictions(
    session: Session, people: Sequence[Trusted], versions: Mapping[str, str]
) -> dict[int, list[Prediction]]:
    """What the predictors in use said of these people and their present boxes."""
    revisions = {person.row.id: person.row.revision for person in people}
    found: dict[int, list[Prediction]] = {key: [] for key in revisions}
    query = select(PredictionRow).where(PredictionRow.person_key.in_(list(revisions)))
    for row in session.scalars(query.order_by(PredictionRow.predictor)):
        if versions.get(row.predictor) == row.version and row.revision == revisions[row.person_key]:
            found[row.person_key].append(records.to_prediction(row))
    return found


def _current(session: Session) -> Fit | None:
    parameters = session.scalar(select(FitRow.parameters).where(FitRow.is_current))
    return _readable(parameters)


def _newest(session: Session, versions: Mapping[str, str]) -> Fit | None:
    """The last fit for these predictors that was tried, used or not."""
    rows = session.execute(select(FitRow.id, FitRow.scores).order_by(FitRow.id.desc())).all()
    found = next((key for key, scores in rows if scores.get("predictors") == dict(versions)), None)
    return _readable(session.scalar(select(FitRow.parameters).where(FitRow.id == found)) if found else None)


def _readable(parameters: Mapping[str, Any] | None) -> Fit | None:
    """A stored fit; one of another format counts as none, so that it is made again."""
    try:
        return fit_from_dict(parameters) if parameters else None
    except InputError:
        return None


def _save(session: Session, found: upkeep.Succession, reason: str) -> None:
    fit = found.candidate
    values = {
        "version": fit.version,
        "people": fit.people,
        "parameters": fit_to_dict(fit),
        "scores": {**asdict(fit.scores), "predictors": dict(fit.predictors)},
    }
    upsert(session, FitRow, [values], keys=("version",))
    session.add(EventRow(kind="fitted", subject=fit.version, data=_facts(found, reason)))


def _make_current(session: Session, fit: Fit) -> None:
    session.execute(update(FitRow).where(FitRow.is_current).values(is_current=False))
    session.execute(update(FitRow).where(FitRow.version == fit.version).values(is_current=True))


def _facts(found: upkeep.Succession, reason: str) -> dict[str, object]:
    fit = found.candidate
    return {
        "accepted": found.accepted,
        "because": reason,
        "judged": found.why,
        "people": fit.people,
        "ages": fit.ages,
        "genders": fit.genders,
        "mae": fit.scores.fused_mae,
        "best_predictor_mae": fit.scores.best_predictor_mae,
        "coverage": fit.scores.coverage,
        "predictors": dict(fit.predictors),
    }
