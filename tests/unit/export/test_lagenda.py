"""An exported dataset says what it was given, to a reader that follows the reference's rules."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from annotator.domain import Box, Gender
from annotator.errors import ConfigurationError, InputError
from annotator.export.manifest import Recipe
from annotator.images.crops import dataset_face_crop, dataset_person_crop, letterbox
from annotator.images.sources import iter_sources
from tests.helpers import lagenda_reader
from tests.helpers.export_rows import ExportImage, ExportRow, image_of, picture, row_of, write_rows

DATA = Path(__file__).parents[2] / "data" / "mivolo"
GOLDEN: dict[str, Any] = json.loads((DATA / "reader.json").read_text())
F, M = Gender.FEMALE, Gender.MALE


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def small_set(folder: Path) -> list[ExportRow]:
    a, b = image_of(picture(folder / "a.png", 1), "x/a.png"), image_of(picture(folder / "b.jpg", 2), "b.jpg")
    return [
        row_of(
            a, 0, Box(10, 20, 110.4, 150.6), Box(30, 30, 60, 70), truth=(34.5, F), votes=[{"age": 34, "weight": 0.5}]
        ),
        row_of(a, 1, Box(120, 20, 199, 159), truth=(33.5, M), predictions=[{"predictor": "m", "age": 31.2}], note="ä"),
        row_of(a, 2, None, Box(-5, 100, 40, 300)),
        row_of(b, 0, Box(0, 0, 200, 160), truth=(None, F)),
        row_of(b, 1, Box(5, 5, 90, 90), truth=(0.4, None)),
    ]


def test_rows_as_the_reference_reads_them(tmp_path: Path, recipe: Recipe) -> None:
    manifest = write_rows(tmp_path / "out", small_set(tmp_path), recipe=recipe)
    assert (tmp_path / "out/annotations.csv").read_text() == (
        "img_name,age,gender,face_x0,face_y0,face_x1,face_y1,person_x0,person_y0,person_x1,person_y1\n"
        "b.jpg,-1,F,-1,-1,-1,-1,0,0,200,160\n"
        "b.jpg,0,-1,-1,-1,-1,-1,5,5,90,90\n"
        "x/a.png,34,M,-1,-1,-1,-1,120,20,199,159\n"
        "x/a.png,-1,-1,0,100,40,160,-1,-1,-1,-1\n"
        "x/a.png,34,F,30,30,60,70,10,20,110,151\n"
    )
    samples = lagenda_reader.load(tmp_path / "out")
    assert [sample.labelled for sample in samples] == [True, True, True, False, True]
    counts = manifest.counts
    assert (counts.images, counts.people, counts.labels, counts.ages, counts.genders) == (2, 5, 4, 3, 3)
    assert counts.by_source == {"settled": 4}


@pytest.mark.parametrize("mode", ["faces+persons", "faces_only", "persons_only"])
def test_the_goldens_of_the_reference_reader_survive_an_export(mode: str, tmp_path: Path, recipe: Recipe) -> None:
    """Its CSV ingested, exported and read again gives the reference's samples and crops, by sha256."""
    source = tmp_path / "source"
    (source / "imgs").mkdir(parents=True)
    namespace: dict[str, Any] = {"__file__": str(DATA / "recipe.py"), "__name__": "recipe"}
    exec(compile((DATA / "recipe.py").read_text(), "recipe.py", "exec"), namespace)
    for name, spec in GOLDEN["images"].items():
        cv2.imwrite(str(source / name), namespace["synthetic_image"](*spec))
    lines = GOLDEN["csv"].splitlines(keepends=True)
    (source / "lagenda_annotation.csv").write_text("".join(line for line in lines if "missing" not in line))
    rows = []
    for item in iter_sources([str(source / "lagenda_annotation.csv")]):
        image = image_of(Path(item.uri), item.name)
        for index, person in enumerate(item.persons):
            known = None if person.truth.is_empty else (person.truth.age, person.truth.gender)
            rows.append(row_of(image, index, person.body, person.face, truth=known))
    write_rows(tmp_path / "out", rows, recipe=recipe, images="copy")
    seen = reader_samples(tmp_path / "out", mode)
    names = ("image", "age", "gender")
    golden = {tuple(item[name] for name in names): item for item in GOLDEN["runs"][mode]["items"]}
    assert seen.keys() == golden.keys()
    for key, crops in seen.items():
        for part in ("face", "body"):
            assert crops[part] == golden[key][f"{part}_sha256"]


