"""Whether a benchmark's folder holds what was published: the counts, and every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from annotator.errors import InputError
from annotator.evaluation.classes import CLASS_RANGES
from annotator.protocols.catalogue import Benchmark
from annotator.protocols.people import Bools, People

PARTIAL = "check the download and --images, or run on what is there with --partial"


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """What a folder holds. ``wrong`` are (what, published, found), ``missing`` the images that are not there."""

    counts: Mapping[str, int]
    wrong: tuple[tuple[str, int, int], ...]
    missing: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether it is the published benchmark with all its images."""
        return not self.wrong and not self.missing


def check_folder(benchmark: Benchmark, people: People) -> FolderCheck:
    """Counts against the published ones, and the images that are missing."""
    found = count(people, benchmark.classes)
    wrong = tuple(
        (what, published, found[what])
        for what, published in benchmark.counts.items()
        if what in found and found[what] != published
    )
    there = images_there(people)
    missing = tuple(name for name, is_there in zip(people.images, there, strict=True) if not is_there)
    return FolderCheck(found, wrong, missing)


def refuse_partial(benchmark: Benchmark, people: People, check: FolderCheck) -> None:
    """Nothing where the folder is whole.

    Raises:
        InputError: an image is missing or a count is wrong; one line says what and where.
    """
    if check.missing:
        raise InputError(
            f"{benchmark.name}: image {check.missing[0]} is not in {people.root} ({len(check.missing):,} of "
            f"{len(people.images):,} are missing); {PARTIAL}"
        )
    if check.wrong:
        what, published, found = check.wrong[0]
        more = f" ({len(check.wrong) - 1} more counts differ)" if len(check.wrong) > 1 else ""
        raise InputError(
            f"{benchmark.name}: {published:,} {_words(what)} were published, the annotations of {people.root} hold "
            f"{found:,}{more}; {PARTIAL}"
        )


def count(people: People, classes: str | None) -> dict[str, int]:
    """Images, people with a truth, each gender, each class and each fold where there are any."""
    known = people.known
    found = {
        "images": len(people.images),
        "people": int(known.sum()),
        "female": int((people.gender == 1).sum()),
        "male": int((people.gender == 0).sum()),
    }
    if classes is not None:
        for number, name in enumerate(CLASS_RANGES[classes]):
            found[f"age {name}"] = int((people.age_class == number).sum())
    for number in np.unique(people.fold[people.fold >= 0]).tolist():
        found[f"fold {number}"] = int((known & (people.fold == number)).sum())
    return found


def images_there(people: People) -> Bools:
    """``(images,)``: whether each image's file exists."""
    return np.fromiter(((people.root / name).is_file() for name in people.images), np.bool_, len(people.images))


def _words(what: str) -> str:
    """``people of age 0-2``, ``people in fold 3``, ``women``."""
    if what.startswith("age "):
        return f"people of {what}"
    if what.startswith("fold "):
        return f"people in {what}"
    return {"female": "women and girls", "male": "men and boys"}.get(what, what)
