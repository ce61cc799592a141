"""Crops never crash, and measure what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
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
        dataset_person_crop(IMAGE, body, face=faces[0] if faces else None, faces=faces[1:], bodies=bodies),
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
    assert dataset_person_crop(IMAGE, body, faces=[Box(0, 0, 61, 100)]) is None
    assert dataset_person_crop(IMAGE, body, faces=[Box(0, 0, 59, 100)]) is not None


@pytest.mark.parametrize(("side", "inference", "dataset"), [(49, False, False), (50, True, False), (100, True, True)])
def test_smallest_bodies(side: int, inference: bool, dataset: bool) -> None:
    body = Box(0, 0, side, side)
    assert (person_crop(IMAGE, body) is not None) == inference
    assert (dataset_person_crop(IMAGE, body) is not None) == dataset


integers = st.tuples(st.integers(-40, 170), st.integers(-40, 130), st.integers(1, 200), st.integers(1, 160))
whole_box = integers.map(lambda b: Box(b[0], b[1], b[0] + b[2], b[1] + b[3]))
small_box = integers.map(lambda b: Box(b[0], b[1], b[0] + b[2] // 30, b[1] + b[3] // 30))


def clamped(box: Box) -> tuple[int, int, int, int]:
    return tuple(min(max(int(v), 0), limit) for v, limit in zip(box.as_tuple(), (160, 120, 160, 120), strict=True))  # type: ignore[return-value]


def oracle(body: Box, face: Box | None, faces: list[Box], bodies: list[Box]) -> np.ndarray | None:
    """The reference's rule on the whole image; only for own faces that touch the body's rows and columns."""
    x0, y0, x1, y1 = clamped(body)
    if min(x1 - x0, y1 - y0) < 100:
        return None
    canvas = IMAGE.copy()
    for others, least in ((faces, 5), (bodies, 100)):
        for other in others:
            a0, b0, a1, b1 = clamped(other)
            if min(a1 - a0, b1 - b0) < least:
                continue
            shared = max(0, min(x1, a1) - max(x0, a0)) * max(0, min(y1, b1) - max(y0, b0))
            if shared / ((x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared) >= 1e-4:
                canvas[b0:b1, a0:a1] = 0
    if face is not None:
        a0, b0, a1, b1 = clamped(face)
        if min(a1 - a0, b1 - b0) >= 5:
            canvas[b0:b1, a0:a1] = 0
    crop = canvas[y0:y1, x0:x1]
    return crop if np.count_nonzero(crop) >= 0.4 * crop.size else None


@given(
    body=whole_box,
    face=st.one_of(st.none(), small_box, whole_box),
    faces=st.lists(st.one_of(small_box, whole_box), max_size=3),
    bodies=st.lists(whole_box, max_size=3),
)
def test_the_dataset_rule_equals_an_independent_one(
    body: Box, face: Box | None, faces: list[Box], bodies: list[Box]
) -> None:
    if face is not None:
        a, b = clamped(face), clamped(body)
        assume(a[2] >= b[0] and a[3] >= b[1])  # else the reference slices from the other side, tested apart
    ours, theirs = (
        dataset_person_crop(IMAGE, body, face=face, faces=faces, bodies=bodies),
        oracle(body, face, faces, bodies),
    )
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert np.array_equal(ours, theirs)


def test_small_neighbours_do_not_exist_for_the_dataset_rule() -> None:
    body = Box(0, 0, 120, 110)
    for others in ({"bodies": [Box(10, 10, 109, 109)]}, {"faces": [Box(10, 10, 14, 60)]}):
        crop = dataset_person_crop(IMAGE, body, **others)
        assert crop is not None
        assert crop.min() == 200
    blanked = dataset_person_crop(IMAGE, body, faces=[Box(10, 10, 15, 60)])
    assert blanked is not None
    assert np.count_nonzero(blanked[..., 0] == 0) == 5 * 50


def test_an_own_face_left_of_its_body_blanks_as_the_reference_slices() -> None:
    crop = dataset_person_crop(IMAGE, Box(30, 0, 140, 120), face=Box(0, 0, 20, 20))
    assert crop is not None
    assert crop[:20, :100].max() == 0  # columns 0 to -10 of 110
    assert crop[:20, 100:].min() == 200
    assert crop[20:].min() == 200


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
