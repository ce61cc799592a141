"""Pixels are those of the reference's own preprocessing."""

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotator.predictors.llava.preprocess import BACKGROUND, normalise, pad_to_square, preprocess

NAMES = ("tall_97x233", "wide_640x360")


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_those_of_the_reference(name, recipe, data):
    ours = preprocess(recipe.synthetic_image(name), 336)
    reference = np.asarray(Image.open(data / "images" / f"{name}.pad.png"))
    record = json.loads((data / "images" / "golden.json").read_text())["results"][f"{name}.pad"]
    assert np.array_equal(ours, reference)
    assert hashlib.sha256(ours.tobytes()).hexdigest() == record["sha256_uint8_hwc"]


@pytest.mark.parametrize("name", NAMES)
def test_normalised_values_are_those_of_the_reference(name, recipe, data):
    pixels = torch.from_numpy(preprocess(recipe.synthetic_image(name), 336).copy())[None]
    ours = normalise(pixels, torch.float32)[0].numpy()
    golden = np.load(data / "images" / "golden_stride12.npz")[f"{name}.pad"]
    assert ours.shape == (3, 336, 336)
    assert np.abs(ours[:, ::12, ::12] - golden).max() <= 3e-7


def test_transformers_own_processor_agrees(noise):
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    square = {"height": 84, "width": 84}
    processor = LlavaImageProcessorPil(do_pad=True, size={"shortest_edge": 84}, crop_size=square)
    for shape in ((40, 90), (200, 31), (84, 84), (50, 50)):
        image = noise(*shape, 3, seed=shape[0])
        theirs = processor(Image.fromarray(image), return_tensors="np").pixel_values[0]
        ours = normalise(torch.from_numpy(preprocess(image, 84).copy())[None], torch.float32)[0].numpy()
        assert np.abs(ours - theirs).max() <= 3e-7


@given(st.integers(1, 40), st.integers(1, 40))
def test_padding_keeps_the_picture_in_the_middle(height, width):
    image = np.full((height, width, 3), 7, np.uint8)
    square = pad_to_square(image)
    side = max(height, width)
    assert square.shape == (side, side, 3)
    top, left = (side - height) // 2, (side - width) // 2
    assert (square[top : top + height, left : left + width] == 7).all()
    assert ((square == 7).all(-1)).sum() == height * width
    assert (square[(square != 7).any(-1)] == BACKGROUND).all()
    assert BACKGROUND == (122, 116, 104)


def test_one_pixel_fills_the_square():
    assert (preprocess(np.full((1, 1, 3), 200, np.uint8), 28) == 200).all()


def test_a_crop_that_is_a_view_of_an_image_will_do(noise):
    image = noise(60, 80, 3)
    assert np.array_equal(preprocess(image[5:50, 10:30], 28), preprocess(image[5:50, 10:30].copy(), 28))
