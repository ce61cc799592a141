"""Every error that the project raises on purpose.

AnnotatorError
├── ConfigurationError      settings that contradict or are unknown
│   ├── ProjectNotFound     no annotator.toml here
│   └── UnknownName         a predictor, detector, profile or method that does not exist
├── InputError              a file, row or argument that the user can mend
├── WeightsMissing          model weights that are not on this machine
├── WeightsInvalid          weights that do not fit the architecture or their checksum
├── ImageError              one image that cannot be used (carries a reason code)
├── DatabaseError           the database cannot be opened, is too old or too new
├── StorageError            no space, no permission, no such place
└── ServiceError            Label Studio, a broker or a remote predictor did not do as asked

The docstring of a class is its default message. A message says what happened, to which item, and what to do; the
doors print it as one line and end with exit code 1.
"""

from __future__ import annotations


class AnnotatorError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class ConfigurationError(AnnotatorError):
    """A setting is wrong; see annotator.toml and the ANNOTATOR_* variables."""


class ProjectNotFound(ConfigurationError):
    """There is no annotator.toml here or above; run `annotator init` first, or name the folder with --project."""


class UnknownName(ConfigurationError):
    """A name is not known."""

    def __init__(self, kind: str, name: str, known: list[str] | tuple[str, ...]) -> None:
        super().__init__(f"unknown {kind} '{name}'; known are: {', '.join(sorted(known))}")
        self.kind, self.name = kind, name


class InputError(AnnotatorError):
    """An input cannot be used."""


class WeightsMissing(AnnotatorError):
    """Model weights are not on this machine."""


class WeightsInvalid(AnnotatorError):
    """Model weights do not fit the architecture that they claim."""


class ImageError(AnnotatorError):
    """An image cannot be used.

    ``reason`` is a short code that `annotator status` counts by, such as ``truncated`` or ``too_many_pixels``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DatabaseError(AnnotatorError):
    """The database cannot be used."""


class StorageError(AnnotatorError):
    """A place cannot be read or written."""


class ServiceError(AnnotatorError):
    """Another service did not do as asked."""
