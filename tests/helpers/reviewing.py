"""A project under review in a real Label Studio: pictures uploaded there, pre-labelled by the backend, and accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from annotator.demo.figures import write_pictures
from annotator.labelstudio import administration as studio
from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.server import free_port
from annotator.pipeline.ingest import ingest
from annotator.pipeline.review.setup import setup
from annotator.predictors.registry import ModelSet, open_models
from annotator.settings import Settings, load_settings
from annotator.store.session import Store, open_store
from annotator.store.tables import (
    EventRow,
    LabelRow,
    PersonRow,
    PreLabelRow,
    ReviewTaskRow,
    StudioTaskRow,
    TaskKind,
    VoteRow,
)
from ml_backend.app import create_app
from ml_backend.background import BackgroundServer
from ml_backend.pipeline_engine import open_engine
from ml_backend.studio import PICTURE_SEED, Studio, make_project
from tests.helpers.rows import content

PASSWORD = "correct horse"

Truths = dict[str, tuple[float, str]]


@dataclass(frozen=True)
class Review:
    """One project under review: ``lead`` is the account that set it up, ``pictures`` are not uploaded yet."""

    store: Store
    settings: Settings
    models: ModelSet
    lead: LabelStudio
    people: dict[str, LabelStudio]
    whole: int
    vote: int
    pictures: list[Path]

    @property
    def url(self) -> str:
        """Label Studio's address."""
        return str(self.settings.label_studio_url)


@contextmanager
def under_review(
    folder: Path,
    server: Studio,
    lead: LabelStudio,
    accounts: tuple[str, ...],
    pictures: int,
    controls: int,
    **changes: Any,
) -> Iterator[Review]:
    """Both projects set up beside a backend that runs, ``controls`` pictures ingested whose people are known."""
    folder.mkdir(exist_ok=True)
    make_project(folder)
    port = free_port()
    found = server.settings()
    settings = load_settings(
        folder,
        label_studio_url=found.label_studio_url,
        label_studio_api_key=found.label_studio_api_key,
        local_files_root=found.local_files_root,
        backend_url=f"http://127.0.0.1:{port}",
        backend_threads=1,
        **changes,
    )
    write_pictures(folder / "pictures", pictures, PICTURE_SEED)
    known = write_pictures(folder / "known", controls, PICTURE_SEED, first=pictures)
    models = open_models(settings)
    with open_store(settings.resolved_database_url) as store, open_engine(settings) as engine:
        first = setup(store, settings, models, backend=False)
        assert first.secret_made
        with BackgroundServer(create_app(settings, engine), port):
            made = setup(store, settings, models)
            assert made.troubles == ()
            ingest(store, settings, [str(known)])
            people = {name: sign_up(server.server.url, lead, name) for name in accounts}
            drawn = sorted((folder / "pictures").glob("*.jpg"))
            yield Review(store, settings, models, lead, people, made.whole, made.vote, drawn)
            for client in people.values():
                client.close()


def sign_up(url: str, lead: LabelStudio, name: str) -> LabelStudio:
    """A second account, made as people make theirs: by the invitation link."""
    invitation = lead.call("GET", "/api/invite")["invite_url"]
    with httpx.Client(base_url=url, follow_redirects=True, timeout=120) as browser:
        page = browser.get(invitation)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {"email": f"{name}@example.com", "password": PASSWORD, "csrfmiddlewaretoken": token[1],
                "allow_newsletters": "false"}  # fmt: skip
        browser.post(invitation, data=form, headers={"Referer": url}).raise_for_status()
        key = browser.get("/api/current-user/token").raise_for_status().json()["token"]
    return LabelStudio(url, key)


def answer(who: LabelStudio, task: int, age: float, gender: str) -> int:
    """Submit a vote by the API; the annotation's number."""
    choice = {"from_name": "gender", "to_name": "crop", "type": "choices", "value": {"choices": [gender]}}
    number = {"from_name": "age", "to_name": "crop", "type": "number", "value": {"number": round(age)}}
    made = who.call("POST", f"/api/tasks/{task}/annotations/", json={"result": [choice, number], "lead_time": 6.0})
    return int(made["id"])


def vote_tasks(review: Review) -> dict[int, tuple[str, TaskKind]]:
    """The vote tasks by number: the person, and why they are asked about."""
    with review.store.read() as session:
        query = select(PersonRow.person_id, ReviewTaskRow.external, ReviewTaskRow.kind).join(ReviewTaskRow)
        return {int(name.split(":")[1]): (person, kind) for person, name, kind in session.execute(query)}


def truths(review: Review) -> Truths:
    """What careful people see: the given truth, else the pre-label."""
    with review.store.read() as session:
        is_current = (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current
        rows = session.execute(select(PersonRow, PreLabelRow).join(PreLabelRow, is_current))
        return {person.person_id: _seen(person, pre_label) for person, pre_label in rows}


def _seen(person: PersonRow, pre_label: PreLabelRow) -> tuple[float, str]:
    guessed = "female" if (pre_label.female_probability or 0) > 0.5 else "male"
    age = person.truth_age if person.truth_age is not None else pre_label.age
    return (30.0 if age is None else age), (person.truth_gender.value if person.truth_gender else guessed)


def in_label_studio(review: Review) -> dict[str, object]:
    """All that our projects hold, without what a look at them changes."""
    tasks = [
        task
        for number in (review.whole, review.vote)
        for task in studio.export_tasks(review.lead, number, everything=True)
    ]
    annotations = {
        task["id"]: [(one["id"], one["updated_at"], one["result"]) for one in task["annotations"]] for task in tasks
    }
    hooks = [studio.webhooks(review.lead, number) for number in (review.whole, review.vote)]
    views = review.lead.call("GET", "/api/dm/views/", params={"project": review.whole})
    return {
        "tasks": {task["id"]: (task["data"], sorted(task["predictions"])) for task in tasks},
        "annotations": annotations,
        "hooks": hooks,
        "views": [view["data"] for view in views],
    }


def in_database(review: Review) -> dict[str, object]:
    """All that our database holds, with the number of events but webhooks."""
    tables = (VoteRow, ReviewTaskRow, LabelRow, StudioTaskRow, PersonRow, PreLabelRow)
    rows: dict[str, object] = dict(content(review.store, *tables))
    with review.store.read() as session:
        rows["events"] = session.scalar(select(func.count()).select_from(EventRow).where(EventRow.kind != "webhook"))
    return rows
