import csv
import hashlib

import numpy as np
import pytest

from annotator.demo.figures import MIN_FACE, SIZES, draw_image, encode_jpeg, read_back, write_pictures
from annotator.demo.looks import CLEAR, OLDEST, SUBTLE, draw_look
from annotator.domain import Box, Gender

PICTURES = 40


@pytest.fixture(scope="module")
def drawn():
    return [draw_image(11, index) for index in range(PICTURES)]


def test_the_same_seed_and_index_give_the_same_picture_and_truth(drawn):
    for index in (0, 7, 33):
        pixels, people = draw_image(11, index)
        assert np.array_equal(pixels, drawn[index][0])
        assert people == drawn[index][1]


def test_other_seeds_and_indices_give_other_pictures(drawn):
    digests = {hashlib.sha256(pixels.tobytes()).hexdigest() for pixels, _ in drawn}
    assert len(digests) == PICTURES
    assert hashlib.sha256(draw_image(12, 0)[0].tobytes()).hexdigest() not in digests


def test_boxes_lie_inside_the_picture_and_are_usable(drawn):
    for pixels, people in drawn:
        height, width = pixels.shape[:2]
        assert (width, height) in SIZES
        assert pixels.dtype == np.uint8
        for box in [person.body for person in people] + [person.face for person in people if person.face]:
            assert box.is_usable
            assert box == box.clipped(width, height)


def test_faces_lie_within_their_bodies_and_are_large_enough(drawn):
    faces = [(person.body, person.face) for _, people in drawn for person in people if person.face is not None]
    assert len(faces) > PICTURES
    for body, face in faces:
        assert face.height >= MIN_FACE
        assert body.intersection(face) >= 0.95 * face.area


def test_body_boxes_are_tight_to_the_ink():
    """Drawn on a blank canvas, a figure's box is within two pixels of the pixels that changed."""
    from annotator.demo.anatomy import Pose, draw_person

    rng = np.random.default_rng(5)
    pose = Pose((0.3, 0.4), (0.0, 0.1), 0.2, 0.3, 1.0, "")
    checked = 0
    for _ in range(30):
        look = draw_look(rng)
        if look.outfit.cane:
            continue
        canvas = np.full((900, 900, 3), 1, np.uint8)
        body, _ = draw_person(canvas, look, pose, (450.0, 860.0), 120.0)
        ys, xs = np.nonzero((canvas != 1).any(axis=2))
        ink = Box(float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
        assert np.allclose(body.as_tuple(), ink.as_tuple(), atol=5.0)
        checked += 1
    assert checked > 10


def test_all_ages_both_genders_and_hidden_faces_occur(drawn):
    people = [person for _, someone in drawn for person in someone]
    ages = np.array([person.age for person in people])
    assert ages.min() >= 0
    assert ages.max() <= OLDEST
    assert {int(age) // 30 for age in ages} >= {0, 1, 2}
    assert {person.gender for person in people} == set(Gender)
    assert any(person.face is None for person in people)
    assert max(len(someone) for _, someone in drawn) >= 4


def test_signs_follow_age_on_average_but_not_exactly():
    rng = np.random.default_rng(3)
    looks = [draw_look(rng) for _ in range(1500)]
    ages = np.array([look.age for look in looks], float)
    for sign, low, high in (
        ([look.build.stoop for look in looks], 0.5, 0.99),
        ([look.face.wrinkles for look in looks], 0.7, 0.995),
        ([look.build.heads for look in looks], 0.3, 0.95),
    ):
        assert low < np.corrcoef(ages, sign)[0, 1] < high
    skin = [sum(look.skin) for look in looks]
    assert abs(np.corrcoef(ages, skin)[0, 1]) < 0.1


@pytest.mark.parametrize(("signs", "low", "high"), [(SUBTLE, 0.9, 0.975), (CLEAR, 0.96, 0.995)])
def test_gender_signs_are_strong_but_not_certain(signs, low, high):
    rng = np.random.default_rng(4)
    adults = [look for look in (draw_look(rng, signs) for _ in range(2500)) if look.age >= 20]
    female = np.array([look.gender is Gender.FEMALE for look in adults])
    lashes = np.array([look.face.lashes for look in adults])
    assert low < (female == lashes).mean() < high


def test_a_picture_survives_jpeg():
    pixels, _ = draw_image(11, 0)
    again = read_back(pixels)
    assert again.shape == pixels.shape
    assert np.abs(again.astype(int) - pixels).mean() < 6
    assert encode_jpeg(pixels)[:2] == b"\xff\xd8"


def test_written_pictures_come_with_their_truth(tmp_path):
    table = write_pictures(tmp_path / "pictures", 3, seed=11)
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    people = [(f"figures-11-{index:05d}.jpg", person) for index in range(3) for person in draw_image(11, index)[1]]
    assert len(rows) == len(people)
    for row, (name, person) in zip(rows, people, strict=True):
        assert row["img_name"] == name
        assert (tmp_path / "pictures" / name).is_file()
        assert (int(row["age"]), row["gender"]) == (person.age, person.gender.letter)
        assert tuple(int(row[f"person_{side}"]) for side in ("x0", "y0", "x1", "y1")) == person.body.as_ints()
        assert (row["face_x0"] == "-1") == (person.face is None)
