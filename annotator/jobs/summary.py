"""The summary of a run, sent to whoever wants to hear of it in the morning."""

from __future__ import annotations

from typing import Any

import httpx

from annotator.errors import ServiceError
from annotator.jobs.overview import RunLine, look_at
from annotator.store.session import Store

SECONDS = 10.0


def send_summary(store: Store, url: str, run: int) -> None:
    """POST what a run did, up to now, as JSON; ``text`` is one line that chat services show.

    Raises:
        ServiceError: the other side does not take it; the address, which may hold a secret, is not named.
    """
    try:
        answer = httpx.post(url, json=summary(look_at(store, run)), timeout=SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServiceError(f"the address of jobs_webhook_url does not answer ({type(error).__name__})") from None
    if answer.is_error:
        raise ServiceError(f"the address of jobs_webhook_url answered {answer.status_code}")


def summary(line: RunLine) -> dict[str, Any]:
    """What is sent."""
    broken = f", {line.batches_failed} batches failed" if line.batches_failed else ""
    return {
        "text": f"annotator {line.job} run {line.run}: {line.images:,} images pre-labelled, {line.failed:,} failed, "
        f"in {line.seconds / 60:.0f} min{broken}",
        "job": line.job,
        "run": line.run,
        "scheduled_for": line.scheduled_for.isoformat(),
        "version": line.version,
        "seconds": round(line.seconds, 1),
        "steps": line.steps,
        "errors": list(line.errors),
    }
