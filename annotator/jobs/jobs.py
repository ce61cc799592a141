"""The jobs by name, each a sequence of stages; what a stage does is in ``steps``."""

from __future__ import annotations

from dataclasses import dataclass

IO, CPU, GPU = "io", "cpu", "gpu"
QUEUES = (CPU, GPU, IO)
"""Where batches wait: for the network and disks, for processors, for models (which a machine without a GPU has too)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a job. A stage that ``fans_out`` has the batches that an earlier one found to be necessary; a
    ``long`` one has a time limit of its own.
    """

    name: str
    queue: str
    fans_out: bool = False
    long: bool = False


COLLECT = Stage("collect", IO)
PLAN = Stage("plan", CPU)
PRELABEL = Stage("prelabel", GPU, fans_out=True)
TRIAGE = Stage("triage", CPU)
PUSH = Stage("push", IO)
PULL = Stage("pull", IO)
SETTLE = Stage("settle", CPU)
REFIT = Stage("refit", CPU)
REPORT = Stage("report", IO)
SUMMARY = Stage("summary", IO)
TRAIN = Stage("retrain", GPU, long=True)

NIGHTLY, RETRAIN = "nightly", "retrain"
JOBS: dict[str, tuple[Stage, ...]] = {
    NIGHTLY: (COLLECT, PLAN, PRELABEL, TRIAGE, PUSH, PULL, SETTLE, REFIT, REPORT, SUMMARY),
    "collect": (COLLECT,),
    "prelabel": (PLAN, PRELABEL, TRIAGE),
    "push": (PUSH,),
    "pull": (PULL,),
    "settle": (SETTLE,),
    "refit": (REFIT,),
    "report": (REPORT,),
    RETRAIN: (TRAIN,),
}

LONG = frozenset(stage.name for stages in JOBS.values() for stage in stages if stage.long)
"""Stages whose batches may take longer than ``jobs_time_limit``."""
