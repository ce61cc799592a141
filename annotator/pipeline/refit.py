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
from annotator.ensemble.codec import fit_from_dict, fit_to_dict
from annotator.ensemble.fitting import MIN_AGES, count_usable, predictor_versions
from annotator.ensemble.model import Fit
from annotator.errors import InputError
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
        evidence = list(evidence_of(session, people, versions))
        last, tried = _current(session), _newest(session)
        drifted = drift_of(session, settings)
    truth = truth_by_id(people)
    ages = count_usable(evidence, truth)
    missing = _missing(evidence, versions, ages)
    if missing:
        return _described(Outcome.TOO_FEW, missing, ages, last, versions)
    reason = upkeep.reason_to_refit(tried, ages, versions)
    if reason is None and drifted.alarm and tried and ages > tried.ages:
        reason = f"the intervals held only {drifted.rate or 0:.1%} of the last {drifted.people:,} true ages"
    if reason is None:
        return _described(Outcome.KEPT, "not enough new truth for another", ages, last, versions)
    return _tried(store, settings, last, evidence, truth, reason, ages)


def _tried(
    store: Store,
    settings: Settings,
    last: Fit | None,
    evidence: Sequence[Evidence],
    truth: Mapping[str, Truth],
    reason: str,
    ages: int,
) -> RefitReport:
    try:
        found = upkeep.refit(last, evidence, truth, seed=settings.seed)
    except InputError as error:
        return RefitReport(Outcome.TOO_FEW, str(error), ages)
    with store.write() as session:
        _save(session, found, reason)
    versions = found.candidate.predictors
    if found.accepted:
        return _described(Outcome.NEW, reason, ages, found.fit, versions)
    return _described(Outcome.WORSE, found.why, ages, found.fit, versions)


def _described(outcome: Outcome, why: str, ages: int, fit: Fit | None, versions: Mapping[str, str]) -> RefitReport:
    if fit is None or dict(fit.predictors) != dict(versions):
        return RefitReport(outcome, why, ages)
    scores = fit.scores
    return RefitReport(outcome, why, ages, fit.version, scores.fused_mae, scores.best_predictor_mae, scores.coverage)


def _missing(evidence: Sequence[Evidence], versions: Mapping[str, str], ages: int) -> str | None:
    """What the evidence lacks for a fit that the next pre-labelling could use."""
    if not versions:
        return "annotator prelabel has to run first"
    if ages < MIN_AGES:
        return f"a fit needs {MIN_AGES}"
    absent = sorted(set(versions) - set(predictor_versions(evidence)))
    return f"{', '.join(absent)} has not seen them" if absent else None


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


def _newest(session: Session) -> Fit | None:
    """The last fit that was tried, used or not."""
    parameters = session.scalar(select(FitRow.parameters).order_by(FitRow.id.desc()).limit(1))
    return _readable(parameters)


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
        "is_current": False,
        "people": fit.people,
        "parameters": fit_to_dict(fit),
        "scores": asdict(fit.scores),
    }
    if found.accepted:
        session.execute(update(FitRow).where(FitRow.is_current).values(is_current=False))
        upsert(session, FitRow, [values], keys=("version",))
        session.execute(update(FitRow).where(FitRow.version == fit.version).values(is_current=True))
    else:
        upsert(session, FitRow, [values], keys=("version",))
    session.add(EventRow(kind="fitted", subject=fit.version, data=_facts(found, reason)))


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
