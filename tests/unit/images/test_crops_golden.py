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
SIDE = 224


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


def dataset_rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(READER["csv"])))


def box_of(row: dict[str, str], kind: str) -> Box | None:
    corners = [int(row[f"{kind}_{corner}"]) for corner in ("x0", "y0", "x1", "y1")]
    return None if corners == [-1] * 4 else Box(*corners)


def reader_items(mode: str) -> list[dict[str, Any]]:
    """What our crops make of the CSV by the reader's rules: rows with a truth and a crop left."""
    with_faces, with_bodies = mode != "persons_only", mode != "faces_only"
    items = []
    for row in dataset_rows():
        if row["img_name"] not in READER["images"] or (row["age"], row["gender"]) == ("-1", "-1"):
            continue
        image = synthetic(READER["images"][row["img_name"]])
        rest = [r for r in dataset_rows() if r["img_name"] == row["img_name"] and r != row]
        faces, bodies = ([b for b in (box_of(r, kind) for r in rest) if b] for kind in ("face", "person"))
        body, face = box_of(row, "person"), box_of(row, "face")
        around = {"face": face, "faces": faces, "bodies": bodies}
        crops = {
            "body": dataset_person_crop(image, body, **around) if body is not None and with_bodies else None,
            "face": dataset_face_crop(image, face) if face is not None and with_faces else None,
        }
        if any(crop is not None for crop in crops.values()):
            items.append({"image": row["img_name"], "age": row["age"], "gender": row["gender"], **crops})
    return items


@pytest.mark.parametrize("mode", ["faces+persons", "faces_only", "persons_only"])
def test_dataset_crops_equal_the_reference_reader(mode: str) -> None:
    names = ("image", "age", "gender")
    golden = {tuple(item[name] for name in names): item for item in READER["runs"][mode]["items"]}
    items = {tuple(item[name] for name in names): item for item in reader_items(mode)}
    assert items.keys() == golden.keys()
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    for key, item in items.items():
        for part in ("face", "body"):
            assert (item[part] is None) == golden[key][f"{part}_blank"]
            square = black if item[part] is None else letterbox(item[part], SIDE)
            assert digest(square) == golden[key][f"{part}_sha256"]
