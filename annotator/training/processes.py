"""Where a training runs and what it says: several processes, as `accelerate launch` and `torchrun` start them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

PATIENCE = timedelta(hours=12)
"""How long a process waits for the others: one of them may prepare the pictures of a large dataset meanwhile."""

DIVERGED = (
    "the training diverged before step {step:,}: the model's answers are no numbers any more. Remove {out} and start "
    "again with a lower rate than {rate:g} (--rate, or rate in retrain_recipes)"
)
"""What is said then, with the step, the folder of the run and its learning rate."""


def leads() -> bool:
    """Whether this is the process that speaks and writes; to be asked once accelerate knows where it runs."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def one_voice(say: Callable[[str], None]) -> Callable[[str], None]:
    """``say`` in the process that leads; nothing in the others."""
    return say if leads() else _silent


def leave() -> None:
    """Part from the other processes once all are done; one that just ends may be aborted by torch's own threads."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _silent(text: str) -> None:
    del text
