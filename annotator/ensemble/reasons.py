"""What is worth telling a reviewer about a person: facts of the evidence, each a column of flags."""

from __future__ import annotations

import numpy as np

from annotator.domain import ReviewReason
from annotator.ensemble.evidence import Bools, EvidenceTable, Floats

AGE_GAP_SDS = 1.645
"""Two ages disagree when they differ by more than this many standard deviations of their difference (one in ten)."""
AGE_GAP_YEARS = 5.0
"""... and by more than this many years: the benchmark's own tolerance (CS@5)."""
SURE_OF_GENDER = 0.9
"""Below this probability of the likelier gender the confidence counts as low."""
SURE_OF_FORMAT = 0.5
"""A language model that would rather not answer in the asked format is guessing."""
WIDE_INTERVAL_YEARS = 20.0
"""A 90 % interval wider than this spans two generations of labels."""
SMALL_FACE_PIXELS = 24.0
SMALL_BODY_PIXELS = 64.0
"""Heights below which little but the outline is left after resizing to the models' input."""
MUCH_OVERLAP = 0.5
"""Share of the body hidden behind somebody else's box."""


def find_reasons(
    table: EvidenceTable, age_gap_sd: Floats, width: Floats, female_probability: Floats
) -> list[tuple[ReviewReason, ...]]:
    """The reasons of each person, in the order of the enumeration.

    Args:
        table: the evidence.
        age_gap_sd: ``(n,)`` standard deviation, in years, of the difference between two predicted ages.
        width: ``(n,)`` width of the 90 % interval in years.
        female_probability: ``(n,)`` fused P(female), NaN where unknown.
    """
    flags = {
        ReviewReason.AGE_DISAGREEMENT: age_gap(table) > np.maximum(AGE_GAP_YEARS, AGE_GAP_SDS * age_gap_sd),
        ReviewReason.GENDER_DISAGREEMENT: _genders_differ(table),
        ReviewReason.LOW_CONFIDENCE: _unsure(table, female_probability),
        ReviewReason.WIDE_INTERVAL: width > WIDE_INTERVAL_YEARS,
        ReviewReason.REFUSED: np.any(table.refused, axis=1) | ~table.answers,
        ReviewReason.NO_FACE: table.no_face,
        ReviewReason.SMALL_CROP: _small(table),
        ReviewReason.OVERLAP: table.overlap > MUCH_OVERLAP,
    }
    return tuples_of(flags, len(table))


def tuples_of(flags: dict[ReviewReason, Bools], count: int) -> list[tuple[ReviewReason, ...]]:
    """Columns of flags as one tuple of reasons per person; equal combinations share one tuple."""
    codes = np.zeros(count, dtype=np.int64)
    for bit, flag in enumerate(flags.values()):
        codes |= flag.astype(np.int64) << bit
    known = {
        code: tuple(reason for bit, reason in enumerate(flags) if code >> bit & 1) for code in np.unique(codes).tolist()
    }
    return [known[code] for code in codes.tolist()]


def age_gap(table: EvidenceTable) -> Floats:
    """``(n,)``: largest minus smallest predicted age in years, 0 where fewer than two are there."""
    present = np.isfinite(table.age)
    if table.age.shape[1] == 0:
        return np.zeros(len(table))
    high = np.where(present, table.age, -np.inf).max(axis=1)
    low = np.where(present, table.age, np.inf).min(axis=1)
    gap: Floats = np.where(present.sum(axis=1) >= 2, high - low, 0.0)
    return gap


def _genders_differ(table: EvidenceTable) -> Bools:
    differ: Bools = np.any(table.female_logit >= 0, axis=1) & np.any(table.female_logit < 0, axis=1)
    return differ


def _unsure(table: EvidenceTable, female_probability: Floats) -> Bools:
    gender = np.maximum(female_probability, 1 - female_probability) < SURE_OF_GENDER
    unsure: Bools = gender | np.any(table.format_probability < SURE_OF_FORMAT, axis=1)
    return unsure


def _small(table: EvidenceTable) -> Bools:
    """A small face, or a small body where there is no face to see."""
    small: Bools = (table.face_height < SMALL_FACE_PIXELS) | (table.no_face & (table.body_height < SMALL_BODY_PIXELS))
    return small
