"""The llava and parquet formats, the card, sampling weights and the comparison of two datasets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from annotator.domain import Box, Gender
from annotator.errors import InputError
from annotator.export import spool
from annotator.export.diff import diff
from annotator.export.manifest import Recipe
from annotator.images.crops import plain_crop
from annotator.predictors.llava.prompt import QUESTION
from tests.helpers.export_rows import ExportRow, image_of, picture, row_of, write_rows

F, M = Gender.FEMALE, Gender.MALE
SPLIT = {"train": 0.5, "test": 0.5}


def people(folder: Path, count: int = 20) -> list[ExportRow]:
    """One labelled person on each image, somebody without a label beside."""
    rows = []
    for number in range(count):
        image = image_of(picture(folder / f"{number}.png", number))
        truth = (number * 4.5, F if number % 2 else M)
        interval = [truth[0], truth[0] + 3]
        rows.append(row_of(image, 0, Box(20, 10, 90, 150), Box(40, 20, 70, 60), truth=truth, interval=interval))
        rows.append(row_of(image, 1, Box(100, 10, 180, 150)))
    return rows


def test_conversations_are_what_llava_reads(tmp_path: Path, recipe: Recipe) -> None:
    write_rows(tmp_path / "out", people(tmp_path), recipe=recipe, kind="llava", images="crop", split=SPLIT)
    entries = [entry for name in SPLIT for entry in json.loads((tmp_path / f"out/{name}.json").read_text())]
    assert len(entries) == 20
    by_answer = {entry["conversations"][1]["value"]: entry for entry in entries}
    assert {"[male; 0]", "[female; 4]", "[male; 9]", "[female; 86]"} <= set(by_answer)  # 4.5 is 4, half to even
    entry = by_answer["[male; 9]"]
    assert entry["conversations"][0] == {"from": "human", "value": f"<image>\n{QUESTION}"}
    crop = np.asarray(Image.open(tmp_path / "out/images" / entry["image"]).convert("RGB")).astype(int)
    original = np.asarray(Image.open(tmp_path / "2.png").convert("RGB"))
    wanted = plain_crop(original, Box(20, 10, 90, 150))
    assert wanted is not None
    assert crop.shape == wanted.shape
    assert np.abs(crop - wanted).mean() < 4


@pytest.mark.parametrize("images", ["none", "copy", "crop"])
def test_hugging_face_loads_the_parquet(images: str, tmp_path: Path, recipe: Recipe) -> None:
    write_rows(
        tmp_path / "out", people(tmp_path), recipe=recipe, kind="parquet", images=images, split=SPLIT, shard_rows=4
    )
    assert len(list((tmp_path / "out/data").glob("train-0*-of-0*.parquet"))) == 3
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: part.num_rows for name, part in loaded.items()} == {"train": 10, "test": 10}
    row = next(row for row in [*loaded["train"], *loaded["test"]] if row["age"] == 9.0)
    assert (row["age_low"], row["age_high"], row["gender"], row["source"]) == (9.0, 12.0, "male", "settled")
    assert ("image" in row) == (images != "none")
    if images == "copy":
        assert (row["body_x0"], row["body_y1"], row["face_x0"]) == (20, 150, 40)
        assert row["image"].size == (200, 160)
    if images == "crop":
        assert (row["body_x0"], row["body_y1"], row["face_x0"]) == (0, 140, 20)
        assert row["image"].size == (70, 140)
    assert not (tmp_path / "out/images").exists()


def test_the_manifest_names_every_file_of_every_format(tmp_path: Path, recipe: Recipe) -> None:
    rows = people(tmp_path, 6)
    for kind, images in (("llava", "crop"), ("llava", "none"), ("parquet", "copy"), ("parquet", "link")):
        out = tmp_path / f"{kind}-{images}"
        write_rows(out, rows, recipe=recipe, kind=kind, images=images)
        found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        assert set(json.loads((out / "manifest.json").read_text())["files"]) == found - {"manifest.json"}
        write_rows(tmp_path / "again", rows[::-1], recipe=recipe, kind=kind, images=images)
        assert (tmp_path / "again/manifest.json").read_bytes() == (out / "manifest.json").read_bytes()


def test_what_does_not_go_together_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    rows = people(tmp_path, 2)
    for options, says in (
        ({"kind": "llava", "images": "copy"}, "--images crop"),
        ({"kind": "lagenda", "shard_rows": 5}, "single files"),
    ):
        with pytest.raises(InputError, match=says):
            write_rows(tmp_path / "out", rows, recipe=recipe, **options)
    assert not (tmp_path / "out").exists()


def test_the_tail_counts_more_in_training_only(tmp_path: Path, recipe: Recipe) -> None:
    ages = [*range(0, 70, 1), 72, 90]
    rows = [
        row_of(image_of(picture(tmp_path / f"{n}.png", n)), 0, Box(0, 0, 50, 50), truth=(float(age), F))
        for n, age in enumerate(ages)
    ]
    write_rows(
        tmp_path / "out", rows, recipe=recipe, kind="llava", images="none", split={"train": 1.0}, balance_tail=True
    )
    answers = [e["conversations"][1]["value"] for e in json.loads((tmp_path / "out/train.json").read_text())]
    assert (answers.count("[female; 72]"), answers.count("[female; 90]"), answers.count("[female; 30]")) == (5, 5, 1)
    weights = {
        row["age"]: row["sampling_weight"] for row in pq.read_table(tmp_path / "out/provenance.parquet").to_pylist()
    }
    assert (weights[72.0], weights[30.0]) == (5.0, 1.0)
    write_rows(tmp_path / "plain", rows, recipe=recipe, kind="llava", images="none", split={"test": 0.5, "train": 0.5})
    assert set(pq.read_table(tmp_path / "plain/provenance.parquet")["sampling_weight"].to_pylist()) == {1.0}


def test_the_card_says_what_is_inside(tmp_path: Path, recipe: Recipe) -> None:
    licences = {"1": "CC BY 2.0"}
    write_rows(tmp_path / "out", people(tmp_path, 12), recipe=recipe, split=SPLIT, licences=licences)
    card = (tmp_path / "out/README.md").read_text()
    assert "| labels | 12 |" in card
    assert "- `1`: CC BY 2.0 (3 images)" in card  # 1, 10 and 11
    assert "- 9 images: no licence was given" in card
    assert "predictor m@0123456789ab" in card
    picture_bytes = (tmp_path / "out/card.png").read_bytes()
    assert np.asarray(Image.open(io.BytesIO(picture_bytes)).convert("RGB")).std() > 10


def test_a_comparison_names_what_changed(tmp_path: Path, recipe: Recipe) -> None:
    rows = people(tmp_path, 8)
    write_rows(tmp_path / "a", rows, recipe=recipe, split=SPLIT)
    image = rows[4].image
    changed = row_of(image, 0, rows[4].body, rows[4].face, truth=(20.0, M))
    newcomer = row_of(image_of(picture(tmp_path / "new.png", 99)), 0, Box(0, 0, 50, 50), truth=(30.0, F))
    write_rows(tmp_path / "b", [*rows[2:4], changed, *rows[5:], newcomer], recipe=recipe, split=SPLIT)
    found = diff(tmp_path / "a", tmp_path / "b")
    assert (found.labels, found.common, found.added, found.removed) == ((8, 8), 7, 1, 1)
    assert found.changed["age"] == 1
    assert found.changed["gender"] == 0
    assert found.examples["age"] == [rows[4].person_id]
    assert found.mean_age_change == pytest.approx(11.0 / 7)
    assert not found.same_id
    assert diff(tmp_path / "a", tmp_path / "a").same_id
    with pytest.raises(InputError, match="annotator export"):
        diff(tmp_path / "a", tmp_path)


@pytest.mark.parametrize("kind", ["lagenda", "llava", "parquet"])
@pytest.mark.parametrize(("images_a_range", "ranges"), [(3, 100), (1, 4)])
def test_ranges_of_images_change_no_byte(
    kind: str, images_a_range: int, ranges: int, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sorted in parts, as a million people are, is sorted as a whole."""
    rows = people(tmp_path)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write_rows(whole, rows, recipe=recipe, kind=kind, images="crop", split=SPLIT)
    for name, value in (("_RANGE", images_a_range), ("_RANGES", ranges), ("_HAND", 7), ("_BATCH", 2)):
        monkeypatch.setattr(spool, name, value)
    write_rows(parts, rows[::-1], recipe=recipe, kind=kind, images="crop", split=SPLIT)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(parts) for path in parts.rglob("*") if path.is_file())
    for file in files:
        assert (parts / file).read_bytes() == (whole / file).read_bytes(), file
