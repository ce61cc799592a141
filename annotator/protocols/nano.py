"""NanoLAGENDA: at most 200 people at random from each five-year group of LAGENDA up to the age of 90."""

from __future__ import annotations

import csv
import io

import numpy as np

from annotator.evaluation.groups import GROUP_YEARS
from annotator.protocols.annotations import FACE, PERSON
from annotator.protocols.people import People, row_key

PER_GROUP = 200
OLDEST = 90.0
LAST_GROUP = int(OLDEST) // GROUP_YEARS - 1
"""The last group is [85, 90], with both ends; the others are [0, 5), [5, 10) and so on."""

LETTERS = {1: "F", 0: "M", -1: "-1"}


def draw_nano(people: People, seed: int) -> People:
    """The drawn people with their truth, on their images together with everybody whom their crops must blank.

    Who is drawn depends on the seed and on image names and boxes alone: neither the order of the rows nor the machine
    nor a library's random numbers matter.
    """
    drawn = np.zeros(len(people), np.bool_)
    group = nano_groups(people)
    for number in range(LAST_GROUP + 1):
        members = np.flatnonzero(group == number)
        ranked = sorted(members.tolist(), key=lambda row: row_key(people, row, seed))
        drawn[ranked[:PER_GROUP]] = True
    images = np.zeros(len(people.images), np.bool_)
    images[people.image[drawn]] = True
    return people.unlabelled(~drawn).on_images(images)


def nano_groups(people: People) -> np.ndarray:
    """Number of each row's group, -1 for those that cannot be drawn."""
    age = people.age
    inside = (age >= 0) & (age <= OLDEST)
    return np.where(inside, np.minimum(np.nan_to_num(age) // GROUP_YEARS, LAST_GROUP), -1).astype(np.int64)


def nano_list(people: People) -> str:
    """The drawn list as a LAGENDA CSV that reads back as the same benchmark; those to be blanked have no truth."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("img_name", "age", "gender", *FACE, *PERSON))
    order = sorted(range(len(people)), key=lambda row: (people.images[people.image[row]], int(people.index[row])))
    for row in order:
        age = "-1" if np.isnan(people.age[row]) else f"{people.age[row]:g}"
        boxes = [int(c) if c == c else -1 for c in (*people.face[row], *people.body[row])]
        writer.writerow((people.images[people.image[row]], age, LETTERS[int(people.gender[row])], *boxes))
    return stream.getvalue()
