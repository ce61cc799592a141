"""Training in several processes, as `accelerate launch` and `torchrun` start them."""

from __future__ import annotations

import os
from collections.abc import Callable


def leads() -> bool:
    """Whether this is the process that speaks and writes."""
    return int(os.environ.get("RANK", "0")) == 0


def one_voice(say: Callable[[str], None]) -> Callable[[str], None]:
    """``say`` in the process that leads; nothing in the others."""
    return say if leads() else _silent


def _silent(text: str) -> None:
    del text