def reader_samples(folder: Path, mode: str) -> dict[tuple[str, str, str], dict[str, str]]:
    samples = lagenda_reader.load(folder)
    seen = {}
    for sample in samples:
        if not sample.labelled:
            continue
        pixels = lagenda_reader.pixels(folder, sample.image)
        rest = [s for s in samples if s.image == sample.image and s is not sample]
        around = {"faces": [Box(*s.face) for s in rest if s.face], "bodies": [Box(*s.body) for s in rest if s.body]}
        own = Box(*sample.face) if sample.face else None
        face = dataset_face_crop(pixels, own) if own and mode != "persons_only" else None
        wanted = sample.body is not None and mode != "faces_only"
        body = dataset_person_crop(pixels, Box(*sample.body), face=own, **around) if wanted else None
        if face is not None or body is not None:
            seen[(sample.image, sample.age, sample.gender)] = {"face": digest(face), "body": digest(body)}
    return seen


def digest(crop: np.ndarray | None) -> str:
    square = np.zeros((224, 224, 3), np.uint8) if crop is None else letterbox(crop, 224)
    return hashlib.sha256(np.ascontiguousarray(square[..., ::-1]).tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x/a.png,34,M", "x/a.png,34.5,M"),  # one float: every -1 reads as -1.0, a truth
        (",-1,-1,0,100", ",,,0,100"),  # blanks read as nan, a truth, and the gender as female
        ("b.jpg,-1,F", "b.jpg,-1,f"),
        ("120,20,199,159", "120,20,,159"),
        ("120,20,199,159", "120,20,299,159"),
    ],
)
def test_the_reader_of_these_tests_falls_into_the_traps(old: str, new: str, tmp_path: Path, recipe: Recipe) -> None:
    write_rows(tmp_path / "out", small_set(tmp_path), recipe=recipe)
    path = tmp_path / "out/annotations.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises((AssertionError, ValueError)):
        lagenda_reader.load(tmp_path / "out")


