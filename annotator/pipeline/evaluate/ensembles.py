"""The ensemble over a benchmark: fused by published errors, or cross-fitted on the benchmark's own truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from annotator.domain import Evidence, Fused, Gender, Prediction, PredictionStatus, Truth
from annotator.ensemble.fitting import cross_fuse
from annotator.ensemble.fusion import fuse
from annotator.evaluation.answers import STATES, UNREADABLE, Answers, Truths, empty_answers

ENSEMBLE = "ensemble"
FITTED = "ensemble, cross-fitted"
CHUNK = 4096
"""People that are objects at a time; the rest are columns."""

OK = STATES.index(PredictionStatus.OK.value)
NOTHING = STATES.index(PredictionStatus.NO_EVIDENCE.value)


def uncalibrated(truths: Truths, members: Sequence[Answers]) -> Answers:
    """Fused by the errors that were published for the members, no truth of the benchmark used."""
    result = _blank(ENSEMBLE, members, len(truths))
    for start in range(0, len(truths), CHUNK):
        rows = range(start, min(start + CHUNK, len(truths)))
        _fill(result, rows, fuse(list(_evidence(truths, members, rows))))
    return result


def cross_fitted(truths: Truths, members: Sequence[Answers], seed: int) -> Answers:
    """Fitted on the benchmark's truth, everybody fused by a fit that saw neither them nor anyone on their image.

    Raises:
        InputError: too few people have a true age and a prediction.
    """
    everybody = range(len(truths))
    known = {truths.ids[row]: _truth(truths, row) for row in everybody}
    fit, fused = cross_fuse(list(_evidence(truths, members, everybody)), known, seed=seed)
    result = _blank(FITTED, members, len(truths), fit.version)
    _fill(result, everybody, fused)
    return result


def _blank(name: str, members: Sequence[Answers], n: int, version: str = "uncalibrated") -> Answers:
    sees = "+".join(sorted({member.sees for member in members}, key=lambda sees: ("body" not in sees, sees)))
    return empty_answers(name, members[0].inputs, sees if "+" not in sees else members[0].inputs, version, n)


def _fill(result: Answers, rows: range, fused: Sequence[Fused]) -> None:
    for row, one in zip(rows, fused, strict=True):
        nothing = one.age is None and one.female_probability is None
        result.state[row] = NOTHING if nothing else OK
        result.age[row] = np.nan if one.age is None else one.age
        result.age_sd[row] = np.nan if one.age_sd is None else one.age_sd
        result.female[row] = np.nan if one.female_probability is None else one.female_probability
        result.doubt[row] = one.expected_error


def _evidence(truths: Truths, members: Sequence[Answers], rows: range) -> Iterator[Evidence]:
    for row in rows:
        predictions = tuple(_prediction(member, row) for member in members if STATES[member.state[row]] != UNREADABLE)
        face, body = (_known(heights[row]) for heights in (truths.face_height, truths.body_height))
        yield Evidence(truths.ids[row], str(truths.image[row]), predictions, face, body)


def _prediction(member: Answers, row: int) -> Prediction:
    return Prediction(
        member.predictor,
        member.version,
        PredictionStatus(STATES[member.state[row]]),
        _known(member.age[row]),
        _known(member.age_sd[row]),
        _known(member.female[row]),
        _known(member.format_probability[row]),
    )


def _truth(truths: Truths, row: int) -> Truth:
    gender = {1: Gender.FEMALE, 0: Gender.MALE}.get(int(truths.gender[row]))
    return Truth(_known(truths.age[row]), gender)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
