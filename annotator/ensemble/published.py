"""Errors that were published for the predictors, used until the project has truth of its own.

Figures: "Beyond Specialization" (arXiv 2403.02302), LAGENDA test set unless noted. They were measured by others on
other photos: every verdict that rests on them is marked ``uncalibrated``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNCALIBRATED = "uncalibrated"
"""What ``Fused.fit`` says where no fit was at hand."""

SD_PER_MAE = 1.25
"""A normal error's standard deviation over its mean absolute value: sqrt(pi / 2)."""

CORRELATION = 0.5
"""Assumed correlation between the errors of any two predictors (between .3 and .7 where it was measured)."""

NO_FACE_FACTOR = 1.7
"""Error without a face over error with one: 6.16 / 3.65 years for MiVOLO (tables 1, 2), 7.64 / 4.22 for ShareGPT4V."""


@dataclass(frozen=True, slots=True)
class PublishedError:
    """Mean absolute age error in years and gender accuracy (a share) of one kind of predictor."""

    mae: float
    gender_accuracy: float

    @property
    def age_sd(self) -> float:
        """Standard deviation of the age error, in years."""
        return SD_PER_MAE * self.mae


_BY_KEY = {
    "mivolo": PublishedError(3.65, 0.9799),
    "mivolo224": PublishedError(3.99, 0.9736),
    "mivolod1224": PublishedError(3.99, 0.9736),
    "sharegpt4v": PublishedError(3.52, 0.9944),  # fine-tuned, table 9
    "sharegpt4v13b": PublishedError(3.93, 0.9954),
    "llavanext": PublishedError(5.19, 0.9947),
    "llava": PublishedError(7.59, 0.9938),  # LLaVA 1.5 7B as released, NanoLAGENDA, table 8
    "gpt4o": PublishedError(4.07, 0.9866),  # NanoLAGENDA, table 8
    "gpt4v": PublishedError(4.66, 0.9843),  # NanoLAGENDA, table 8
}
DEFAULT = PublishedError(5.0, 0.95)
"""For a predictor that nobody published: between the specialised and the general models."""


def published_error(predictor: str) -> PublishedError:
    """The published error of the predictor whose known key is the longest part of the name.

    Demo weights share their architecture's name but not its training, so they get the default.

    >>> published_error("mivolo-d1-224").mae, published_error("MiVOLO_384").mae, published_error("mine").mae
    (3.99, 3.65, 5.0)
    """
    plain = re.sub(r"[^a-z0-9]", "", predictor.lower())
    keys = [key for key in _BY_KEY if key in plain]
    if not keys or plain.startswith("demo"):
        return DEFAULT
    return _BY_KEY[max(keys, key=len)]
