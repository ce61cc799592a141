"""Look-alikes are found, others are not, and a split never parts them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotator.demo.figures import draw_image
from annotator.domain import Box, Gender
from annotator.export.dealing import Grouping
from annotator.export.fingerprints import FingerprintStore
from annotator.export.manifest import Recipe
from annotator.export.near import near_groups
from annotator.images.fingerprint import Fingerprint, fingerprint
from annotator.predictors.base import Pixels
from tests.helpers import lagenda_reader
from tests.helpers.export_rows import image_of, row_of, write_rows

ORIGINALS = 24


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def cut(pixels: Pixels, rng: np.random.Generator, most: float) -> Pixels:
    height, width = pixels.shape[:2]
    top, bottom, left, right = rng.uniform(0, most, 4)
    return np.ascontiguousarray(
        pixels[int(top * height) : int((1 - bottom) * height), int(left * width) : int((1 - right) * width)]
    )


def variants(pixels: Pixels, rng: np.random.Generator) -> Iterator[Pixels]:
    yield jpeg(pixels, 25)
    yield cv2.resize(pixels, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    yield np.ascontiguousarray(pixels[:, ::-1])
    yield cut(pixels, rng, 0.1)
    yield jpeg(cut(np.ascontiguousarray(pixels[:, ::-1]), rng, 0.1), 40)
    yield cv2.convertScaleAbs(pixels, alpha=1.1, beta=8)


@pytest.fixture(scope="module")
def planted() -> list[tuple[int, Pixels]]:
    """Drawn pictures with six variants each, by the number of their original."""
    rng = np.random.default_rng(3)
    found = []
    for number in range(ORIGINALS):
        pixels = draw_image(11, number)[0]
        found += [(number, pixels), *((number, one) for one in variants(pixels, rng))]
    return found


def test_planted_variants_are_joined_and_nobody_else(planted: list[tuple[int, Pixels]]) -> None:
    groups = near_groups([fingerprint(pixels) for _, pixels in planted])
    pairs = list(zip(groups, (owner for owner, _ in planted), strict=True))
    by_original = [{group for group, owner in pairs if owner == number} for number in range(ORIGINALS)]
    assert [len(found) for found in by_original] == [1] * ORIGINALS, "variants were torn apart"
    assert len(set(groups)) == ORIGINALS, "different pictures were joined"


def test_no_look_alikes_across_splits(planted: list[tuple[int, Pixels]], tmp_path: Path, recipe: Recipe) -> None:
    rows = []
    for number, (owner, pixels) in enumerate(planted):
        path = tmp_path / f"{owner}-{number}.png"
        Image.fromarray(pixels).save(path)
        rows.append(row_of(image_of(path), 0, Box(0, 0, 50, 50), truth=(owner * 3, Gender.MALE)))
    kept = FingerprintStore(tmp_path / "known" / "fingerprints.db")
    split = {"train": 0.6, "val": 0.2, "test": 0.2}
    write_rows(tmp_path / "out", rows, recipe=recipe, split=split, images="link", grouping=Grouping(kept))
    places: dict[str, set[str]] = {}
    for name in split:
        for sample in lagenda_reader.load(tmp_path / "out", f"{name}.csv"):
            places.setdefault(sample.image.split("-")[0], set()).add(name)
    assert len(places) == ORIGINALS
    assert all(len(found) == 1 for found in places.values())
    kept.close()


def test_an_earlier_dataset_keeps_its_splits(planted: list[tuple[int, Pixels]], tmp_path: Path, recipe: Recipe) -> None:
    """A variant of a picture that was held out is held out too, whatever the seed says now."""
    paths = []
    for number, (_, pixels) in enumerate(planted[:14]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    rows = [row_of(image_of(path), 0, Box(0, 0, 50, 50), truth=(30, Gender.MALE)) for path in paths]
    earlier = [(rows[0].image.sha256, "test"), (rows[7].image.sha256, "train")]
    grouping = Grouping(FingerprintStore(None), earlier)
    write_rows(tmp_path / "out", rows, recipe=recipe, split={"train": 0.5, "test": 0.5}, grouping=grouping)
    held_out = {sample.image for sample in lagenda_reader.load(tmp_path / "out", "test.csv")}
    assert held_out == {f"{number}.png" for number in range(7)}


def test_flat_pictures_stand_alone() -> None:
    flat = [fingerprint(np.full((80, 60, 3), grey, np.uint8)) for grey in (10, 10, 200)]
    assert near_groups(flat) == [0, 1, 2]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_a_fingerprint_survives_storage(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    one = fingerprint(pixels)
    again = Fingerprint.from_bytes(one.to_bytes())
    for name in ("grey", "own", "windows", "window_numbers"):
        assert np.array_equal(getattr(one, name), getattr(again, name))


def test_unreadable_images_are_counted_not_fatal(tmp_path: Path, recipe: Recipe) -> None:
    Image.fromarray(draw_image(1, 1)[0]).save(tmp_path / "a.png")
    rows = [row_of(image_of(tmp_path / "a.png"), 0, Box(0, 0, 50, 50), truth=(30, Gender.MALE))]
    (tmp_path / "a.png").unlink()
    grouping = Grouping(FingerprintStore(None))
    manifest = write_rows(tmp_path / "out", rows, recipe=recipe, split={"train": 1.0}, images="none", grouping=grouping)
    assert manifest.unread_images == 1
