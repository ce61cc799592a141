"""What the model is shown of a person."""

import numpy as np
import pytest

from annotator.domain import Box
from annotator.errors import UnknownName
from annotator.predictors.base import PersonView
from annotator.predictors.llava.crops import check_crop, crop_person

BODY, FACE = Box(10, 20, 50, 90), Box(20.5, 25.5, 35, 40)


@pytest.fixture
def image(noise):
    return np.maximum(noise(100, 60, 3), 1)


def view(image, body=BODY, face=FACE):
    return PersonView("p", image, body, face)


def test_body_is_the_plain_box(image):
    pixels, source = crop_person(view(image), "body")
    assert source == "body"
    assert np.array_equal(pixels, image[20:90, 10:50])


def test_boxes_are_clipped_and_grown_to_whole_pixels(image):
    pixels, _ = crop_person(view(image, body=Box(-5.5, 10.7, 30.2, 400)), "body")
    assert np.array_equal(pixels, image[10:, :31])


def test_face_alone(image):
    pixels, source = crop_person(view(image), "face")
    assert source == "face"
    assert np.array_equal(pixels, image[25:40, 20:35])


def test_without_face_only_the_own_face_is_black(image):
    pixels, source = crop_person(view(image), "no-face")
    expected = image[20:90, 10:50].copy()
    expected[5:20, 10:25] = 0
    assert source == "no-face"
    assert np.array_equal(pixels, expected)
    assert (image > 0).all()


def test_a_face_that_sticks_out_of_the_body_is_blackened_where_it_is(image):
    pixels, _ = crop_person(view(image, face=Box(0, 0, 15, 25)), "no-face")
    assert (pixels[:5, :5] == 0).all()
    assert (pixels[5:] > 0).all()
    outside, _ = crop_person(view(image, face=Box(0, 0, 5, 5)), "no-face")
    assert np.array_equal(outside, image[20:90, 10:50])


def test_without_a_body_the_face_stands_in_only_for_the_body(image):
    only_face = view(image, body=None)
    assert crop_person(only_face, "body")[1] == "face"
    assert crop_person(only_face, "no-face") is None
    assert crop_person(view(image, face=None), "face") is None
    assert np.array_equal(crop_person(view(image, face=None), "no-face")[0], image[20:90, 10:50])


@pytest.mark.parametrize("crop", ["body", "face", "no-face"])
@pytest.mark.parametrize("box", [None, Box(5, 5, 5, 9), Box(200, 200, 300, 300), Box(float("nan"), 0, 5, 5)])
def test_nothing_to_see(image, crop, box):
    assert crop_person(view(image, body=box, face=box), crop) is None


def test_an_unknown_crop_names_the_known():
    assert check_crop("no-face") == "no-face"
    with pytest.raises(UnknownName, match="unknown crop 'bust'; known are: body, face, no-face"):
        check_crop("bust")
