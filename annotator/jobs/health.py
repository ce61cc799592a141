"""Whether the parts of a deployment answer, for health checks of containers."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx
from kombu.exceptions import OperationalError
from sqlalchemy import select

from annotator.errors import ServiceError
from annotator.jobs.celery_app import TICK_SECONDS, make_app
from annotator.jobs.ledger import moment
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import MetaRow
from annotator.store.upsert import upsert

TICKED = "jobs:ticked"
"""Key of the ``meta`` row that holds when the schedule was last heard of."""
SILENCE = timedelta(seconds=TICK_SECONDS * 6)
PING_SECONDS = 3.0


def check(
    store: Store, settings: Settings, *, worker: str | None = None, beat: bool = False, backend: str | None = None
) -> list[str]:
    """One line for each part that answers: the database always, the broker where one is set, what else was asked for.

    Raises:
        SQLAlchemyError: the database does not answer.
        ServiceError: another part does not; says which.
    """
    with store.read() as session:
        at = moment(session)
        ticked = session.scalar(select(MetaRow.value).where(MetaRow.key == TICKED))
    lines = ["database answers"]
    if worker and settings.broker_url is None:
        raise ServiceError(f"broker_url is not set, so that the worker {worker} cannot be asked")
    if settings.broker_url is not None:
        app = make_app(settings)
        try:
            with app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=PING_SECONDS)
            answers = app.control.ping(destination=[worker], timeout=PING_SECONDS) if worker else []
        except OperationalError as error:
            raise ServiceError(f"the broker does not answer: {error}") from error
        lines.append("broker answers")
        if worker:
            if not answers:
                raise ServiceError(f"the worker {worker} does not answer")
            lines.append(f"worker {worker} answers")
    if beat:
        if ticked is None or at - datetime.fromisoformat(ticked) > SILENCE:
            raise ServiceError("the schedule was not heard of; is `annotator jobs schedule` running, and a worker?")
        lines.append("schedule ticks")
    if backend is not None:
        _ask_backend(settings, backend)
        lines.append("backend answers")
    return lines


def _ask_backend(settings: Settings, url: str) -> None:
    password = settings.backend_password.get_secret_value() if settings.backend_password else ""
    account = (settings.backend_user, password) if settings.backend_user else None
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", auth=account, timeout=PING_SECONDS)
    except httpx.HTTPError as error:
        raise ServiceError(f"the backend at {url} does not answer: {error}") from error
    if answer.status_code != 200:
        raise ServiceError(f"the backend at {url} answered {answer.status_code}")


def ticked(store: Store) -> None:
    """Write down that the schedule was heard of."""
    with store.write() as session:
        upsert(session, MetaRow, [{"key": TICKED, "value": moment(session).isoformat()}], keys=("key",))
