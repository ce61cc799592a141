"""Crops and letterboxes equal the MiVOLO reference's, by sha256."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from annotator.domain import Box
from annotator.images.crops import dataset_face_crop, dataset_person_crop, face_crop, letterbox, person_crop
from annotator.predictors.base import Pixels

DATA = Path(__file__).parents[2] / "data" / "mivolo"
CASES: dict[str, Any] = json.loads((DATA / "preprocess.json").read_text())["cases"]
READER: dict[str, Any] = json.loads((DATA / "reader.json").read_text())


def load_recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mivolo_recipe", DATA / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = load_recipe()


def digest(image: Pixels) -> str:
    """The sha256 of the BGR bytes, as the goldens have it."""
    return hashlib.sha256(np.ascontiguousarray(image[..., ::-1]).tobytes()).hexdigest()


def synthetic(spec: list[int], black: list[list[int]] | None = None) -> Pixels:
    image = RECIPE.synthetic_image(*spec)
    for x0, y0, x1, y1 in black or []:
        image[y0:y1, x0:x1] = 0
    return np.ascontiguousarray(image[..., ::-1])


def check(crop: Pixels | None, expected: dict[str, Any]) -> None:
    if expected["crop"] is None:
        assert crop is None
        return
    assert crop is not None
    assert list(crop.shape) == expected["crop"]
    assert int(np.count_nonzero(crop)) == expected["nonzero"]
    assert digest(crop) == expected["crop_sha256"]
    for side in (224, 384):
        assert digest(letterbox(crop, side)) == expected[f"t{side}"]["letterbox_sha256"]


@pytest.mark.parametrize("mode", ["faces+persons", "faces_only", "persons_only"])
@pytest.mark.parametrize("case", CASES)
def test_inference_crops_equal_the_reference(case: str, mode: str) -> None:
    layout = CASES[case]
    image = synthetic(layout["image"], layout.get("black"))
    boxes = [(Box(*row[:4]), "face" if row[5] == 1 else "person") for row in layout["boxes"]]
    golden = layout["modes"][mode]
    for number, row in enumerate(golden["rows"]):
        if row["face"] is not None:
            check(face_crop(image, boxes[row["face"]][0]), golden["faces"][number])
        if row["body"] is not None:
            faces = [box for box, kind in boxes if kind == "face"]
            bodies = [box for i, (box, kind) in enumerate(boxes) if kind == "person" and i != row["body"]]
            check(person_crop(image, boxes[row["body"]][0], faces=faces, bodies=bodies), golden["bodies"][number])
