"""The ML backend, as Label Studio has it and as it answers us."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from annotator.labelstudio import administration as studio
from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.controls import WHOLE_IMAGE, config_text
from annotator.pipeline.findings import Finding, Level
from annotator.pipeline.review.studio import SECRET_HEADER, webhook_secret
from annotator.settings import Settings

AREA = "ML backend"
HEALTH_SECONDS, SETUP_SECONDS = 1.0, 3.0
"""Label Studio waits no longer for these; it then skips the backend and says so nowhere."""

SETUP = "run annotator review setup"
ALLOW_PRIVATE = (
    "start Label Studio with USE_DEFAULT_BANNED_SUBNETS=false and USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16 (and "
    "what else it must not reach)"
)


def check_connection(
    settings: Settings, client: LabelStudio, projects: Sequence[dict[str, Any]], version: str
) -> Iterator[Finding]:
    """What Label Studio holds of the backend and its webhooks; the first of ``projects`` is the whole-image one.

    Raises:
        ServiceError: Label Studio stopped answering.
    """
    url = settings.backend_url.rstrip("/")
    refused = studio.refused_address(client, url)
    if refused:
        words = f"Label Studio may not reach {url}, a private address: {refused}"
        yield Finding(AREA, Level.PROBLEM, words, f"{ALLOW_PRIVATE}, then {SETUP}")
    whole = int(projects[0]["id"])
    present = client.backends(whole)
    ours = [one for one in present if one["url"].rstrip("/") == url]
    if not ours and not refused:
        yield Finding(AREA, Level.NOTE, f"no ML backend at {url} is connected to project {whole}", SETUP)
    if len(ours) > 1:
        words = f"{url} is connected {len(ours)} times: half-made by refused attempts"
        yield Finding(AREA, Level.PROBLEM, words, SETUP)
    if len(present) > len(ours):
        yield Finding(AREA, Level.PROBLEM, "another ML backend is connected, which Label Studio may ask instead", SETUP)
    for one in ours[:1]:
        yield from _connected(one, version)
    for project in projects:
        yield from _webhooks(settings, client, int(project["id"]), is_backed=bool(ours) and project is projects[0])


def _connected(one: dict[str, Any], version: str) -> Iterator[Finding]:
    if one["title"] != version:
        words = f"it is called {one['title']}, not {version}: Label Studio asks it for every task again and again"
        yield Finding(AREA, Level.PROBLEM, words, SETUP)
    if one["state"] != "CO":
        words = f"Label Studio cannot reach {one['url']} ({one.get('readable_state') or one['state']})"
        yield Finding(AREA, Level.PROBLEM, words, f"start annotator serve, then {SETUP}")


def _webhooks(settings: Settings, client: LabelStudio, number: int, *, is_backed: bool) -> Iterator[Finding]:
    url, secret = f"{settings.backend_url.rstrip('/')}/webhook", webhook_secret(settings)
    hooks = studio.webhooks(client, number)
    ours = [one for one in hooks if one["url"].rstrip("/") == url]
    if not ours and is_backed:
        words = f"the backend of project {number} is half-made: it has no webhook"
        yield Finding(AREA, Level.PROBLEM, words, SETUP)
    elif not ours:
        yield Finding(AREA, Level.NOTE, f"project {number} sends no webhooks; pulling works without", SETUP)
    for one in ours:
        if not secret or (one["headers"] or {}).get(SECRET_HEADER) != secret:
            words = f"a webhook of project {number} does not carry the secret, so that it is refused"
            yield Finding(AREA, Level.PROBLEM, words, SETUP)
        if not one["is_active"]:
            yield Finding(AREA, Level.NOTE, f"the webhook of project {number} is switched off", SETUP)
    if len(hooks) > len(ours):
        words = f"project {number} has webhooks to elsewhere; a backend that was moved leaves its own behind"
        yield Finding(AREA, Level.NOTE, words, "delete them under Settings, Webhooks, if nobody wants them")


def check_backend(settings: Settings, version: str) -> Iterator[Finding]:
    """The backend as we reach it; Label Studio may reach it otherwise."""
    url = settings.backend_url.rstrip("/")
    password = settings.backend_password.get_secret_value() if settings.backend_password else ""
    auth = httpx.BasicAuth(settings.backend_user, password) if settings.backend_user else None
    with httpx.Client(base_url=url, timeout=10, trust_env=False, auth=auth) as client:
        try:
            yield from _answers(client, url, version)
        except (httpx.HTTPError, ValueError) as error:
            mend = "start annotator serve, or set backend_url"
            yield Finding(AREA, Level.NOTE, f"{url} does not answer as one: {error or type(error).__name__}", mend)


def _answers(client: httpx.Client, url: str, version: str) -> Iterator[Finding]:
    health, health_seconds = _timed(client, "GET", "/health", None)
    if health.status_code != 200:
        mend = "set backend_user and backend_password as the server has them"
        yield Finding(AREA, Level.PROBLEM, f"{url} answers {health.status_code}", mend)
        return
    setup, setup_seconds = _timed(client, "POST", "/setup", {"schema": config_text(WHOLE_IMAGE)})
    said = setup.json() if setup.status_code == 200 else None
    served = said.get("model_version") if isinstance(said, dict) else f"nothing ({setup.status_code})"
    found = []
    if served != version:
        words = f"{url} serves {served}, the project is at {version}"
        found.append(Finding(AREA, Level.PROBLEM, words, "restart annotator serve"))
    for what, seconds, limit in (("health", health_seconds, HEALTH_SECONDS), ("setup", setup_seconds, SETUP_SECONDS)):
        if seconds > limit:
            words = f"its /{what} takes {seconds:.1f} s; Label Studio waits {limit:.0f} s, then skips it"
            found.append(Finding(AREA, Level.PROBLEM, words, "give it more of the machine, or lower backend_threads"))
    # a webhook's own guard: basic auth and our secret are not sent
    if httpx.post(f"{url}/webhook", json={"action": "DOCTOR"}, timeout=10, trust_env=False).status_code == 200:
        words = f"{url} takes webhooks without the secret, from everybody who reaches it"
        found.append(Finding(AREA, Level.PROBLEM, words, f"{SETUP}, then restart annotator serve"))
    yield from found or [Finding(AREA, Level.OK, f"{url}, version {version}")]


def _timed(client: httpx.Client, method: str, path: str, body: object) -> tuple[httpx.Response, float]:
    start = time.monotonic()
    return client.request(method, path, json=body), time.monotonic() - start
