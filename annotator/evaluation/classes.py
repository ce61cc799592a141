"""Age classes of the Adience and FairFace benchmarks (the MiVOLO paper, arXiv 2307.04616)."""

from __future__ import annotations

import re

import numpy as np

from annotator.errors import UnknownName
from annotator.evaluation.metrics import Floats, mean, same_shape

CLASS_STARTS: dict[str, tuple[int, ...]] = {
    "adience": (0, 4, 7, 14, 24, 36, 46, 57),
    "fairface": (0, 3, 10, 20, 30, 40, 50, 60, 70),
}
"""First age in years of each class; the gaps between the classes of Adience are closed at these ages."""

CLASS_RANGES: dict[str, tuple[str, ...]] = {
    "adience": ("0-2", "4-6", "8-12", "15-20", "25-32", "38-43", "48-53", "60-100"),
    "fairface": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-120"),
}
"""The classes as the data sets name them: first and last age in years."""


def class_of_range(text: str, scheme: str) -> int:
    """The class that a data set names by its first and last age, as ``25;32``, ``25-32`` or ``(25, 32)``.

    Raises:
        ValueError: the scheme has no such class.

    Examples:
        >>> class_of_range("25;32", "adience"), class_of_range("(60, 100)", "adience")
        (4, 7)
    """
    name = "-".join(re.findall(r"\d+", text))
    if name not in CLASS_RANGES[scheme]:
        raise ValueError(f"age '{text[:40]}' is none of the classes {', '.join(CLASS_RANGES[scheme])}")
    return CLASS_RANGES[scheme].index(name)


def age_classes(age: Floats, scheme: str) -> Floats:
    """Index of the last class that starts at or below the age rounded half to even, ``(n,)``; NaN where missing.

    Raises:
        UnknownName: the scheme is neither ``adience`` nor ``fairface``.

    Examples:
        >>> age_classes(np.array([3.5, 23.4, 90.0, np.nan]), "adience").tolist()
        [1.0, 3.0, 7.0, nan]
    """
    if scheme not in CLASS_STARTS:
        raise UnknownName("age classes", scheme, tuple(CLASS_STARTS))
    place = np.searchsorted(CLASS_STARTS[scheme], np.rint(age), side="right") - 1
    return np.where(np.isnan(age), np.nan, np.maximum(place, 0))


def class_distances(predicted: Floats, true: Floats, scheme: str) -> Floats:
    """``|predicted class - true class|`` of each person from ages in years, ``(n,)``; NaN where missing.

    Raises:
        InputError: the shapes differ or are not one-dimensional.
        UnknownName: the scheme is not known.
    """
    same_shape(predicted, true)
    return np.abs(age_classes(predicted, scheme) - age_classes(true, scheme))


def class_hits(predicted: Floats, true: Floats, scheme: str, slack: int = 0) -> Floats:
    """1 where the classes are at most ``slack`` apart, else 0, ``(n,)``; NaN where missing."""
    distance = class_distances(predicted, true, scheme)
    return np.where(np.isnan(distance), np.nan, distance <= slack)


def class_accuracy(predicted: Floats, true: Floats, scheme: str, slack: int = 0) -> float:
    """Share of people in the right class, or at most ``slack`` classes off (1-off accuracy for 1), in [0, 1].

    Raises:
        InputError: the shapes differ or are not one-dimensional.
        UnknownName: the scheme is not known.

    Examples:
        >>> class_accuracy(np.array([5.0, 30.0, 70.0]), np.array([5.0, 20.0, 20.0]), "fairface")
        0.3333333333333333
        >>> class_accuracy(np.array([5.0, 30.0, 70.0]), np.array([5.0, 20.0, 20.0]), "fairface", slack=1)
        0.6666666666666666
    """
    return mean(class_hits(predicted, true, scheme, slack))


def class_mean_absolute_error(predicted: Floats, true: Floats, scheme: str) -> float:
    """Mean of ``|predicted class - true class|`` in class indices.

    Raises:
        InputError: the shapes differ or are not one-dimensional.
        UnknownName: the scheme is not known.

    Examples:
        >>> class_mean_absolute_error(np.array([5.0, 30.0]), np.array([5.0, 50.0]), "fairface")
        1.0
    """
    return mean(class_distances(predicted, true, scheme))
