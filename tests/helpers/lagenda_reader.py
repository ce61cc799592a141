"""A LAGENDA dataset as the MiVOLO reference code reads it: with pandas, OpenCV and its traps.

Written to the reader's observed rules, independent of the exporter: columns by name, values through pandas' type
guessing, a row counts as labelled unless age and gender both read as "-1", coordinates through ``int``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

HEADER = "img_name,age,gender,face_x0,face_y0,face_x1,face_y1,person_x0,person_y0,person_x1,person_y1"
Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Sample:
    """One row: strings as the reference holds them, boxes or ``None``, all boxes of its image."""

    image: str
    age: str
    gender: str
    face: Corners | None
    body: Corners | None
    labelled: bool


def read(path: Path) -> list[Sample]:
    """Every row of an annotation file."""
    table = pd.read_csv(path, sep=",")
    assert list(table.columns) == HEADER.split(",")
    return [_sample(row) for _, row in table.astype(object).iterrows()]


def _sample(row: pd.Series) -> Sample:
    age, gender = str(row["age"]), str(row["gender"])
    face, body = (_corners(row, kind) for kind in ("face", "person"))
    return Sample(str(row["img_name"]), age, gender, face, body, not (age == "-1" and gender == "-1"))


def _corners(row: pd.Series, kind: str) -> Corners | None:
    corners = tuple(int(row[f"{kind}_{corner}"]) for corner in ("x0", "y0", "x1", "y1"))
    return None if all(corner == -1 for corner in corners) else corners


def load(folder: Path, name: str = "annotations.csv", *, images: bool = True) -> list[Sample]:
    """Read a dataset and insist on everything that the reference silently misreads.

    Raises:
        AssertionError: something would be read wrongly, or not at all.
    """
    text = (folder / name).read_bytes()
    assert text.startswith(HEADER.encode() + b"\n")
    assert text.endswith(b"\n")
    assert b"\r" not in text
    samples = read(folder / name)
    assert [s.image for s in samples] == sorted(s.image for s in samples), "not sorted by image"
    for sample in samples:
        assert sample.age == "-1" or (sample.age.isdigit() and int(sample.age) <= 130), f"age reads as {sample.age}"
        assert sample.gender in {"M", "F", "-1"}, f"gender reads as {sample.gender}"
        assert sample.face or sample.body, "nobody there"
        _check_boxes(folder, sample, images)
    return samples


def _check_boxes(folder: Path, sample: Sample, images: bool) -> None:
    size = pixels(folder, sample.image).shape if images else (10**9, 10**9, 3)
    for x0, y0, x1, y1 in filter(None, (sample.face, sample.body)):
        assert 0 <= x0 < x1 <= size[1], "box leaves the image"
        assert 0 <= y0 < y1 <= size[0], "box leaves the image"


def pixels(folder: Path, name: str) -> np.ndarray:
    """The RGB picture of a dataset as ``cv2.imread`` gives it."""
    image = cv2.imread(str(folder / "images" / name))
    assert image is not None, f"{name} cannot be read"
    return np.ascontiguousarray(image[..., ::-1])
