"""Label Studio and our projects in it, looked at for everything that is known to go wrong silently."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select

from annotator.errors import InputError, ServiceError
from annotator.labelstudio import administration as studio
from annotator.labelstudio.client import Credentials, LabelStudio
from annotator.labelstudio.controls import read_controls
from annotator.pipeline.findings import Finding, Level
from annotator.pipeline.review import pictures
from annotator.pipeline.review.bucket import Bucket
from annotator.pipeline.review.checkup_backend import check_backend, check_connection
from annotator.pipeline.review.studio import VOTE, WHOLE, known_project, marker, open_studio
from annotator.pipeline.review.whole import BACKEND_STAGE
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import FailureRow, VoteRow

AREA = "Label Studio"
KNOWN_RELEASE = "1.23"
SETUP = "run annotator review setup"
PROBE = f"{pictures.VOTES}/doctor.png"

Project = dict[str, Any]


def check_studio(store: Store, settings: Settings, version: str) -> list[Finding]:
    """Everything about Label Studio and the ML backend; ``version`` is the ensemble's.

    Raises:
        ConfigurationError: the key or the local files' folder is not set.
        ServiceError: Label Studio stopped answering in between.
        StorageError: no picture can be put where Label Studio serves pictures.
    """
    with open_studio(settings) as client:
        found = list(_access(settings, client))
        if any(one.level is Level.PROBLEM for one in found):
            return found
        whole, vote = (_find(store, settings, client, role) for role in (WHOLE, VOTE))
        if whole is None or vote is None:
            missing = " and no ".join(role for role, one in ((WHOLE, whole), (VOTE, vote)) if one is None)
            return [
                *found,
                Finding(AREA, Level.PROBLEM, f"there is no {missing} project of ours", SETUP),
                *check_backend(settings, version),
            ]
        found += _configuration(whole)
        found += _versions(whole, version)
        found += check_connection(settings, client, (whole, vote), version)
        found += _storages(settings, client, whole, vote)
        found += _blindness(client, vote)
    return [*found, *check_backend(settings, version), *_records(store)]


def _find(store: Store, settings: Settings, client: LabelStudio, role: str) -> Project | None:
    found = studio.find_project(client, known_project(store, role), marker(settings, role))
    return studio.project(client, int(found["id"])) if found else None


def _access(settings: Settings, client: LabelStudio) -> Iterator[Finding]:
    key = settings.label_studio_api_key
    kind = "personal access token" if key and Credentials("", key.get_secret_value()).is_personal else "legacy token"
    try:
        user, release = client.whoami(), client.version()
    except ServiceError as error:
        yield Finding(AREA, Level.PROBLEM, str(error), _token_help(str(error)))
        return
    yield Finding(AREA, Level.OK, f"{client.url}, release {release}, as {user['email']} by {kind}")
    if not release.startswith(KNOWN_RELEASE):
        words = f"release {release} was not tried; {KNOWN_RELEASE} was"
        yield Finding(AREA, Level.NOTE, words, "watch the first push")


def _token_help(said: str) -> str:
    if "legacy" in said:
        return "switch legacy tokens on under Organization, or use a personal access token"
    if "401" in said:
        return "make a new token under Account & Settings and set ANNOTATOR_LABEL_STUDIO_API_KEY"
    return "check label_studio_url and that Label Studio runs"


def _configuration(whole: Project) -> Iterator[Finding]:
    config = str(whole["label_config"])
    named = [tag for tag in re.findall(r"<[^>]*>", config) if re.search(r"\sname=", tag)]
    keys = {key for tag in named for key in re.findall(r'\svalue="\$(\w+)"', tag)}
    try:
        read_controls(config)
    except InputError as error:
        yield Finding(AREA, Level.PROBLEM, f"whole-image project: {error}", f"{SETUP}, which puts ours back")
        return
    if len(keys) > 1:
        names = ", ".join(sorted(keys))
        words = f"the whole-image configuration has several data keys ({names}): no picture can be uploaded to it"
        yield Finding(AREA, Level.PROBLEM, words, f"{SETUP}, which puts ours back; or take name= off all but the image")


def _versions(whole: Project, version: str) -> Iterator[Finding]:
    if whole["model_version"] != version:
        shown = whole["model_version"] or "none"
        words = f"the project shows version {shown}, the ensemble is {version}: ordering by score does nothing"
        yield Finding(AREA, Level.PROBLEM, words, f"{SETUP}, then annotator review push")


def _storages(settings: Settings, client: LabelStudio, whole: Project, vote: Project) -> Iterator[Finding]:
    place = pictures.place_of(settings)
    if isinstance(place, Bucket):
        yield Finding(AREA, Level.OK, f"pictures are shown from {place.url} by signed addresses")
        return
    missing = False
    for project, folder in ((whole, pictures.IMAGES), (vote, pictures.VOTES)):
        paths = {one["path"].rstrip("/") for one in studio.local_storages(client, int(project["id"]))}
        if place.seen(folder) not in paths:
            missing = True
            words = f"{place.seen(folder)} is not attached to project {project['id']}: its pictures answer 404"
            yield Finding(AREA, Level.PROBLEM, words, SETUP)
    if not missing:
        yield _served(client, place)


def _served(client: LabelStudio, place: pictures.Place) -> Finding:
    """Whether Label Studio serves a picture that we put there."""
    address = place.publish(PROBE, DOT)
    try:
        served = client.download(address)
        trouble = "" if served == DOT else "other bytes than ours came back"
    except ServiceError as error:
        trouble = str(error)
    if not trouble:
        return Finding(AREA, Level.OK, f"serves our pictures from {place.seen_root}")
    mend = (
        "start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
        f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={place.seen_root}; where it sees the folder under another path, set "
        "label_studio_files_root"
    )
    return Finding(AREA, Level.PROBLEM, f"local files are not served: {trouble}", mend)


def _blindness(client: LabelStudio, vote: Project) -> Iterator[Finding]:
    if vote["show_collab_predictions"]:
        yield Finding(AREA, Level.PROBLEM, "the vote project shows models' answers to annotators", SETUP)
    if client.backends(int(vote["id"])):
        words = "an ML backend is connected to the vote project, where votes must be blind"
        yield Finding(AREA, Level.PROBLEM, words, "disconnect it under Settings, Model")


def _records(store: Store) -> Iterator[Finding]:
    """What Label Studio tells nobody and our database knows."""
    with store.read() as session:
        failed = session.scalar(select(func.count()).select_from(FailureRow).where(FailureRow.stage == BACKEND_STAGE))
        doubtful = session.scalar(select(func.count()).select_from(VoteRow).where(VoteRow.remark.like("written by %")))
    if failed:
        words = f"{failed:,} pictures could not be pre-labelled, which Label Studio does not say"
        yield Finding(AREA, Level.NOTE, words, "see annotator status, or the tab 'failed' after annotator review push")
    if doubtful:
        words = f"{doubtful:,} votes were written in another's name and do not count"
        yield Finding(AREA, Level.NOTE, words, "look at them, then annotator review pull --allow ANNOTATION")


DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)
"""One transparent pixel as a PNG."""
