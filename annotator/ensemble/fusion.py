"""From evidence to one fused opinion per person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator.domain import Evidence, Fused
from annotator.ensemble.columns import Columns
from annotator.ensemble.evidence import EvidenceTable, Floats, evidence_table
from annotator.ensemble.model import Fit, apply
from annotator.ensemble.published import UNCALIBRATED
from annotator.ensemble.reasons import find_reasons
from annotator.ensemble.uncalibrated import fuse_uncalibrated


def fuse(people: Sequence[Evidence], fit: Fit | None = None) -> list[Fused]:
    """Fuse each person's predictions into one age, gender, interval and expected error, in the order given.

    A predictor that refused, failed or saw no evidence drops out for that person; where none is left, the values are
    ``None``. Without a fit the published errors of the predictors stand in, and the result says ``uncalibrated``; so it
    does for a person of whom only predictors spoke that the fit does not know, or knows in another version.
    """
    if fit is None:
        table = evidence_table(people)
        return as_fused(table, fuse_uncalibrated(table), UNCALIBRATED)
    table = evidence_table(people, fit.predictors)
    fused = as_fused(table, apply(fit.model, table), fit.version)
    strangers = np.flatnonzero(~table.answers).tolist()
    for row, person in zip(strangers, fuse([people[row] for row in strangers]), strict=True):
        fused[row] = person if person.age is not None or person.female_probability is not None else fused[row]
    return fused


def as_fused(table: EvidenceTable, columns: Columns, fit: str) -> list[Fused]:
    """Columns as domain objects, with the reasons that the evidence gives."""
    width = columns.age_high - columns.age_low
    reasons = find_reasons(table, columns.age_gap_sd, width, columns.female_probability)
    return [
        Fused(person_id, age, sd, low, high, female, error, large, why, fit)
        for person_id, age, sd, low, high, female, error, large, why in zip(
            table.person_ids,
            _optional(columns.age),
            _optional(columns.age_sd),
            _optional(columns.age_low),
            _optional(columns.age_high),
            _optional(columns.female_probability),
            columns.expected_error.tolist(),
            columns.large_error_probability.tolist(),
            reasons,
            strict=True,
        )
    ]


def _optional(column: Floats) -> list[float | None]:
    return [None if missing else value for value, missing in zip(column.tolist(), np.isnan(column), strict=True)]
