"""What the ensemble would say of people that its fit learned from, had it not: for honest figures in the report."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import Fused
from annotator.ensemble.fitting import cross_fuse
from annotator.errors import InputError
from annotator.pipeline.refit import evidence_of
from annotator.pipeline.truths import trusted_people, truth_by_id
from annotator.pipeline.version import predictors_in_use
from annotator.settings import Settings
from annotator.store.tables import FitRow

MOST = 5000
"""With more truths than this a person's own weighs next to nothing: the pre-label stands as it is."""


def held_out_opinions(session: Session, settings: Settings) -> dict[int, Fused]:
    """By person key, the opinion of models that saw neither the person nor anyone on the image.

    Empty where nothing is calibrated, and where there are more than `MOST` truths.
    """
    if session.scalar(select(FitRow.id).where(FitRow.is_current)) is None:
        return {}
    versions, people = predictors_in_use(session), trusted_people(session, settings)
    if len(people) > MOST:
        return {}
    evidence = list(evidence_of(session, people, versions))
    whole = [place for place, one in enumerate(evidence) if len(one.predictions) == len(versions)]
    try:
        _, fused = cross_fuse([evidence[place] for place in whole], truth_by_id(people), seed=settings.seed)
    except InputError:  # fewer truths than the fit once had: it may well stand on its own
        return {}
    return {people[place].row.id: opinion for place, opinion in zip(whole, fused, strict=True)}
