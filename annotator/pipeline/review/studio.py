"""Label Studio as the settings name it, our two projects in it, and the secret that its webhooks carry."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select, update

from annotator.errors import AnnotatorError, ConfigurationError, ServiceError, StorageError
from annotator.labelstudio.administration import find_project
from annotator.labelstudio.client import LabelStudio
from annotator.settings import Settings
from annotator.store.base import now
from annotator.store.session import Store
from annotator.store.tables import MetaRow, ReviewTaskRow, StudioTaskRow, VoteRow
from annotator.store.upsert import upsert

WHOLE, VOTE = "whole-image", "vote"
"""The two projects: boxes on whole pictures, and one person at a time."""

SECRET_HEADER = "X-Annotator-Secret"  # noqa: S105  (the header's name)
SECRET_FILE = "webhook-secret"  # noqa: S105  (the file's name)
LOCK_FILE = "review.lock"


@dataclass(frozen=True, slots=True)
class Projects:
    """Numbers of the two Label Studio projects."""

    whole: int
    vote: int


@contextmanager
def open_studio(settings: Settings) -> Iterator[LabelStudio]:
    """Label Studio as the user whose key is set.

    Raises:
        ConfigurationError: the address or the key is not set.
    """
    if not settings.label_studio_url:
        raise ConfigurationError("label_studio_url is not set; it is the address of Label Studio")
    if settings.label_studio_api_key is None:
        raise ConfigurationError(
            "label_studio_api_key is not set; make a token under Account & Settings in Label Studio and set it as "
            "ANNOTATOR_LABEL_STUDIO_API_KEY"
        )
    with LabelStudio(settings.label_studio_url, settings.label_studio_api_key.get_secret_value()) as client:
        yield client


def marker(settings: Settings, role: str) -> str:
    """What tells our project apart in Label Studio when the database that knew its number is lost."""
    return f"annotator {role} project of '{settings.review_name}'"


def known_project(store: Store, role: str) -> int | None:
    """The number that was kept for a project."""
    with store.read() as session:
        found = session.scalar(select(MetaRow.value).where(MetaRow.key == f"review:{role}"))
    return int(found) if found else None


def keep_project(store: Store, role: str, number: int) -> None:
    """Keep a project's number."""
    if known_project(store, role) != number:
        with store.write() as session:
            upsert(session, MetaRow, [{"key": f"review:{role}", "value": str(number)}], keys=("key",))


def forget_project(store: Store, number: int) -> None:
    """Make room for a new project whose number one of a lost Label Studio had: its tasks are gone, its votes stay."""
    gone = f"labelstudio:{number}"
    with store.write() as session:
        session.execute(delete(StudioTaskRow).where(StudioTaskRow.project == number))
        tasks = ReviewTaskRow.external.startswith(f"{number}:", autoescape=True)
        session.execute(update(ReviewTaskRow).where(tasks).values(external=None))
        kept = f"{gone} before {now():%Y-%m-%d %H:%M:%S}"
        session.execute(update(VoteRow).where(VoteRow.source == gone).values(source=kept))


def find_projects(store: Store, settings: Settings, client: LabelStudio) -> Projects:
    """The projects that were set up.

    Raises:
        ServiceError: they are not there; says what to do.
    """
    numbers = []
    for role in (WHOLE, VOTE):
        found = find_project(client, known_project(store, role), marker(settings, role))
        if found is None:
            raise ServiceError(f"Label Studio has no {role} project of ours; run `annotator review setup`")
        keep_project(store, role, int(found["id"]))
        numbers.append(int(found["id"]))
    return Projects(*numbers)


def external(project: int, task: int) -> str:
    """How a task is named in ``review_task``."""
    return f"{project}:{task}"


def task_of(name: str | None, project: int) -> int | None:
    """The task behind a name, ``None`` where it is of another project (that is gone) or there is none."""
    owner, _, task = (name or "").partition(":")
    return int(task) if task and owner == str(project) else None


def webhook_secret(settings: Settings) -> str | None:
    """What webhooks must carry: the setting, else what ``make_secret`` wrote, else nothing."""
    if settings.backend_webhook_secret is not None:
        return settings.backend_webhook_secret.get_secret_value()
    try:
        return _secret_file(settings).read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{_secret_file(settings)} cannot be read: {error.strerror}") from error


def make_secret(settings: Settings) -> bool:
    """Make a secret where there is none, in a file that only its owner can read; says whether one was made.

    The backend reads it when it starts.

    Raises:
        StorageError: it cannot be written.
    """
    if webhook_secret(settings) is not None:
        return False
    path = _secret_file(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    return True


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Keeps a second push or pull of this project waiting out: both would create the same tasks.

    Raises:
        AnnotatorError: another one is running.
        StorageError: the lock cannot be written.
    """
    path = settings.path(settings.data_dir) / LOCK_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AnnotatorError(
                "another `annotator review` command is at work on this project; wait for it"
            ) from error
        yield


def _secret_file(settings: Settings) -> Path:
    return settings.path(settings.data_dir) / SECRET_FILE
