"""Boosted trees as plain arrays: learned by scikit-learn, kept as numbers, evaluated by NumPy.

A fit lives in the database for years and is named in every pre-label, so that it must load under any later version of
scikit-learn, give the same numbers there, and never run code when it is read: no pickle (docs/decisions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator.ensemble.evidence import Floats

Ints = NDArray[np.int64]

LEAVES_DEPTH = 3
LEARNING_RATE = 0.06
CHUNK = 8192
"""People evaluated at a time: their features stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Trees:
    """``t`` regression trees of depth 3 or less, added to ``base``.

    Nodes of all trees lie in flat ``(m,)`` arrays; ``roots`` is ``(t,)``. A person goes left where
    ``feature <= threshold``, or, where the feature is NaN, by ``missing_left``. A leaf points to itself.
    """

    base: float
    roots: Ints
    feature: Ints
    threshold: Floats
    missing_left: Ints
    left: Ints
    right: Ints
    value: Floats

    def first(self, count: int) -> Trees:
        """The same model with its first ``count`` trees only."""
        return Trees(
            self.base,
            self.roots[:count],
            *(self.feature, self.threshold, self.missing_left, self.left, self.right, self.value),
        )

    def predict(self, features: Floats) -> Floats:
        """``(n,)`` sums of the trees, from ``(n, f)`` features."""
        out = np.empty(len(features))
        for start in range(0, len(features), CHUNK):
            part = np.ascontiguousarray(features[start : start + CHUNK])
            out[start : start + CHUNK] = self._sum(part)
        return out

    def _sum(self, features: Floats) -> Floats:
        flat = features.ravel()
        offset = np.arange(len(features)) * features.shape[1]
        total = np.full(len(features), self.base)
        missing_left = self.missing_left.astype(bool)
        for root in self.roots:
            node = np.full(len(features), root)
            for _ in range(LEAVES_DEPTH):
                value = flat[offset + self.feature[node]]
                goes_left = (value <= self.threshold[node]) | (np.isnan(value) & missing_left[node])
                node = np.where(goes_left, self.left[node], self.right[node])
            total += self.value[node]
        return total


def learn_ratio(features: Floats, ratio: Floats, *, trees: int, seed: int) -> Trees:
    """Gradient boosting with gamma deviance: ``exp(trees.predict(x))`` estimates the mean of a positive ``ratio``.

    Args:
        features: ``(n, f)``, NaN where missing.
        ratio: ``(n,)``, positive.
        trees: how many; 0 gives the mean alone.
        seed: of scikit-learn's binning.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="gamma",
        max_iter=max(trees, 1),
        learning_rate=LEARNING_RATE,
        max_depth=LEAVES_DEPTH,
        min_samples_leaf=max(20, len(ratio) // 100),
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    # a column without any value would stop the binning; a constant one is never split on
    empty = ~np.isfinite(features).any(axis=0)
    model.fit(np.where(empty, 0.0, features), ratio)
    return _from_scikit_learn(model).first(trees)


def _from_scikit_learn(model: object) -> Trees:
    """Flatten scikit-learn's nodes; a test holds the result equal to the model's own predictions."""
    nodes = [stage[0].nodes for stage in model._predictors]  # type: ignore[attr-defined]
    roots = np.cumsum([0, *(len(tree) for tree in nodes)], dtype=np.int64)
    every = np.concatenate(nodes)
    shift = np.repeat(roots[:-1], [len(tree) for tree in nodes])
    leaf, own = every["is_leaf"].astype(bool), np.arange(len(every))
    biggest = np.finfo(np.float64).max  # JSON has no infinity; no feature is larger
    return Trees(
        base=float(np.ravel(model._baseline_prediction)[0]),  # type: ignore[attr-defined]
        roots=roots[:-1],
        feature=np.where(leaf, 0, every["feature_idx"]).astype(np.int64),
        threshold=np.clip(np.where(leaf, 0.0, every["num_threshold"]), -biggest, biggest),
        missing_left=every["missing_go_to_left"].astype(np.int64),
        left=np.where(leaf, own, every["left"] + shift).astype(np.int64),
        right=np.where(leaf, own, every["right"] + shift).astype(np.int64),
        value=np.where(leaf, every["value"], 0.0).astype(np.float64),
    )
