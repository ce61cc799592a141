"""Pictures that people uploaded in Label Studio: read, exported, and found again where Label Studio has moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update

from annotator.pipeline.export import export
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.store.tables import ImageRow, ImageState, PredictionRow
from tests.helpers.picture_server import PictureServer
from tests.helpers.pictures import write_pictures

ADDRESS = "/data/upload/1/0123abcd-party.png"
TOKEN = "a" * 40


def test_uploaded_pictures_are_read_and_exported_also_when_label_studio_has_moved(world: Any, tmp_path: Path) -> None:
    write_pictures(tmp_path / "more", 6)
    files = {ADDRESS: sorted((tmp_path / "more").iterdir())[-1].read_bytes()}
    with PictureServer(files, TOKEN) as first:
        here = world.with_settings(label_studio_url=first.url)
        whole = here.setup().whole
        task = {"id": 900, "project": whole, "data": {"image": ADDRESS}, "meta": {}, "overlap": 1}
        here.studio.tasks[900] = task
        ingest(here.store, here.settings, ["labelstudio://"])
        assert prelabel(here.store, here.settings, here.models).images == 1
        assert exported(here, tmp_path / "one") == files[ADDRESS]
        assert here.push().whole.unknown == 0
    with PictureServer(files, TOKEN) as second:
        there = world.with_settings(label_studio_url=second.url)
        assert "1 uploaded pictures are read from" in " ".join(there.setup().changes)
        assert there.setup().changes == ()
        with there.store.write() as session:
            key = session.scalars(select(ImageRow.id).where(ImageRow.uri == second.url + ADDRESS)).one()
            session.execute(update(ImageRow).where(ImageRow.id == key).values(state=ImageState.PENDING))
            session.execute(delete(PredictionRow))
        assert prelabel(there.store, there.settings, there.models).failed == 0
        assert ADDRESS in second.asked
        assert exported(there, tmp_path / "two") == files[ADDRESS]
        assert (there.push().whole.unknown, there.push().whole.created) == (0, 0)


def exported(world: Any, out: Path) -> bytes:
    """The picture as an export copies it."""
    export(world.store, world.settings, out)
    return next(path for path in (out / "images").rglob("*party.png")).read_bytes()
