"""Crops never crash, and measure what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.domain import Box
from annotator.images.crops import (
    dataset_face_crop,
    dataset_person_crop,
    face_crop,
    letterbox,
    person_crop,
    plain_crop,
)
from annotator.images.quality import overlap, sharpness

IMAGE = np.full((120, 160, 3), 200, np.uint8)
corner = st.one_of(st.floats(-300, 300), st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 0.0, 159.0, 160.0]))
box = st.builds(Box, corner, corner, corner, corner)


@given(body=box, faces=st.lists(box, max_size=3), bodies=st.lists(box, max_size=3))
def test_any_box_gives_a_crop_inside_the_image_or_none(body: Box, faces: list[Box], bodies: list[Box]) -> None:
    crops = [
        face_crop(IMAGE, body),
        person_crop(IMAGE, body, faces=faces, bodies=bodies),
        dataset_face_crop(IMAGE, body),
        dataset_person_crop(IMAGE, body, [*faces, *bodies]),
        plain_crop(IMAGE, body, margin=0.2),
    ]
    for crop in crops:
        if crop is not None:
            assert crop.size > 0
            assert crop.shape[0] <= 120
            assert crop.shape[1] <= 160
            assert letterbox(crop, 32).shape == (32, 32, 3)
    assert (sharpness(IMAGE, body) is None) == (plain_crop(IMAGE, body) is None)
    assert 0 <= overlap(body, bodies) <= 1.0001
    assert IMAGE.min() == 200  # the image itself is never blanked


@given(height=st.integers(1, 300), width=st.integers(1, 300), side=st.integers(1, 64))
def test_letterbox_keeps_the_shape_and_the_centre(height: int, width: int, side: int) -> None:
    square = letterbox(np.full((height, width, 3), 255, np.uint8), side)
    assert square.shape == (side, side, 3)
    rows, columns = np.nonzero(square.max(axis=2))
    for found in (rows, columns):
        assert abs((found.min() + found.max()) / 2 - (side - 1) / 2) <= 0.5
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == side


def test_another_body_is_blanked_to_the_edge_and_a_face_is_not() -> None:
    body = Box(0, 0, 100, 100)
    beside = Box(60, 20, 95, 80)
    by_body = person_crop(IMAGE, body, bodies=[beside])
    by_face = person_crop(IMAGE, body, faces=[beside])
    assert by_body is not None
    assert by_face is not None
    assert by_body[:, 60:].max() == 0
    assert by_body[:, :60].min() == 200
    assert np.count_nonzero(by_face[..., 0] == 0) == 35 * 60


def test_a_covered_body_is_no_evidence() -> None:
    body = Box(0, 0, 100, 100)
    assert person_crop(IMAGE, body, bodies=[Box(0, 0, 61, 100)]) is None
    assert dataset_person_crop(IMAGE, body, [Box(0, 0, 61, 100)]) is None
    assert dataset_person_crop(IMAGE, body, [Box(0, 0, 59, 100)]) is not None


@pytest.mark.parametrize(("side", "inference", "dataset"), [(49, False, False), (50, True, False), (100, True, True)])
def test_smallest_bodies(side: int, inference: bool, dataset: bool) -> None:
    body = Box(0, 0, side, side)
    assert (person_crop(IMAGE, body) is not None) == inference
    assert (dataset_person_crop(IMAGE, body, []) is not None) == dataset


def test_sharpness_falls_with_blur_and_is_zero_on_flat_ground() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    blurred = np.repeat(np.repeat(noise[::10, ::10], 10, axis=0), 10, axis=1)
    whole = Box(0, 0, 100, 100)
    sharp, dull = sharpness(noise, whole), sharpness(blurred, whole)
    assert sharp is not None
    assert dull is not None
    assert sharp > 2 * dull > 0
    assert sharpness(IMAGE, Box(0, 0, 50, 50)) == 0


def test_overlap_is_the_worst_single_neighbour() -> None:
    assert overlap(None, [Box(0, 0, 5, 5)]) == 0
    assert overlap(Box(0, 0, 10, 10), []) == 0
    assert overlap(Box(0, 0, 10, 10), [Box(0, 0, 10, 3), Box(0, 0, 4, 10)]) == pytest.approx(0.4)
