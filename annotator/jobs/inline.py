"""A run inside the calling process: the same ledger and the same steps, without a broker."""

from __future__ import annotations

import os
import socket
import time

from annotator.jobs import ledger, runs
from annotator.jobs.steps import Tools
from annotator.jobs.work import perform
from annotator.pipeline.watch import SILENT, Watch

PAUSE = 0.5
"""Seconds between two looks at a run of which nothing can be taken now."""


def worker_name() -> str:
    """How this process is called in the ledger."""
    return f"{socket.gethostname()}:{os.getpid()}"


def drain(tools: Tools, run: int, watch: Watch = SILENT) -> None:
    """Work on a run until it is over. Several processes may do so at once; each takes what the others have not."""
    lease, name = tools.settings.jobs_lease_seconds, worker_name()
    step = None
    while runs.is_active(tools.store, run):
        held = ledger.claim_next(tools.store, run, name, lease)
        if held is not None:
            if held.step != step:
                step = held.step
                watch.begin("images pre-labelled" if held.images is not None else step)
            perform(tools, held)
            watch.step(len(held.images or (1,)))
            continue
        moved = ledger.expire(tools.store) or runs.advance(tools.store, run)
        if not moved:
            time.sleep(PAUSE)
