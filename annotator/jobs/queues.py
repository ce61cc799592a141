"""Names of queues as a user writes them."""

from __future__ import annotations

from annotator.errors import InputError
from annotator.jobs.jobs import QUEUES


def parse_queues(text: str) -> list[str]:
    """``"gpu, io"`` as a list, without repetitions.

    Raises:
        InputError: a name is not known, or there is none.

    >>> parse_queues("io,gpu, io")
    ['io', 'gpu']
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in QUEUES]
    if unknown or not names:
        raise InputError(f"--queues takes some of {', '.join(QUEUES)}, separated by commas; not '{text}'")
    return names
