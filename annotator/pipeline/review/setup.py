"""Making the two Label Studio projects, or bringing them up to date; a second run changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import ParseError, canonicalize

from annotator.errors import ServiceError
from annotator.labelstudio import administration as studio
from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.controls import PERSON_VOTE, WHOLE_IMAGE, config_text
from annotator.pipeline.review import pictures
from annotator.pipeline.review.bucket import Bucket
from annotator.pipeline.review.moved import follow_address
from annotator.pipeline.review.studio import (
    SECRET_HEADER,
    VOTE,
    WHOLE,
    Projects,
    forget_project,
    keep_project,
    known_project,
    make_secret,
    marker,
    open_studio,
    webhook_secret,
)
from annotator.pipeline.version import version_in_force
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from annotator.store.session import Store

FAILED_WORDS = "could not be pre-labelled"

WHOLE_INSTRUCTION = (
    "Every person has a box with gender and age, every face a box inside its person's. "
    "Correct what is wrong, draw who is missing, then submit."
)
VOTE_INSTRUCTION = (
    "Judge the person in the orange frame as you perceive them: age in whole years, your best guess, and gender. "
    "If the frame holds no person, the wrong one or several, tick the problem and answer as well as you can. "
    "By keyboard: Tab until the cursor is in the age, type it, Shift+Tab, then m male, f female or u cannot tell, "
    "Ctrl+Enter submits, Ctrl+Space skips. Escape closes this."
)


@dataclass(frozen=True, slots=True)
class SetupReport:
    """The projects, what had to be changed, and what could not be done (empty where all is well)."""

    whole: int
    vote: int
    url: str
    version: str
    changes: tuple[str, ...]
    secret_made: bool
    troubles: tuple[str, ...]


def setup(store: Store, settings: Settings, models: ModelSet, *, backend: bool = True) -> SetupReport:
    """Make both projects, or bring them up to date; without ``backend`` no ML backend is connected.

    What does not depend on the backend is done even where the backend does not answer: ``troubles`` says so.

    Raises:
        ConfigurationError: Label Studio's address or key, or the local files' folder is not set.
        ServiceError: Label Studio does not do as asked.
    """
    version = version_in_force(store, settings, models)
    place = pictures.place_of(settings)
    changes: list[str] = []
    troubles: list[str] = []
    secret_made = make_secret(settings)
    with open_studio(settings) as client:
        projects = Projects(
            _project(store, settings, client, WHOLE, _whole_fields(settings), changes),
            _project(store, settings, client, VOTE, _vote_fields(settings), changes),
        )
        moved = follow_address(store, settings)
        if moved:
            changes.append(f"{moved:,} uploaded pictures are read from {settings.label_studio_url} now")
        _storages(client, projects, place, changes)
        _views(client, projects.whole, changes)
        if backend:
            try:
                _backend(settings, client, projects, version, changes)
            except ServiceError as error:
                troubles.append(f"the ML backend is not connected: {error}")
    return SetupReport(
        projects.whole, projects.vote, settings.label_studio_url or "", version, tuple(changes), secret_made,
        tuple(troubles),
    )  # fmt: skip


def _whole_fields(settings: Settings) -> dict[str, Any]:
    return {
        "title": f"{settings.review_name}: boxes, gender, age"[:50],
        "label_config": config_text(WHOLE_IMAGE),
        "expert_instruction": WHOLE_INSTRUCTION,
        "show_instruction": False,
        "show_collab_predictions": True,
        "sampling": "Uncertainty sampling",
    }


def _vote_fields(settings: Settings) -> dict[str, Any]:
    return {
        "title": f"{settings.review_name}: one person at a time"[:50],
        "label_config": config_text(PERSON_VOTE),
        "expert_instruction": VOTE_INSTRUCTION,
        "show_instruction": True,
        "show_collab_predictions": False,
        "sampling": "Sequential sampling",
        "skip_queue": "REQUEUE_FOR_OTHERS",
    }


def _project(
    store: Store,
    settings: Settings,
    client: LabelStudio,
    role: str,
    fields: Mapping[str, Any],
    changes: list[str],
) -> int:
    found = studio.find_project(client, known_project(store, role), marker(settings, role))
    if found is None:
        # how many votes a new task is given to; set once, because Label Studio would reset it on every task
        votes = settings.settle_min_votes if role == VOTE else 1
        made = client.create_project(**{**fields, "description": marker(settings, role), "maximum_annotations": votes})
        changes.append(f"{role} project {made['id']} made")
        forget_project(store, int(made["id"]))
        keep_project(store, role, int(made["id"]))
        return int(made["id"])
    number = int(found["id"])
    keep_project(store, role, number)
    present = studio.project(client, number)
    different = {name: value for name, value in fields.items() if not _is(name, present.get(name), value)}
    if different:
        client.update_project(number, **different)
        changes.append(f"{role} project {number}: {', '.join(sorted(different))} updated")
    return number


def _is(name: str, present: object, wanted: object) -> bool:
    """Whether a field is as it should be; Label Studio writes a configuration in its own way, without comments."""
    if name != "label_config":
        return present == wanted
    try:
        return canonicalize(str(present), strip_text=True) == canonicalize(str(wanted), strip_text=True)
    except ParseError:
        return False


def _storages(client: LabelStudio, projects: Projects, place: pictures.Place | Bucket, changes: list[str]) -> None:
    if isinstance(place, Bucket):
        return  # browsers open signed addresses, Label Studio serves nothing
    for number, folder in ((projects.whole, pictures.IMAGES), (projects.vote, pictures.VOTES)):
        place.make(folder)
        if studio.add_local_storage(client, number, place.seen(folder), "annotator"):
            changes.append(f"local files of {place.seen(folder)} attached to project {number}")


def _views(client: LabelStudio, number: int, changes: list[str]) -> None:
    for view in VIEWS:
        if studio.set_view(client, number, view):
            changes.append(f"tab '{view['title']}'")


def _backend(settings: Settings, client: LabelStudio, projects: Projects, version: str, changes: list[str]) -> None:
    url = settings.backend_url.rstrip("/")
    present = client.backends(projects.whole)
    for one in present:
        if one["url"].rstrip("/") != url:
            client.disconnect_backend(one)  # Label Studio would go on asking the first one
            changes.append(f"backend {one['url']} disconnected")
    same = [one for one in present if one["url"].rstrip("/") == url]
    for extra in same[1:]:
        client.call("DELETE", f"/api/ml/{extra['id']}")  # left behind by an attempt that was refused halfway
    if not same or same[0]["title"] != version or same[0]["state"] != "CO":
        password = settings.backend_password.get_secret_value() if settings.backend_password else None
        client.connect_backend(
            projects.whole, url, version, user=settings.backend_user, password=password, is_interactive=True
        )
        changes.append(f"backend {url} connected")
    if studio.project(client, projects.whole).get("model_version") != version:
        client.update_project(projects.whole, model_version=version)
        changes.append(f"model version {version}")
    headers = {SECRET_HEADER: webhook_secret(settings) or ""}
    for number in (projects.whole, projects.vote):
        if studio.set_webhook(client, number, f"{url}/webhook", headers):
            changes.append(f"webhook of project {number}")


def _filter(column: str, operator: str, kind: str, value: object) -> dict[str, Any]:
    item = {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
    return {"conjunction": "and", "items": [item]}


HIDDEN = [
    f"tasks:{name}"
    for name in (
        "inner_id", "cancelled_annotations", "annotations_results", "annotations_ids", "predictions_results",
        "predictions_model_versions", "file_upload", "storage_filename", "created_at", "updated_at", "updated_by",
        "avg_lead_time", "draft_exists",
    )
]  # fmt: skip
"""Columns that would push the picture and the score out of sight."""

VIEWS: tuple[dict[str, Any], ...] = (
    {
        "title": "needs review",
        "ordering": ["tasks:predictions_score"],
        "hiddenColumns": {"explore": HIDDEN, "labeling": HIDDEN},
        "filters": _filter("predictions_results", "contains", "String", "Please check"),
    },
    {
        "title": "corrected",
        "ordering": ["-tasks:completed_at"],
        "hiddenColumns": {"explore": HIDDEN, "labeling": HIDDEN},
        "filters": _filter("total_annotations", "greater", "Number", 0),
    },
    {
        "title": "failed",
        "ordering": ["tasks:id"],
        "hiddenColumns": {"explore": HIDDEN, "labeling": HIDDEN},
        "filters": _filter("data.review_reason", "contains", "String", FAILED_WORDS),
    },
)
"""The Data Manager's tabs: flagged pictures, the most urgent first; those with annotations; those without people."""
