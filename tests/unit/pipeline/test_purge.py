"""What was purged is gone everywhere and stays away, whoever brings it."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select, text

from annotator.domain import Box, Gender, Vote
from annotator.errors import ConfigurationError, ImageError, InputError
from annotator.export.dataset import Options
from annotator.export.manifest import read_manifest
from annotator.jobs.inline import drain
from annotator.jobs.runs import open_run
from annotator.jobs.steps import Tools
from annotator.pipeline.export import export
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import Prelabelling, prelabel
from annotator.pipeline.purge import PurgeReport, find_targets, purge
from annotator.pipeline.settle import settle
from annotator.pipeline.single import prelabel_image
from annotator.pipeline.votes import record_votes
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import (
    EventRow,
    ImageRow,
    LabelRow,
    PersonRow,
    PersonSource,
    PredictionRow,
    PreLabelRow,
    VoteRow,
)
from tests.helpers.models import HalvesDetector, MeanPredictor, model_set
from tests.helpers.pictures import picture, write_pictures


@pytest.fixture
def project(store: Store, settings: Settings, tmp_path: Path) -> list[str]:
    """Three pre-labelled pictures with votes, in a dataset; ids of their six people."""
    write_pictures(tmp_path / "in", 3)
    ingest(store, settings, [str(tmp_path / "in")])
    prelabel(store, settings, model_set())
    with store.read() as session:
        people = list(session.scalars(select(PersonRow.person_id).order_by(PersonRow.id)))
    record_votes(store, [Vote("t", str(n), person, "ann", 30.0, Gender.MALE) for n, person in enumerate(people)])
    settle(store, settings)
    export(store, settings, tmp_path / "out", options=Options(images="copy"))
    return people


def remove(store: Store, settings: Settings, *names: str) -> PurgeReport:
    return purge(store, settings, find_targets(store, names), reason="asked")


def mentions(store: Store, needle: str) -> list[str]:
    """Tables in which a text stands anywhere, besides the tombstone and the note that something was purged."""
    found = []
    with store.read() as session:
        for table in ("image", "person", "prediction", "pre_label", "vote", "label", "failure", "event", "meta"):
            rows = [str(tuple(row)) for row in session.execute(text(f"SELECT * FROM {table}"))]
            if any(needle in row and "purged" not in row for row in rows):
                found.append(table)
    return found


def test_an_image_goes_everywhere_and_nothing_brings_it_back(
    store: Store, settings: Settings, project: list[str], tmp_path: Path
) -> None:
    digest = hashlib.sha256(picture(1)).hexdigest()
    gone = project[2:4]
    before = read_manifest(tmp_path / "out")
    report = remove(store, settings, "p00001.png")
    assert (report.images, report.people, report.predictions) == (1, 2, 4)
    assert report.originals == [str(tmp_path / "in" / "p00001.png")]
    assert mentions(store, digest) == []
    assert all(mentions(store, person) == [] for person in gone)
    assert report.datasets == [str(tmp_path / "out")]
    after = read_manifest(tmp_path / "out")
    assert before is not None
    assert after is not None
    assert (before["id"] != after["id"], after["purged"]) == (True, report.dataset_entries)
    assert not (tmp_path / "out" / "images" / "p00001.png").exists()
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix == ".parquet":
            assert digest not in str(pq.read_table(path).to_pylist())
        elif path.suffix in (".csv", ".json", ".jsonl"):
            assert digest not in path.read_text()
            assert "p00001" not in path.read_text()
    with (tmp_path / "out" / "annotations.csv").open() as file:
        assert {row["img_name"] for row in csv.DictReader(file)} == {"p00000.png", "p00002.png"}
    for name, entry in after["files"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == entry["sha256"]

    again = ingest(store, settings, [str(tmp_path / "in")])
    assert (again.new, again.known, again.purged) == (0, 2, 1)
    work = Prelabelling(store, settings, model_set())
    with pytest.raises(ImageError, match="was purged"):
        prelabel_image(work, picture(1), name="p", uri="labelstudio")
    night = settings.model_copy(update={"watch": [str(tmp_path / "in")]})
    drain(Tools(store, night, lambda _: model_set()), open_run(store, "nightly", started_by="t").run)
    assert mentions(store, digest) == []
    assert remove(store, settings, digest).images == 0  # a second time, by its sha256


@pytest.mark.parametrize("images", ["crop", "none"])
@pytest.mark.parametrize("kind", ["llava", "parquet"])
def test_other_kinds_of_datasets_lose_it_too(
    store: Store, settings: Settings, project: list[str], tmp_path: Path, kind: str, images: str
) -> None:
    options = Options(kind=kind, images=images, split={"train": 0.5, "test": 0.5})  # type: ignore[arg-type]
    export(store, settings, tmp_path / "other", options=options)
    report = remove(store, settings, "p00001.png")
    assert str(tmp_path / "other") in report.datasets
    needle = hashlib.sha256(picture(1)).hexdigest()[:16]
    files = [path for path in (tmp_path / "other").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert needle not in path.name
        if path.suffix == ".parquet":
            assert needle not in str(pq.read_table(path).to_pylist())
            assert pq.read_schema(path).names
        else:
            assert needle.encode() not in path.read_bytes()
    kept = read_manifest(tmp_path / "other")
    assert kept is not None
    for name, entry in kept["files"].items():
        assert hashlib.sha256((tmp_path / "other" / name).read_bytes()).hexdigest() == entry["sha256"]


def test_a_person_goes_and_the_others_stay(
    store: Store, settings: Settings, project: list[str], tmp_path: Path
) -> None:
    gone, other = project[0], project[1]
    report = remove(store, settings, gone)
    assert (report.images, report.people, report.predictions) == (0, 1, 2)
    assert "still shows the person" in report.left[0]
    assert mentions(store, gone) == ["person"]  # the boxes alone, so that no detector finds them anew
    with (tmp_path / "out" / "annotations.csv").open() as file:
        assert "p00000.png" not in {row["img_name"] for row in csv.DictReader(file)}
    prelabel(store, settings, model_set(MeanPredictor(version="2"), detector=HalvesDetector("halves@2")))
    settle(store, settings)
    assert nothing_is_known_of(store, gone)
    assert not nothing_is_known_of(store, other)


def test_corrections_forget_a_person_and_keep_the_others(store: Store, settings: Settings, project: list[str]) -> None:
    gone, other = project[0], project[1]
    boxes, moved = {"body": [1.0, 2.0, 30.0, 40.0], "face": None, "active": True}, [[1.0, 2.0, 30.0, 41.0], None]
    both = {"moved": {gone: moved, other: moved}, "closed": [gone], "before": {gone: boxes, other: boxes}}
    with store.write() as session:
        found = select(ImageRow.sha256).join(PersonRow).where(PersonRow.person_id == gone)
        sha256 = session.scalars(found).one()
        session.add(EventRow(kind="corrected", subject=sha256, data={"annotation": 7, **both}))
    remove(store, settings, gone)
    assert mentions(store, gone) == ["person"]
    with store.read() as session:
        kept = session.scalar(select(EventRow.data).where(EventRow.kind == "corrected"))
    assert kept == {"annotation": 7, "moved": {other: moved}, "closed": [], "before": {other: boxes}}


def test_a_person_who_is_drawn_or_given_again_goes_again(
    store: Store, settings: Settings, project: list[str], tmp_path: Path
) -> None:
    gone = project[0]
    remove(store, settings, gone)
    with store.write() as session:
        row = session.scalars(select(PersonRow).where(PersonRow.person_id == gone)).one()
        box = records.to_box(row, "body")
        assert box is not None
        row.active = True  # somebody moved the box in Label Studio
        moved = Box(box.x0 + 1, box.y0, box.x1, box.y1)
        twin = {**records.box_values("body", moved), **records.box_values("face", None)}
        session.add(
            PersonRow(
                image_key=row.image_key, index=9, person_id=gone[:16] + "-09", source=PersonSource.CORRECTED, **twin
            )
        )
        session.get_one(ImageRow, row.image_key).version = None
    prelabel(store, settings, model_set())
    assert nothing_is_known_of(store, gone)
    assert nothing_is_known_of(store, gone[:16] + "-09")
    table = tmp_path / "given.csv"
    boxes = ",".join(str(round(value)) for value in box.as_tuple())
    names = "img_name,age,gender,face_x0,face_y0,face_x1,face_y1,person_x0,person_y0,person_x1,person_y1"
    table.write_text(f"{names}\nin/p00000.png,33,M,-1,-1,-1,-1,{boxes}\n")
    ingest(store, settings, [str(table)])
    prelabel(store, settings, model_set())
    with store.read() as session:
        truths = session.scalars(select(PersonRow.truth_age).where(PersonRow.active)).all()
    assert truths == [None] * 5


def nothing_is_known_of(store: Store, person: str) -> bool:
    with store.read() as session:
        row = session.scalars(select(PersonRow).where(PersonRow.person_id == person)).one()
        counts = [
            session.scalar(select(func.count()).where(table.person_key == row.id))
            for table in (PredictionRow, PreLabelRow, VoteRow, LabelRow)
        ]
        return not row.active and row.truth_age is None and not any(counts)


def test_cached_answers_of_remote_models_go(
    store: Store, settings: Settings, project: list[str], tmp_path: Path
) -> None:
    answers = settings.path(settings.data_dir) / "answers"
    answers.mkdir(parents=True)
    with sqlite3.connect(answers / "gpt.db") as kept:
        kept.execute("CREATE TABLE request (key TEXT PRIMARY KEY)")
        kept.executemany("INSERT INTO request VALUES (?)", [("mine",), ("other",)])
    with store.write() as session:
        person = session.scalars(select(PersonRow).where(PersonRow.person_id == project[0])).one()
        row = session.scalars(select(PredictionRow).where(PredictionRow.person_key == person.id).limit(1)).one()
        row.details = {**row.details, "request": "mine"}
    assert remove(store, settings, project[0]).answers == 1
    with sqlite3.connect(answers / "gpt.db") as kept:
        assert kept.execute("SELECT key FROM request").fetchall() == [("other",)]


def test_tasks_in_label_studio_are_not_forgotten(store: Store, settings: Settings, project: list[str]) -> None:
    """Without Label Studio's key nothing is removed yet, but a job does not bring it back either."""
    with store.write() as session:
        key = session.scalars(select(ImageRow.id).where(ImageRow.name == "p00000.png")).one()
        session.execute(
            text("INSERT INTO studio_task (project, task, image_key, created_at) VALUES (1, 7, :key, '2026-01-01')"),
            {"key": key},
        )
    with pytest.raises(ConfigurationError, match="has 1 tasks in Label Studio; set label_studio_url"):
        remove(store, settings, "p00000.png")
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(ImageRow)) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [("0123456789abcdef-00", "there is no person"), ("nobody.png", "there is no image 'nobody.png'")],
)
def test_unknown_names(store: Store, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_targets(store, [name])


def test_the_history_says_that_something_was_purged(store: Store, settings: Settings, project: list[str]) -> None:
    remove(store, settings, project[5])
    with store.read() as session:
        events = session.scalars(select(EventRow).where(EventRow.subject == project[5])).all()
    assert [(event.kind, json.dumps(event.data)) for event in events] == [("purged", "{}")]
