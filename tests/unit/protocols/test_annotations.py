"""Annotations as the reference reads them: its goldens through our whole path, and one line for each mistake."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from annotator.errors import InputError
from annotator.images.decode import decode
from annotator.pipeline.evaluate.views import person_view
from annotator.predictors.mivolo.architecture import ModelMeta
from annotator.predictors.mivolo.predictor import MiVOLOPredictor
from annotator.protocols.annotations import read_annotations
from annotator.protocols.people import People
from tests.helpers.benchmark_folders import HEADER, NOBODY, write_csv

DATA = Path(__file__).parents[2] / "data" / "mivolo"
READER: dict[str, Any] = json.loads((DATA / "reader.json").read_text())
SIDE = 224
MODES = {"faces+persons": "body+face", "faces_only": "face", "persons_only": "body"}


def load_recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mivolo_recipe", DATA / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def golden_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The goldens' CSV and images."""
    folder, recipe = tmp_path_factory.mktemp("golden"), load_recipe()
    (folder / "lagenda_annotation.csv").write_text(READER["csv"])
    for name, spec in READER["images"].items():
        (folder / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), recipe.synthetic_image(*spec))
    return folder


def shown(inputs: str) -> MiVOLOPredictor:
    """A predictor without a model, shown the evaluation's crops."""
    predictor = object.__new__(MiVOLOPredictor)
    predictor.meta = ModelMeta(0, 122, 61.0, SIDE, 6)
    predictor.inputs, predictor.crops = inputs, "dataset"  # type: ignore[assignment]
    return predictor


@pytest.mark.parametrize("mode", MODES)
def test_people_and_crops_equal_the_reference_reader(mode: str, golden_folder: Path) -> None:
    people = read_annotations(golden_folder / "lagenda_annotation.csv", golden_folder)
    seen = {}
    for image, rows in enumerate(people.image_rows()):
        path = golden_folder / people.images[image]
        if not path.exists():
            continue
        pixels = decode(path.read_bytes()).pixels
        boxes = {row: people.boxes(row, pixels.shape[1], pixels.shape[0]) for row in rows.tolist()}
        for row in rows[people.known[rows]].tolist():
            prepared = shown(MODES[mode]).prepare(person_view(people.person_id(row), pixels, boxes, row))
            if prepared.inputs:
                seen[(people.images[image], *words(people, row))] = (digest(prepared.face), digest(prepared.body))
    golden = READER["runs"][mode]["items"]
    assert seen == {(i["image"], i["age"], i["gender"]): (i["face_sha256"], i["body_sha256"]) for i in golden}


def words(people: People, row: int) -> tuple[str, str]:
    age, gender = people.age[row], int(people.gender[row])
    return ("-1" if np.isnan(age) else f"{age:g}", {1: "F", 0: "M", -1: "-1"}[gender])


def digest(crop: np.ndarray | None) -> str:
    square = np.zeros((SIDE, SIDE, 3), np.uint8) if crop is None else crop
    return hashlib.sha256(np.ascontiguousarray(square[..., ::-1]).tobytes()).hexdigest()


def test_missing_values_ranges_and_forms(tmp_path: Path) -> None:
    rows = [
        ("a.jpg", "25;32", "f", *NOBODY, -1, -1, 5, 5),
        ("b.jpg", "-1", "M", "", "", "", "", 1.9, 2.9, 8, 9),
        ("a.jpg", "60;100", "-1", 1, 2, 3, 4, *NOBODY),
        ("./a.jpg", -1, -1, 1, 2, 3, 4, *NOBODY),
    ]
    people = read_annotations(write_csv(tmp_path / "x.csv", HEADER, rows), tmp_path, classes="adience")
    assert people.images == ("a.jpg", "b.jpg")
    assert people.age_class.tolist() == [4, -1, 7, -1]
    assert people.gender.tolist() == [1, 0, -1, -1]
    assert people.known.tolist() == [True, True, True, False]
    assert [people.person_id(row) for row in range(4)] == ["a.jpg#0", "b.jpg#0", "a.jpg#1", "a.jpg#2"]
    assert people.body[0].tolist() == [-1, -1, 5, 5]  # a box exists where any corner is not -1
    assert np.isnan(people.face[1]).all()
    assert people.body[1].tolist() == [1, 2, 8, 9]  # truncated, as the reference does


def test_files_without_bodies_are_faces_alone(tmp_path: Path) -> None:
    people = read_annotations(write_csv(tmp_path / "x.csv", HEADER[:7], [("a.jpg", 3, "M", 1, 2, 3, 4)]), tmp_path)
    assert np.isnan(people.body).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (1, "thirty", "line 3: age 'thirty' is not a number"),
        (1, "25;32", "line 3: age '25;32' is a range; this benchmark has exact ages"),
        (1, 131, "line 3: age '131' is not between 0 and 130"),
        (2, "x", "line 3: unknown gender 'x'; expected M, F or -1"),
        (3, "", "line 3: the face box lacks a corner"),
        (8, "left", "line 3: person_y0 'left' is not a number"),
        (0, "../b.jpg", "line 3: img_name '../b.jpg' leads out of the image folder"),
        (0, "/b.jpg", "line 3: img_name '/b.jpg' leads out of the image folder"),
        (0, "", "line 3: img_name is empty"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_place(tmp_path: Path, column: int, value: object, message: str) -> None:
    good: list[object] = ["a.jpg", 30, "M", 1, 2, 3, 4, 5, 6, 7, 8]
    bad = [*good[:column], value, *good[column + 1 :]]
    path = write_csv(tmp_path / "x.csv", HEADER, [good, bad])
    with pytest.raises(InputError, match="line 3") as caught:
        read_annotations(path, tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_column_is_named(tmp_path: Path) -> None:
    renamed = [name.replace("face_y1", "face_bottom") for name in HEADER]
    with pytest.raises(InputError, match="no column face_y1"):
        read_annotations(write_csv(tmp_path / "x.csv", renamed, [("a.jpg", 1, "M", *range(8))]), tmp_path)
    renamed = [name.replace("person_y1", "person_bottom") for name in HEADER]
    with pytest.raises(InputError, match="a body box needs four columns; missing: person_y1"):
        read_annotations(write_csv(tmp_path / "x.csv", renamed, [("a.jpg", 1, "M", *range(8))]), tmp_path)
    with pytest.raises(InputError, match="line 2: age '25;33' is none of the classes"):
        read_annotations(
            write_csv(tmp_path / "x.csv", HEADER, [("a.jpg", "25;33", "M", *range(8))]), tmp_path, classes="adience"
        )
