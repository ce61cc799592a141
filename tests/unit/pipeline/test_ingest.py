from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import select

from annotator.domain import Gender
from annotator.errors import InputError
from annotator.pipeline.ingest import ingest
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import EventRow, FailureRow, ImageRow, ImageState, PersonRow, PersonSource
from tests.helpers.pictures import picture, write_broken, write_pictures
from tests.helpers.rows import content

HEADER = "img_name,age,gender,face_x0,face_y0,face_x1,face_y1,person_x0,person_y0,person_x1,person_y1\n"


def test_a_folder_with_broken_files(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in" / "deep", 30)
    write_broken(tmp_path / "in", 10)
    report = ingest(corridor, settings, [str(tmp_path / "in")])
    assert (report.new, report.known, sum(report.failed.values())) == (30, 0, 10)
    with corridor.read() as session:
        names = session.scalars(select(ImageRow.name).order_by(ImageRow.id)).all()
        failed = session.scalars(select(FailureRow)).all()
    assert names[0] == "deep/p00000.png"
    assert {row.stage for row in failed} == {"ingest"}
    assert {row.reason for row in failed} == set(report.failed)
    assert all(Path(row.subject).name == row.name for row in failed)


def test_the_projects_own_files_are_nobodys_images(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    """`annotator ingest .` in the project's folder."""
    root = tmp_path / "project"
    settings = settings.model_copy(update={"root": root, "database_url": "sqlite:///annotator.db"})
    write_pictures(root / "pictures", 2)
    write_pictures(settings.path(settings.data_dir) / "shown", 3, first=10)
    for name in ("annotator.toml", "annotator.db", "annotator.db-wal"):
        (root / name).write_bytes(b"x")
    report = ingest(corridor, settings, [str(root)])
    assert (report.new, report.failed) == (2, {})
    around = settings.model_copy(update={"data_dir": Path()})  # the images lie in it as well
    assert ingest(corridor, around, [str(root)]).new == 3


def test_twice_is_once(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 12)
    write_broken(tmp_path / "in", 3)
    tables = (ImageRow, FailureRow, PersonRow, EventRow)
    ingest(corridor, settings, [str(tmp_path / "in")])
    before = content(corridor, *tables)
    again = ingest(corridor, settings, [str(tmp_path / "in")])
    assert (again.new, again.known) == (0, 12)
    assert content(corridor, *tables) == before


def test_the_same_bytes_are_one_image(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "in" / name).write_bytes(picture(1))
    report = ingest(corridor, settings, [str(tmp_path / "in")])
    assert (report.new, report.known) == (1, 2)
    assert content(corridor, ImageRow)["image"][0][2] == "a.png"


def test_a_mended_file_is_no_failure_any_more(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    (bad,) = write_broken(tmp_path / "in", 1)
    ingest(corridor, settings, [str(tmp_path / "in")])
    bad.write_bytes(picture(3))
    report = ingest(corridor, settings, [str(tmp_path / "in")])
    assert report.new == 1
    assert content(corridor, FailureRow) == {"failure": []}


def test_an_image_that_moved_is_followed(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "old", 1)
    ingest(corridor, settings, [str(tmp_path / "old")])
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    ingest(corridor, settings, [str(tmp_path / "copy")])
    with corridor.read() as session:
        assert "/old/" in session.scalars(select(ImageRow.uri)).one()
    shutil.rmtree(tmp_path / "old")
    ingest(corridor, settings, [str(tmp_path / "copy")])
    with corridor.read() as session:
        assert "/copy/" in session.scalars(select(ImageRow.uri)).one()


def test_a_table_brings_people_and_truths(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    rows = [
        "p00000.png,33,F,2,2,10,10,0,0,24,40",
        "p00000.png,-1,-1,-1,-1,-1,-1,24,0,480,40",
        "p00001.png,70,M,2,2,10,10,-1,-1,-1,-1",
        "nowhere.png,1,M,2,2,10,10,-1,-1,-1,-1",
    ]
    (tmp_path / "table.csv").write_text(HEADER + "\n".join(rows) + "\n")
    report = ingest(corridor, settings, [str(tmp_path / "table.csv")])
    assert (report.new, report.people, report.failed) == (2, 3, {"missing_file": 1})
    again = ingest(corridor, settings, [str(tmp_path / "table.csv")])
    assert (again.new, again.people) == (0, 0)
    with corridor.read() as session:
        people = session.scalars(select(PersonRow).order_by(PersonRow.id)).all()
    assert [(row.truth_age, row.truth_gender) for row in people] == [
        (33, Gender.FEMALE),
        (None, None),
        (70, Gender.MALE),
    ]
    assert people[1].body_x1 == 48
    assert all(row.source == PersonSource.GIVEN for row in people)


def test_a_table_adds_what_is_new_to_a_known_image(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    table = tmp_path / "table.csv"
    table.write_text(HEADER + "p00000.png,-1,-1,2,2,10,10,0,0,24,40\n")
    ingest(corridor, settings, [str(table)])
    with corridor.write() as session:
        session.scalars(select(ImageRow)).one().state = ImageState.DONE
    table.write_text(HEADER + "p00000.png,50,M,2,2,10,10,0,0,24,40\np00000.png,5,F,30,2,40,10,-1,-1,-1,-1\n")
    report = ingest(corridor, settings, [str(table)])
    assert (report.new, report.people) == (0, 1)
    with corridor.read() as session:
        people = session.scalars(select(PersonRow).order_by(PersonRow.index)).all()
        assert session.scalars(select(ImageRow.state)).one() == ImageState.PENDING
    assert [(row.index, row.truth_age) for row in people] == [(0, 50), (1, 5)]
    assert people[1].person_id.endswith("-01")


def test_a_broken_row_writes_nothing(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    (tmp_path / "table.csv").write_text(
        HEADER + "p00000.png,33,F,2,2,10,10,0,0,24,40\np00001.png,old,F,1,1,5,5,0,0,9,9\n"
    )
    with pytest.raises(InputError, match="line 3"):
        ingest(corridor, settings, [str(tmp_path), str(tmp_path / "table.csv")])
    assert content(corridor, ImageRow, PersonRow) == {"image": [], "person": []}


def test_a_zip_archive(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("a/one.png", picture(1))
        archive.writestr("/escape.png", picture(2))
    report = ingest(corridor, settings, [str(tmp_path / "in.zip")])
    assert (report.new, report.failed) == (1, {"unsafe_path": 1})


def test_an_image_above_the_cap(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    small = settings.model_copy(update={"max_image_pixels": 100})
    report = ingest(corridor, small, [str(tmp_path / "in")])
    assert report.failed == {"too_many_pixels": 1}


def test_on_both_databases(store: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 5)
    write_broken(tmp_path / "in", 2)
    for _ in range(2):
        ingest(store, settings, [str(tmp_path / "in")])
    found = content(store, ImageRow, FailureRow)
    assert (len(found["image"]), len(found["failure"])) == (5, 2)