corner = st.floats(-50, 250)
boxes = st.one_of(st.none(), st.builds(Box, corner, corner, corner, corner))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    people=st.lists(
        st.tuples(
            boxes,
            boxes,
            st.one_of(st.none(), st.tuples(st.one_of(st.none(), st.floats(0, 130)), st.sampled_from([None, F, M]))),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_people_round_trip(people: list[Any], tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    out = tmp_path_factory.mktemp("out")
    image = ExportImage("ab" * 32, "a.jpg", "/nowhere/a.jpg", "JPEG", 200, 160)
    rows = [row_of(image, i, body, face, truth=truth) for i, (body, face, truth) in enumerate(people)]

    def whole(box: Box | None) -> tuple[int, ...] | None:
        if box is None or not box.is_usable:
            return None
        x0, y0, x1, y1 = box.clipped(200, 160).as_ints()
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    expected = sorted(
        (
            str(-1 if truth is None or truth[0] is None else round(truth[0])),
            "-1" if truth is None or truth[1] is None else truth[1].letter,
            str(whole(face)),
            str(whole(body)),
        )
        for body, face, truth in people
        if whole(body) or whole(face)
    )
    if not expected:
        with pytest.raises(InputError, match="nobody"):
            write_rows(out, rows, recipe=recipe, images="none")
        return
    manifest = write_rows(out, rows, recipe=recipe, images="none")
    samples = lagenda_reader.load(out, images=False)
    assert sorted((s.age, s.gender, str(s.face), str(s.body)) for s in samples) == expected
    assert manifest.counts.without_box == len(people) - len(expected)


@pytest.mark.parametrize("images", ["link", "copy", "crop", "none"])
def test_the_same_rows_give_the_same_bytes(images: Any, tmp_path: Path, recipe: Recipe) -> None:
    rows = small_set(tmp_path)
    shares = {"train": 0.5, "test": 0.5}
    for name, order in (("one", rows), ("two/deep", rows[::-1])):
        write_rows(tmp_path / name, order, recipe=recipe, images=images, split=shares, seed=3)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two/deep")
    write_rows(tmp_path / "one", rows, recipe=recipe, images=images, split=shares, seed=3)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two/deep")


def test_manifest_names_every_file(tmp_path: Path, recipe: Recipe) -> None:
    rows = small_set(tmp_path)
    result = write_rows(tmp_path / "out", rows, recipe=recipe, images="copy", split={"train": 0.7, "val": 0.3})
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    found = files_of(tmp_path / "out")
    found.pop("manifest.json")
    assert manifest["files"] == {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in found.items()
    }
    assert list(manifest["files"]) == sorted(manifest["files"])
    assert manifest["id"] == result.id
    assert manifest["predictors"] == {"m@0123456789ab": "ab" * 32}
    assert manifest["counts"]["labels"] == 4
    assert (manifest["schema_version"], manifest["seed"], manifest["method"]) == (2, 0, "precision")


def test_links_lead_to_the_originals(tmp_path: Path, recipe: Recipe) -> None:
    write_rows(tmp_path / "out", small_set(tmp_path), recipe=recipe, images="link")
    assert (tmp_path / "out/images/x/a.png").readlink() == tmp_path / "a.png"
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["files"]["images/b.jpg"]["sha256"] == hashlib.sha256((tmp_path / "b.jpg").read_bytes()).hexdigest()


def test_provenance_has_one_row_for_each_label(tmp_path: Path, recipe: Recipe) -> None:
    write_rows(tmp_path / "out", small_set(tmp_path), recipe=recipe, split={"train": 1.0})
    rows = pq.read_table(tmp_path / "out/provenance.parquet").to_pylist()
    assert len(rows) == 4
    exact = {row["age"]: row for row in rows}
    assert exact.keys() == {34.5, 33.5, None, 0.4}
    assert json.loads(exact[34.5]["votes"]) == [{"age": 34, "weight": 0.5}]
    assert json.loads(exact[33.5]["predictions"]) == [{"predictor": "m", "age": 31.2}]
    assert json.loads(exact[33.5]["details"]) == {"note": "ä"}
    assert {row["source"] for row in rows} == {"settled"}
    assert {(row["img_name"], row["vote_count"], row["split"]) for row in rows} == {
        ("x/a.png", 3, "train"),
        ("b.jpg", 3, "train"),
    }


def test_what_opencv_cannot_read_becomes_jpeg(tmp_path: Path, recipe: Recipe) -> None:
    pillow_heif.register_heif_opener()
    turned = Image.Exif()
    turned[0x0112] = 6
    plain = Image.open(picture(tmp_path / "plain.png", 5))
    for name in ("a.heic", "b.gif", "c.avif", "d.tif"):
        plain.save(tmp_path / name, **({"format": "HEIF"} if name.endswith("heic") else {}))
    plain.save(tmp_path / "e.png", exif=turned)
    faded = plain.convert("RGBA")
    faded.putalpha(90)
    faded.save(tmp_path / "f.webp", lossless=True)
    plain.convert("CMYK").save(tmp_path / "g.jpg")
    plain.save(tmp_path / "h.jpg", exif=turned)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    images = [image_of(tmp_path / name) for name in names]
    rows = [row_of(image, 0, Box(0, 0, image.width, image.height), truth=(30, F)) for image in images]
    write_rows(tmp_path / "out", rows, recipe=recipe)
    samples = lagenda_reader.load(tmp_path / "out")
    assert [sample.image for sample in samples] == [*(f"{letter}.jpg" for letter in "abcdefgh"), "plain.png"]
    for sample in samples:
        assert lagenda_reader.pixels(tmp_path / "out", sample.image).shape[:2] == (sample.body[3], sample.body[2])
    assert (tmp_path / "out/images/h.jpg").is_symlink()
    assert not (tmp_path / "out/images/e.jpg").is_symlink()


def test_crops_hold_all_people_and_their_boxes_move_along(tmp_path: Path, recipe: Recipe) -> None:
    image = image_of(picture(tmp_path / "a.png", 3, (400, 300)))
    rows = [
        row_of(image, 0, Box(100, 100, 200, 200), Box(120, 110, 140, 140), truth=(20, M)),
        row_of(image, 1, Box(180, 90, 220, 190)),
    ]
    write_rows(tmp_path / "out", rows, recipe=recipe, images="crop")
    samples = lagenda_reader.load(tmp_path / "out")
    crop = lagenda_reader.pixels(tmp_path / "out", "a.jpg")
    assert crop.shape == (132, 144, 3)
    assert {s.body for s in samples} == {(12, 21, 112, 121), (92, 11, 132, 111)}
    original = np.asarray(Image.open(tmp_path / "a.png"))[79:211, 88:232]
    assert np.abs(crop.astype(int) - original).mean() < 3


def test_an_image_from_an_archive_is_copied(tmp_path: Path, recipe: Recipe) -> None:
    import zipfile

    picture(tmp_path / "a.jpg", 1)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.jpg", "in/a.jpg")
    (item,) = iter_sources([str(tmp_path / "a.zip")])
    plain = image_of(tmp_path / "a.jpg")
    image = ExportImage(plain.sha256, item.name, item.uri, plain.format, plain.width, plain.height)
    write_rows(tmp_path / "out", [row_of(image, 0, Box(0, 0, 50, 50))], recipe=recipe)
    assert (tmp_path / "out/images/in/a.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()


def test_images_that_are_gone_or_changed_stop_the_export(tmp_path: Path, recipe: Recipe) -> None:
    rows = small_set(tmp_path)
    picture(tmp_path / "b.jpg", 77)
    with pytest.raises(InputError, match=r"b\.jpg has changed"):
        write_rows(tmp_path / "out", rows, recipe=recipe)
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"'b\.jpg'.*--images none"):
        write_rows(tmp_path / "out", rows, recipe=recipe)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png"]
    write_rows(tmp_path / "out", rows, recipe=recipe, images="none")
    assert not (tmp_path / "out/images").exists()


def test_bad_arguments_leave_nothing(tmp_path: Path, recipe: Recipe) -> None:
    rows = small_set(tmp_path)
    with pytest.raises(InputError, match="twice"):
        write_rows(tmp_path / "out", [*rows, rows[0]], recipe=recipe)
    with pytest.raises(InputError, match="nobody"):
        write_rows(tmp_path / "out", [], recipe=recipe)
    with pytest.raises(ConfigurationError, match="hologram"):
        write_rows(tmp_path / "out", rows, recipe=recipe, images="hologram")  # type: ignore[arg-type]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.jpg"]


def test_the_csv_has_the_reference_writers_form(tmp_path: Path, recipe: Recipe) -> None:
    """Same header, quoting and line ends as the reference's own writer."""
    image = ExportImage("ab" * 32, "x/c, d.png", "/nowhere", "PNG", 100, 100)
    write_rows(
        tmp_path / "out",
        [row_of(image, 0, Box(5, 6, 7, 8), Box(1, 2, 3, 4), truth=(34, M))],
        recipe=recipe,
        images="none",
    )
    written = (tmp_path / "out/annotations.csv").read_text().splitlines()
    golden = GOLDEN["save_annotations_output"].splitlines()
    assert written == [golden[0], golden[-1]]
    assert next(csv.reader(io.StringIO(written[1])))[0] == "x/c, d.png"
