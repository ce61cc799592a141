"""Training in several processes, as `accelerate launch` and `torchrun` start them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

LONGEST_WAIT = timedelta(hours=12)
"""How long a process waits for the others: one of them may prepare the pictures of a large dataset meanwhile."""


def leads() -> bool:
    """Whether this is the process that speaks and writes; to be asked once accelerate knows where it runs."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def one_voice(say: Callable[[str], None]) -> Callable[[str], None]:
    """``say`` in the process that leads; nothing in the others."""
    return say if leads() else _silent


def leave() -> bool:
    """Part from the other processes once all are done; whether this is the one that says what came of it.

    One that just ends may be aborted by torch's own threads.
    """
    import torch

    speaks = leads()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    return speaks


def _silent(text: str) -> None:
    del text
