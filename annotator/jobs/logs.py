"""Logs as text or as one JSON object on each line, with the run, batch, image and model that a line is about."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import Processor

Format = Literal["text", "json"]
QUIET = ("celery.worker.strategy", "celery.app.trace", "httpx", "httpcore", "botocore", "aiobotocore", "s3fs")
"""Libraries that say at length what our own lines say with run and batch."""


def set_up_logs(kind: Format, level: int = logging.INFO) -> None:
    """Have everything that is logged in this process written to stderr in one form."""
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_json = kind == "json"
    last: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([structlog.processors.format_exc_info] if as_json else []),
            last,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


@contextmanager
def said_of(**facts: object) -> Iterator[None]:
    """Lines that are logged meanwhile, by this thread, carry these facts."""
    with bound_contextvars(**facts):
        yield
