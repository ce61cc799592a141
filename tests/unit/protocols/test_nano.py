"""NanoLAGENDA's list: full groups, one list for one seed wherever it is drawn, and a file that reads back the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import numpy as np

from annotator.protocols.annotations import read_annotations
from annotator.protocols.nano import LAST_GROUP, PER_GROUP, draw_nano, nano_groups, nano_list
from annotator.protocols.people import People, make_people

COUNT = 8000


def crowd(shuffle: int | None = None) -> People:
    """8,000 people of 0 to 95 on 5,000 images, 120 of them from 60 to 64, some without age; in any order of rows."""
    random = Random(3)
    rows, sixty = [], 0
    for _ in range(COUNT):
        age: float = random.randrange(96)
        if 60 <= age < 65:
            sixty += 1
            age = age if sixty <= 120 else 30
        x, y = random.randrange(300), random.randrange(300)
        box = (x, y, x + random.randrange(20, 200), y + random.randrange(20, 200))
        known = random.random() < 0.9
        gender = random.randrange(2) if known else -1
        name = f"lag_benchmark/{random.randrange(5000):05d}.jpg"
        rows.append((name, age if known else np.nan, gender, box, (x - 5, y - 5, x + 250, y + 250)))
    if shuffle is not None:
        Random(shuffle).shuffle(rows)
    names, age_column, genders, faces, bodies = zip(*rows, strict=True)
    return make_people(
        Path(),
        names,
        age=np.array(age_column, np.float64),
        gender=np.array(genders, np.int64),
        face=np.array(faces, np.float64),
        body=np.array(bodies, np.float64),
    )


def test_full_groups_have_two_hundred_and_small_ones_everybody() -> None:
    people = crowd()
    available = np.bincount(nano_groups(people)[nano_groups(people) >= 0], minlength=LAST_GROUP + 1)
    drawn = draw_nano(people, seed=0)
    known = drawn.known
    groups = np.bincount(nano_groups(drawn)[known], minlength=LAST_GROUP + 1)
    assert groups.tolist() == np.minimum(available, PER_GROUP).tolist()
    assert groups[12] == available[12] < PER_GROUP  # 60 to 64
    assert np.nanmax(drawn.age) == 90
    assert len(groups) == 18


def test_everybody_on_a_drawn_image_is_kept_to_be_blanked() -> None:
    people, drawn = crowd(), draw_nano(crowd(), seed=0)
    per_image = dict(zip(people.images, np.bincount(people.image).tolist(), strict=True))
    assert all(per_image[name] == size for name, size in zip(drawn.images, np.bincount(drawn.image), strict=True))
    assert (~drawn.known).any()


def test_the_list_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    listed = nano_list(draw_nano(crowd(), seed=0))
    shuffled = draw_nano(crowd(shuffle=9), seed=0)
    assert sorted(nano_list(shuffled).splitlines()) == sorted(listed.splitlines())
    assert nano_list(draw_nano(crowd(), seed=1)) != listed
    # on any machine and with any version of NumPy: people are ranked by a hash of the seed and of themselves
    assert hashlib.sha256(listed.encode()).hexdigest() == (
        "e9b8fcbd6f8b119a16d801b7e9f19636ebd3f7a895707de708c3a82f8267e91f"
    )


def test_the_list_reads_back_as_the_same_benchmark(tmp_path: Path) -> None:
    drawn = draw_nano(crowd(), seed=0)
    path = tmp_path / "nanolagenda.csv"
    path.write_text(nano_list(drawn))
    again = read_annotations(path, tmp_path)
    ours, theirs = ({p.person_id(row): row for row in range(len(p)) if p.known[row]} for p in (drawn, again))
    assert ours.keys() == theirs.keys()
    for name in ("age", "gender", "face", "body"):
        left = getattr(drawn, name)[[ours[key] for key in sorted(ours)]]
        right = getattr(again, name)[[theirs[key] for key in sorted(ours)]]
        assert np.array_equal(left, right, equal_nan=True)
    assert len(again) == len(drawn)
