from __future__ import annotations

import csv
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from scipy import stats
from sqlalchemy import select

from annotator.domain import Gender, Vote
from annotator.errors import InputError
from annotator.export.dataset import Options
from annotator.pipeline.export import export
from annotator.pipeline.export_rows import Choice
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.settle import settle
from annotator.pipeline.votes import record_votes
from annotator.settings import Settings
from annotator.store.session import Store, open_store
from annotator.store.tables import EventRow, ImageRow, PersonRow, PreLabelRow
from tests.helpers.models import model_set
from tests.helpers.picture_server import PictureServer
from tests.helpers.pictures import write_pictures


def fill(store: Store, settings: Settings, folder: Path) -> None:
    """Ten pictures, settled: the flagged ones by votes."""
    ingest(store, settings, [str(folder)])
    prelabel(store, settings, model_set())
    query = select(PersonRow.person_id).join(PreLabelRow, PreLabelRow.person_key == PersonRow.id)
    with store.read() as session:
        flagged = list(session.scalars(query.where(PreLabelRow.review.is_(True)).order_by(PersonRow.id)))
    votes = [
        Vote("studio", f"{person}-{number}", person, f"ann{number}", 40.0 + number, Gender.FEMALE)
        for person in flagged[:2]
        for number in range(3)
    ]
    record_votes(store, votes)
    settle(store, settings)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def filled(corridor: Store, settings: Settings, tmp_path: Path) -> Store:
    write_pictures(tmp_path / "in", 10)
    fill(corridor, settings, tmp_path / "in")
    return corridor


def test_the_dataset_says_what_the_database_says(filled: Store, settings: Settings, tmp_path: Path) -> None:
    manifest = export(filled, settings, tmp_path / "out")
    rows = table(tmp_path / "out" / "annotations.csv")
    assert len(rows) == manifest.counts.people == 20
    known = [row for row in rows if row["age"] != "-1"]
    assert len(known) == manifest.counts.labels == sum(manifest.counts.by_source.values())
    assert manifest.counts.by_source["settled"] == 2
    provenance: list[dict[str, Any]] = pq.read_table(tmp_path / "out" / "provenance.parquet").to_pylist()
    settled = next(row for row in provenance if row["source"] == "settled")
    votes = json.loads(settled["votes"])
    assert [vote["annotator"] for vote in votes] == ["ann0", "ann1", "ann2"]
    assert all(vote["weight"] > 0 for vote in votes)
    assert {said["version"] for said in json.loads(settled["predictions"])} == {"mean@1", "other@1"}


def test_only_what_people_settled(filled: Store, settings: Settings, tmp_path: Path) -> None:
    manifest = export(filled, settings, tmp_path / "out", choice=Choice("settled"))
    assert manifest.counts.by_source == {"settled": 2}
    assert manifest.counts.people == 20


def test_the_same_bytes_again_and_from_another_database(
    filled: Store, settings: Settings, blank_sqlite: Path, tmp_path: Path
) -> None:
    split = {"train": 0.5, "test": 0.5}
    export(filled, settings, tmp_path / "out", options=Options(split=split))
    first = digests(tmp_path / "out")
    export(filled, settings, tmp_path / "out", options=Options(split=split))
    assert digests(tmp_path / "out") == first
    (tmp_path / "other.db").write_bytes(blank_sqlite.read_bytes())
    with open_store(f"sqlite:///{tmp_path}/other.db") as other:
        for limit in (3, None):
            ingest(other, settings, [str(tmp_path / "in")])
            prelabel(other, settings, model_set(), limit=limit)
        fill(other, settings, tmp_path / "in")
        export(other, settings, tmp_path / "again", options=Options(split=split))
    assert digests(tmp_path / "again") == first


def test_every_format_has_the_same_bytes_from_any_database(
    filled: Store, store: Store, settings: Settings, tmp_path: Path
) -> None:
    """SQLite here, SQLite and Postgres there; Postgres sorts text by language, so votes come with awkward names."""
    fill(store, settings, tmp_path / "in")
    for each in (filled, store):
        with each.read() as session:
            person = session.scalars(select(PersonRow.person_id).order_by(PersonRow.person_id)).first()
        assert person is not None
        names = ("b", "A", "_a", "ä", "Z", "a-1")
        record_votes(each, [Vote("other", name, person, name, 33.0, Gender.MALE) for name in names])
        settle(each, settings)
    for kind, images in (("lagenda", "crop"), ("llava", "crop"), ("parquet", "crop")):
        options = Options(kind, images, {"train": 0.5, "test": 0.5})  # type: ignore[arg-type]
        one = export(filled, settings, tmp_path / "one", options=options)
        two = export(store, settings, tmp_path / "two", options=options)
        assert digests(tmp_path / "one") == digests(tmp_path / "two")
        assert one.id == two.id


def test_only_sure_labels_and_only_new_ones(filled: Store, settings: Settings, tmp_path: Path) -> None:
    everything = export(filled, settings, tmp_path / "all")
    rows = pq.read_table(tmp_path / "all" / "provenance.parquet").to_pylist()
    sure = [row for row in rows if confidence_of(row) >= 0.9]
    assert 0 < len(sure) < len(rows)
    some = export(filled, settings, tmp_path / "sure", choice=Choice(min_confidence=0.9))
    assert some.counts.labels == len(sure)
    assert some.counts.people == everything.counts.people
    accepted = export(filled, settings, tmp_path / "accepted", choice=Choice("accepted"))
    assert accepted.counts.by_source == {"accepted": everything.counts.by_source["accepted"]}
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert export(filled, settings, tmp_path / "none", choice=Choice(since=later)).counts.labels == 0
    with filled.read() as session:
        first = session.scalars(select(EventRow.at).where(EventRow.kind == "labelled").order_by(EventRow.id)).first()
    assert first is not None
    again = export(filled, settings, tmp_path / "since", choice=Choice(since=first))
    assert again.counts.labels == everything.counts.labels


def confidence_of(row: dict[str, Any]) -> float:
    """P(gender), or P(|error| <= 5 years) of a normal error where that is less, by SciPy."""
    age = 1.0 if not row["age_sd"] else 1 - 2 * stats.norm.sf(5 / row["age_sd"])
    return min(float(age), 1.0 if row["gender_probability"] is None else row["gender_probability"])


@pytest.mark.parametrize("images", ["link", "copy", "crop"])
def test_pictures_that_label_studio_serves(filled: Store, settings: Settings, tmp_path: Path, images: Any) -> None:
    """Their rows hold a web address; they are read with the token, and written where they cannot be linked to."""
    with PictureServer({}, token="t" * 40) as server:
        with filled.write() as session:
            for row in session.scalars(select(ImageRow).where(ImageRow.id < 4)):
                server.files[f"/data/upload/1/{row.id}.png"] = Path(row.uri).read_bytes()
                row.uri = f"{server.url}/data/upload/1/{row.id}.png"
        known = settings.model_copy(
            update={"label_studio_url": server.url, "label_studio_api_key": SecretStr("t" * 40)}
        )
        export(filled, known, tmp_path / "out", options=Options(images=images))
        assert len(server.asked) == 3
        names = {row["img_name"] for row in table(tmp_path / "out" / "annotations.csv")}
        assert names == {path.name for path in (tmp_path / "out" / "images").iterdir()}
        assert all(path.is_file() for path in (tmp_path / "out" / "images").iterdir())
        stranger = settings.model_copy(update={"label_studio_url": server.url})
        with pytest.raises(InputError, match=r"cannot export .*401"):
            export(filled, stranger, tmp_path / "other", options=Options(images=images))
        assert not (tmp_path / "other").exists()
