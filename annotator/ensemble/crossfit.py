"""The numbers of a fit: three stages learned out of fold, so that nobody is judged by a model that saw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from annotator.ensemble.calibration import Calibrated, calibrate, learn_calibration
from annotator.ensemble.columns import Columns, gather, take
from annotator.ensemble.conformal import learn_conformal
from annotator.ensemble.difficulty import error_ratio, expected_error, features, gamma_deviance
from annotator.ensemble.evidence import Bools, EvidenceTable, Floats
from annotator.ensemble.hashing import uniform_hash
from annotator.ensemble.model import Model, apply
from annotator.ensemble.trees import Ints, Trees, learn_ratio
from annotator.errors import InputError

FOLDS = 5
TREE_COUNTS = (0, 10, 20, 40, 60, 80, 120)
"""Sizes of the expected-error model to choose from, by out-of-fold gamma deviance; 0 is the fused sd alone."""


@dataclass(frozen=True, slots=True)
class Training:
    """``n`` people with a truth: evidence, ``(n,)`` age in years, ``(n,)`` 1 for female and 0 for male, ``(n,)`` fold.

    NaN where an age or a gender is not known.
    """

    table: EvidenceTable
    age: Floats
    female: Floats
    fold: Ints

    @property
    def folds(self) -> list[Bools]:
        """Who is in each fold."""
        return [np.equal(self.fold, k) for k in range(int(self.fold.max()) + 1)]

    def part(self, rows: Bools) -> EvidenceTable:
        """Some of the people's evidence."""
        return self.table.rows(np.flatnonzero(rows))


@dataclass(frozen=True, slots=True)
class _Stage:
    """Out-of-fold calibrated people: inputs ``(n, f)``, ``(n,)`` error in years and its ratio to the expected one."""

    fused: Calibrated
    inputs: Floats
    error: Floats
    ratio: Floats
    known: Bools

    def grow(self, rows: Bools, seed: int, count: int = TREE_COUNTS[-1]) -> Trees:
        chosen = rows & self.known
        return learn_ratio(self.inputs[chosen], self.ratio[chosen], trees=count, seed=seed)

    def expect(self, trees: Trees, rows: Bools) -> Floats:
        return expected_error(trees, self.inputs[rows], take(self.fused, rows))


def choose_folds(groups: Sequence[str], seed: int) -> Ints:
    """``(n,)`` fold numbers, one for all of a group, decided by hashes of ``(seed, group)``.

    Raises:
        InputError: there are fewer than two groups.
    """
    names, inverse = np.unique(np.array(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise InputError("all people with a truth are on one image; a fit needs people of several images")
    rank = np.argsort(np.argsort(uniform_hash(names.tolist(), seed), kind="stable"), kind="stable")
    number: Ints = (rank % min(FOLDS, len(names)))[inverse].astype(np.int64)
    return number


def cross_fit(data: Training, seed: int) -> tuple[Model, Columns]:
    """The model of all the people, and each person's opinion by the models of the other folds."""
    import sklearn.ensemble  # noqa: F401  (its thread pool must be there to be limited)

    with threadpool_limits(limits=1):  # several threads add in any order: the same data would give another fit
        return _cross_fit(data, seed)


def _cross_fit(data: Training, seed: int) -> tuple[Model, Columns]:
    calibrations = [learn_calibration(data.part(~held), data.age[~held], data.female[~held]) for held in data.folds]
    held_out = [calibrate(one, data.part(held)) for one, held in zip(calibrations, data.folds, strict=True)]
    stage = _stage(data, gather(held_out, data.fold))
    grown = [stage.grow(~held, seed) for held in data.folds]
    count = _choose_count(stage, grown, data.folds)
    grown = [trees.first(count) for trees in grown]
    expected = np.full(len(data.fold), np.nan)
    for trees, held in zip(grown, data.folds, strict=True):
        expected[held] = stage.expect(trees, held)

    def model(rows: Bools, first: int) -> Model:
        chosen = rows & stage.known
        interval = learn_conformal(stage.fused.age[chosen], stage.error[chosen], expected[chosen])
        return Model(calibrations[first], grown[first], interval)

    columns = [apply(model(~held, k), data.part(held)) for k, held in enumerate(data.folds)]
    calibrations.append(learn_calibration(data.table, data.age, data.female))
    grown.append(stage.grow(stage.known, seed, count))
    return model(stage.known, -1), gather(columns, data.fold)


def _stage(data: Training, fused: Calibrated) -> _Stage:
    error = fused.age - data.age
    return _Stage(fused, features(data.table, fused), error, error_ratio(error, fused), np.isfinite(error))


def _choose_count(stage: _Stage, grown: Sequence[Trees], folds: Sequence[Bools]) -> int:
    """How many trees judge held-out people best; the fewest among equals."""
    deviance = []
    for count in TREE_COUNTS:
        expected = np.ones(len(stage.ratio))
        for trees, held in zip(grown, folds, strict=True):
            expected[held] = np.exp(trees.first(count).predict(stage.inputs[held]))
        deviance.append(gamma_deviance(stage.ratio[stage.known], expected[stage.known]))
    return TREE_COUNTS[int(np.argmin(deviance))]
