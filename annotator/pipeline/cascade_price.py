"""What the cascade saves and what it costs, for the report."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.ensemble.cascade import CascadeReport, cascade_report
from annotator.errors import InputError
from annotator.evaluation.report.data import CascadePrice
from annotator.pipeline.model_time import seconds_per_person
from annotator.pipeline.refit import evidence_of
from annotator.pipeline.truths import trusted_people, truth_by_id
from annotator.pipeline.version import predictors_in_use
from annotator.settings import Settings
from annotator.store.tables import PersonRow, PredictionRow

PLAYED = 4000
"""At most so many people with a truth are played through: more would not change the second decimal."""


def cascade_price(session: Session, settings: Settings) -> CascadePrice | None:
    """Who was asked, the model time that was saved, and the errors with and without; ``None`` where it is off.

    The errors are played on people whom all predictors saw and whose truth is trusted, everybody judged out of fold and
    nobody asked at random: those people were shown to all predictors only because of their draw or their truth.
    """
    versions = predictors_in_use(session)
    if settings.cascade_error is None or len(versions) < 2:
        return None
    seconds = {name: seconds_per_person(session).get(version, 0.0) for name, version in versions.items()}
    first, *others = versions
    seen = {name: _seen(session, name, version) for name, version in versions.items()}
    saved = sum((seen[first] - seen[name]) * seconds[name] for name in others)
    asked = max(seen[name] for name in others)
    return CascadePrice(
        first=first,
        above=settings.cascade_error,
        people=seen[first],
        asked=asked,
        seconds_saved=saved,
        seconds_spent=sum(seen[name] * seconds[name] for name in versions),
        played=_played(session, settings, versions, first),
    )


def _seen(session: Session, name: str, version: str) -> int:
    query = (
        select(func.count())
        .select_from(PredictionRow)
        .join(PersonRow, PersonRow.id == PredictionRow.person_key)
        .where(PredictionRow.predictor == name, PredictionRow.version == version, PersonRow.active)
    )
    return session.scalar(query) or 0


def _played(session: Session, settings: Settings, versions: Mapping[str, str], first: str) -> CascadeReport | None:
    people = trusted_people(session, settings)[:PLAYED]
    evidence = [one for one in evidence_of(session, people, versions) if len(one.predictions) == len(versions)]
    try:
        return cascade_report(
            evidence,
            truth_by_id(people),
            cheap={first},
            above=settings.cascade_error or 0.0,
            seconds={},
            seed=settings.seed,
            paired_rate=0.0,
        )
    except InputError:  # too few truths to play with, which the page says
        return None
