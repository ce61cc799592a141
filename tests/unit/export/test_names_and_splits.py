"""Names are safe and unique, splits are stable."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.domain import Box
from annotator.errors import InputError
from annotator.export.manifest import Recipe
from annotator.export.naming import KNOWN_SUFFIXES, dataset_name, is_safe, name_key
from annotator.export.split import Dealer, parse_split
from tests.helpers import lagenda_reader
from tests.helpers.export_rows import ExportImage, image_of, picture, row_of, write_rows

BOX = Box(1, 1, 50, 50)


@given(name=st.text(st.characters(codec="utf-8"), max_size=300), converted=st.booleans())
def test_any_name_becomes_a_safe_one(name: str, converted: bool) -> None:
    safe = dataset_name(name, ".jpg", converted=converted)
    path = PurePosixPath(safe)
    assert is_safe(safe)
    assert not path.is_absolute()
    assert path.suffix.lower() in KNOWN_SUFFIXES
    assert all(PurePosixPath(part).suffix.lower() not in KNOWN_SUFFIXES for part in path.parts[:-1])
    assert all(0 < len(part.encode()) <= 160 for part in path.parts)
    assert dataset_name(safe, ".jpg", converted=False) == safe


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lag_benchmark/0a.jpg.jpg", "lag_benchmark/0a.jpg.jpg"),
        ("/abs/x.png", "abs/x.png"),
        ("a\\..\\b.PNG", "a/b.PNG"),
        ("a.jpg/b", "a.jpg_/b.jpg"),
        ("...", "image.jpg"),
        ("line\nbreak.jpg", "line_break.jpg"),
        ("käse 12:30.jpeg", "käse 12_30.jpeg"),
    ],
)
def test_names_stay_as_known_as_can_be(name: str, expected: str) -> None:
    assert dataset_name(name, ".jpg", converted=False) == expected


def test_different_images_with_one_name_are_told_apart_in_any_order(tmp_path: Path, recipe: Recipe) -> None:
    places = ("1/a.png", "2/a.png", "3/A.PNG", "4/b.png")
    images = [image_of(picture(tmp_path / place, seed), Path(place).name) for seed, place in enumerate(places)]
    squatter = image_of(picture(tmp_path / "5/x.png", 9), f"a-{images[0].sha256[:8]}.png")
    rows = [row_of(image, 0, BOX, truth=(30, None)) for image in (*images, squatter)]
    write_rows(tmp_path / "one", rows, recipe=recipe)
    write_rows(tmp_path / "two", rows[::-1], recipe=recipe)
    assert (tmp_path / "one/annotations.csv").read_bytes() == (tmp_path / "two/annotations.csv").read_bytes()
    names = [sample.image for sample in lagenda_reader.load(tmp_path / "one")]
    assert len({name_key(name) for name in names}) == 5
    assert "b.png" in names
    for image in images[:3]:
        assert any(image.sha256[:8] in name for name in names)


def test_one_image_under_two_people_is_one_file(tmp_path: Path, recipe: Recipe) -> None:
    image = image_of(picture(tmp_path / "a.png", 1))
    write_rows(tmp_path / "out", [row_of(image, i, Box(i, 0, 50, 50)) for i in range(3)], recipe=recipe)
    assert [p.name for p in (tmp_path / "out/images").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train", "write it like"),
        ("train=x", "write it like"),
        ("train=.8,val=.1", "add up to 0.9"),
        ("train=1.2,val=-.2", "positive"),
        ("train=nan", "positive"),
        ("train=.5,train=.5", "twice"),
        ("annotations=1", "cannot name"),
        ("../up=1", "cannot name"),
        ("", "write it like"),
    ],
)
def test_a_broken_split_is_named(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_split(text)


def test_every_class_is_shared_out() -> None:
    """Groups of one to six people, rare classes among them: each class and the whole are within a person or two."""
    shares = parse_split("train=.8,val=.1,test=.1")
    random = np.random.default_rng(0)
    dealer = Dealer(shares)
    have: dict[str, Counter[int]] = {name: Counter() for name in shares}
    for _ in range(20_000):
        people = Counter(np.minimum(random.geometric(0.2, random.integers(1, 7)), 20).tolist())
        have[dealer.deal(people)] += people
    total = sum(have.values(), Counter())
    for name, share in shares.items():
        size = sum(have[name].values())
        assert abs(size - share * sum(total.values())) < 8
        for kind, count in total.items():
            assert abs(have[name][kind] - share * count) < 8


def test_a_group_goes_where_it_must() -> None:
    dealer = Dealer({"train": 0.9, "test": 0.1})
    assert [dealer.deal({"a": 1}, "test") for _ in range(3)] == ["test"] * 3
    assert dealer.deal({"a": 1}, "gone") == "train"


def test_no_image_or_group_is_in_two_splits(tmp_path: Path, recipe: Recipe) -> None:
    images = [
        ExportImage(
            hashlib.sha256(b"%d" % number).hexdigest(),
            f"{number}.jpg",
            "/nowhere",
            "JPEG",
            100,
            100,
            f"twins-{number // 2}",
        )
        for number in range(200)
    ]
    rows = [row_of(image, index, BOX, truth=(20, None)) for image in images for index in range(2)]
    manifest = write_rows(
        tmp_path / "out", rows, recipe=recipe, images="none", split={"train": 0.6, "val": 0.2, "test": 0.2}, seed=1
    )
    parts = {
        name: lagenda_reader.load(tmp_path / "out", f"{name}.csv", images=False) for name in ("train", "val", "test")
    }
    split_of_image = {sample.image: name for name, samples in parts.items() for sample in samples}
    assert sum(map(len, parts.values())) == 400
    assert all(
        len({name for name, samples in parts.items() if any(s.image == i for s in samples)}) == 1
        for i in split_of_image
    )
    for number in range(0, 200, 2):
        assert split_of_image[f"{number}.jpg"] == split_of_image[f"{number + 1}.jpg"]
    assert dict(manifest.counts.by_split) == {
        name: len({sample.image for sample in samples}) for name, samples in sorted(parts.items())
    }
