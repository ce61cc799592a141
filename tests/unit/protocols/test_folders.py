"""Each benchmark's folder in its published layout, made small, and what is said of one that is not right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import AnnotatorError, InputError, StorageError
from annotator.evaluation.published import published_rows
from annotator.protocols.catalogue import BENCHMARKS, find_benchmark
from annotator.protocols.checks import check_folder, count, refuse_partial
from annotator.protocols.people import People
from tests.helpers.benchmark_folders import ADIENCE_LABELS, LAYOUTS


def read(layout: str, folder: Path) -> People:
    name, make = LAYOUTS[layout]
    make(folder)
    return find_benchmark(name).read(folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_with_all_its_images(layout: str, tmp_path: Path) -> None:
    people = read(layout, tmp_path)
    benchmark = find_benchmark(LAYOUTS[layout][0])
    check = check_folder(benchmark, people)
    assert check.missing == ()
    assert check.counts["people"] > 0
    assert bool(check.wrong) == bool(benchmark.counts)  # a dozen people are not what was published
    for row in range(len(people)):
        face, body = people.boxes(row, 250, 250)
        assert face or body


@pytest.mark.parametrize(
    ("layout", "counts"),
    [
        ("lagenda", {"images": 12, "people": 12, "female": 6, "male": 6}),
        ("imdb-clean", {"images": 6, "people": 6}),
        ("fairface", {"people": 5, "female": 2, "male": 3, "age 70-120": 1, "age 0-2": 1}),
        ("cacd", {"people": 4, "female": 0, "male": 0, "fold 2": 4}),
        ("agedb", {"people": 10, "female": 3, "male": 4, "fold 9": 1}),
        ("agedb annotated", {"people": 10, "female": 10, "fold 0": 1}),
    ],
)
def test_counts(layout: str, counts: dict[str, int], tmp_path: Path) -> None:
    people = read(layout, tmp_path)
    found = count(people, find_benchmark(LAYOUTS[layout][0]).classes)
    assert {name: found[name] for name in counts} == counts


def test_adience_merges_labels_and_keeps_folds(tmp_path: Path) -> None:
    people = read("adience", tmp_path)
    expected = {"(0, 2)": 0, "(25, 32)": 4, "35": 4, "(38, 48)": 5, "None": -1, "57": 7, "(8, 23)": 2, "(60, 100)": 7}
    assert people.age_class[people.fold == 0].tolist() == [expected[label] for label in ADIENCE_LABELS[:4]]
    assert people.age_class[people.fold == 4].tolist() == [expected[label] for label in ADIENCE_LABELS[4:]]
    assert people.gender[people.fold == 2].tolist() == [1, 0, -1, -1]
    assert people.boxes(0, 120, 90) == (people.rule.face(120, 90), None)  # type: ignore[union-attr]


def test_adience_annotations_find_their_folds(tmp_path: Path) -> None:
    people = read("adience annotated", tmp_path)
    assert people.rule is None
    known = people.known
    assert np.bincount(people.fold[known]).tolist() == [4] * 5


def test_boxes_follow_the_rules_of_the_reference(tmp_path: Path) -> None:
    for layout, size, face, body in (
        ("fairface", (448, 448), (125, 125, 323, 323), None),
        ("cacd", (250, 250), (50, 50, 200, 200), (0, 0, 250, 250)),
        ("agedb", (251, 249), (25, 24, 226, 225), (0, 0, 251, 249)),
    ):
        found = read(layout, tmp_path / layout).boxes(0, *size)
        assert [box and box.as_tuple() for box in found] == [face, body]


def test_a_missing_image_is_named_with_its_folder(tmp_path: Path) -> None:
    people = read("lagenda", tmp_path)
    for number in (4, 7):
        (tmp_path / "lag_benchmark" / f"{number:04d}.jpg").unlink()
    check = check_folder(find_benchmark("lagenda"), people)
    with pytest.raises(InputError) as caught:
        refuse_partial(find_benchmark("lagenda"), people, check)
    assert str(caught.value) == (
        f"lagenda: image lag_benchmark/0004.jpg is not in {tmp_path} (2 of 12 are missing); check the download and "
        "--images, or run on what is there with --partial"
    )


def test_a_wrong_count_is_named(tmp_path: Path) -> None:
    people = read("fairface", tmp_path)
    benchmark = find_benchmark("fairface")
    with pytest.raises(InputError, match=r"10,954 people were published, .* hold 5 \(11 more counts differ\); check"):
        refuse_partial(benchmark, people, check_folder(benchmark, people))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("layout", "spoil", "message"),
    [
        ("lagenda", lambda f: (f / "lagenda_annotation.csv").unlink(), "there is no lagenda_annotation.csv"),
        ("adience", lambda f: (f / "fold_3_data.txt").unlink(), "cannot read .*fold_3_data.txt"),
        (
            "adience",
            lambda f: change(f / "fold_1_data.txt", "face_id", "face"),
            "fold_1_data.txt has no column face_id",
        ),
        ("adience", lambda f: change(f / "fold_0_data.txt", "(25, 32)", "(25, 33)"), "fold_0_data.txt, line 3: age"),
        ("adience", lambda f: change(f / "fold_0_data.txt", "\tf\t", "\tx\t"), "line 2: unknown gender 'x'"),
        ("fairface", lambda f: change(f / "fairface_label_val.csv", "gender", "sex"), "has no column gender"),
        ("fairface", lambda f: change(f / "fairface_label_val.csv", "3-9", "3-8"), "line 3: age '3-8' is none of"),
        ("fairface", lambda f: (f / "fairface_label_val.csv").unlink(), "there is no fairface_label_val.csv"),
        ("cacd", lambda f: (f / "CACD2000.json").write_text("{"), "CACD2000.json is not JSON"),
        ("cacd", lambda f: (f / "CACD2000.json").write_text("{}"), "expected a list of images, found a dict"),
        (
            "cacd",
            lambda f: change(f / "CACD2000.json", '"folder": 2', '"folder": 1'),
            "no images of the wanted folders",
        ),
        ("agedb", lambda f: change(f / "AgeDB.json", '"folder": 3', '"split": 3'), "AgeDB.json, entry 3: KeyError"),
        ("agedb", lambda f: change(f / "AgeDB.json", '"age": 44', '"age": 440'), "entry 4: age 440 is not between"),
        ("imdb-clean original", lambda f: change(f / "csvs/imdb_test_new.csv", "x_max", "right"), "no column x_max"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(
    layout: str, spoil: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    name, make = LAYOUTS[layout]
    make(tmp_path)
    spoil(tmp_path)
    with pytest.raises((InputError, StorageError), match=message) as caught:
        find_benchmark(name).read(tmp_path)
    assert "\n" not in str(caught.value)


def test_every_benchmark_of_the_paper_is_known() -> None:
    known = {benchmark.name for benchmark in BENCHMARKS}
    assert {row.benchmark for row in published_rows()} <= known
    with pytest.raises(AnnotatorError, match="unknown benchmark"):
        find_benchmark("lagend")


def test_published_class_counts_add_up() -> None:
    for name, without_age in (("adience", 40), ("fairface", 0)):
        counts = find_benchmark(name).counts
        assert sum(value for key, value in counts.items() if key.startswith("age ")) + without_age == counts["people"]
    counts = find_benchmark("agedb").counts
    assert sum(value for key, value in counts.items() if key.startswith("fold ")) == counts["people"]
    assert counts["female"] + counts["male"] == counts["people"]
