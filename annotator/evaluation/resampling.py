"""Means and standard errors of people drawn again with replacement, image by image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from annotator.errors import InputError
from annotator.evaluation.metrics import Floats, Ints

LEVEL = 0.95
CHUNK_CELLS = 200_000
"""Resampled counts that are in memory at a time; they should stay in a core's cache."""
NO_SPREAD = 1e-12
"""A resample whose squares are spread by less than this part of them drew equal values."""


@dataclass(frozen=True, slots=True)
class Column:
    """Known ``values`` of people on ``images`` images: their mean, its standard error, and both of each resample.

    ``errors`` is NaN where a resample has no spread.
    """

    values: Floats
    images: int
    mean: float
    error: float
    means: Floats
    errors: Floats

    @property
    def n(self) -> int:
        """How many values there are."""
        return len(self.values)

    @property
    def independent(self) -> float:
        """How many people, each on an image of their own, would give this standard error; at most ``n``.

        The effective sample size of Korn and Graubard ("Confidence intervals for proportions with small expected
        number of positive counts estimated from survey data", 1998).
        """
        alone = float(self.values.var(ddof=1)) / self.n if self.n > 1 else 0.0
        return self.n * min(1.0, alone / self.error**2) if self.error > 0 else float(self.n)

    @property
    def student(self) -> float:
        """The size that 5 % of Student's t pass."""
        return float(stats.t.ppf((1 + LEVEL) / 2, self.images - 1))

    def unlikely(self, pivots: Floats) -> float:
        """The size that 5 % of the studentised ``pivots`` pass, at least Student's."""
        return max(self.student, float(np.quantile(_sizes(pivots), LEVEL, method="higher")))

    def p_value(self, pivots: Floats, ratio: float) -> float:
        """Share of the ``pivots`` at least as far from zero as ``ratio``, at least Student's and one resample."""
        student = 2 * float(stats.t.sf(abs(ratio), self.images - 1))
        return max(student, float(np.mean(_sizes(pivots) >= abs(ratio))), 1 / len(pivots))


def resampled_columns(values: Floats, image: Ints | None, resamples: int, seed: int) -> list[Column]:
    """The columns of ``values``, ``(n, m)``, from the same resampled rows; a NaN is left out of its own column only.

    ``image``, ``(n,)``, is the same number for people on one image; without it each has an image of their own.

    Raises:
        InputError: ``values`` is not two-dimensional, or ``resamples`` is not positive.
    """
    if values.ndim != 2 or resamples < 1:
        raise InputError(f"expected a table and some resamples, got shape {values.shape} and {resamples}")
    known = ~np.isnan(values)
    sums, counts = _by_image(np.where(known, values, 0.0), known.astype(np.float64), image)
    images, people = (counts > 0).sum(axis=0), np.maximum(counts.sum(axis=0), 1)
    mean = sums.sum(axis=0) / people
    residuals = sums - mean * counts
    stretch = np.sqrt(images / np.maximum(images - 1, 1))
    error = np.sqrt((residuals**2).sum(axis=0)) / people * stretch
    offsets, errors = _draw(residuals, counts, resamples, np.random.default_rng(seed))
    return [
        Column(
            values[known[:, j], j],
            int(images[j]),
            float(mean[j]),
            float(error[j]),
            mean[j] + offsets[:, j],
            errors[:, j] * stretch[j],
        )
        for j in range(values.shape[1])
    ]


def _by_image(sums: Floats, counts: Floats, image: Ints | None) -> tuple[Floats, Floats]:
    """Rows of one image added up, ``(images, m)`` each."""
    if image is None or len(image) == 0:
        return sums, counts
    order = np.argsort(image, kind="stable")
    starts = np.flatnonzero(np.diff(image[order], prepend=image[order[0]] - 1))
    if len(starts) == len(image):
        return sums, counts
    return np.add.reduceat(sums[order], starts), np.add.reduceat(counts[order], starts)


def _draw(residuals: Floats, counts: Floats, resamples: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """How far each resample's mean lies from the mean, and its standard error, ``(resamples, m)`` each.

    The mean is a ratio, sum of values by number of people, and its error the linearised one of a ratio.
    """
    images, width = residuals.shape
    parts = [residuals, residuals**2, counts]
    crowded = bool((counts > 1).any())
    if crowded:
        parts += [residuals * counts, counts**2]
    table = np.concatenate(parts, axis=1)
    sums = np.full((resamples, table.shape[1]), np.nan)
    start = 0
    for times in _times_drawn(images, resamples, random):
        sums[start : start + len(times)] = times @ table
        start += len(times)
    first, squares, people, mixed, counted = (
        np.split(sums, 5, axis=1) if crowded else [*np.split(sums, 3, axis=1), sums[:, :width], sums[:, -width:]]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = first / people
        spread = squares - 2 * offset * mixed + offset**2 * counted
        return offset, np.sqrt(np.where(spread > NO_SPREAD * squares, spread, np.nan)) / people


def _times_drawn(images: int, resamples: int, random: np.random.Generator) -> Iterator[Floats]:
    """How often each resample holds each image, ``(resamples, images)`` in chunks of rows; none without images."""
    if images == 0:
        return
    size = max(1, CHUNK_CELLS // images)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        picks = random.integers(images, size=(rows, images)) + np.arange(rows)[:, None] * images
        yield np.bincount(picks.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def _sizes(pivots: Floats) -> Floats:
    """Without the resamples that had no spread; zero where none had any."""
    known = np.abs(pivots[~np.isnan(pivots)])
    return known if len(known) else np.zeros(1)
