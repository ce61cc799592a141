"""Which predictor suits one's own photos: accuracy, speed, memory and the ensemble's gain, ended by one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotator.evaluation.benchmark_files import SIGNIFICANT
from annotator.evaluation.bootstrap import Comparison, paired_bootstrap
from annotator.evaluation.grid import Grid, heading, interval_cell
from annotator.evaluation.measuring import Row
from annotator.evaluation.metrics import Floats, Ints, mean


@dataclass(frozen=True, slots=True)
class Speed:
    """What a predictor took alone in a process of its own: people per second, and peak memory in MB."""

    people_per_second: float
    memory_mb: float
    gpu_memory_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One predictor: its row, the loss of each person, on which image, its speed (``None``: it runs elsewhere)."""

    row: Row
    loss: Floats
    image: Ints
    speed: Speed | None


@dataclass(frozen=True, slots=True)
class Ensemble:
    """All candidates together, fused."""

    row: Row
    loss: Floats


def gain(candidate: Candidate, ensemble: Ensemble, seed: int = 0) -> Comparison:
    """Loss of the candidate minus loss of the ensemble on the people that both answered: above 0 the ensemble helps."""
    return paired_bootstrap(candidate.loss, ensemble.loss, image=candidate.image, seed=seed)


def advice_grid(candidates: Sequence[Candidate], ensemble: Ensemble | None, seed: int = 0) -> Grid:
    """Accuracy, speed, memory and the ensemble's gain, a line each."""
    names = list(candidates[0].row.metrics)
    lines = [["predictor", "input", "n", *map(heading, names), "people/s", "memory MB", "GPU MB", "ensemble's gain"]]
    for one in candidates:
        lines.append([*_start(one.row, names), *_speed(one.speed), _gain(one, ensemble, seed)])
    if ensemble is not None:
        lines.append([*_start(ensemble.row, names), *_speed(together(candidates)), "-"])
    return lines


def together(candidates: Sequence[Candidate]) -> Speed | None:
    """All candidates one after the other on this machine, all in memory; ``None`` where one runs elsewhere."""
    speeds = [one.speed for one in candidates if one.speed is not None]
    if len(speeds) < len(candidates):
        return None
    seconds = sum(1 / speed.people_per_second for speed in speeds)
    memory, gpu = (sum(getattr(speed, name) for speed in speeds) for name in ("memory_mb", "gpu_memory_mb"))
    return Speed(1 / seconds, memory, gpu)


def advise(candidates: Sequence[Candidate], ensemble: Ensemble | None, unit: str = "years", seed: int = 0) -> str:
    """One sentence: the fastest predictor that no other is shown to beat, or the ensemble where it is shown to help."""
    known = [one for one in candidates if np.isfinite(one.loss).any()]
    if not known:
        return "No predictor gave an age for anybody, so none can be recommended."
    best = min(known, key=lambda one: mean(one.loss))
    rivals = [one for one in known if one is best or _equals(one, best, seed)]
    pick = max(rivals, key=lambda one: (one.speed.people_per_second if one.speed else 0.0, -mean(one.loss)))
    n = int(np.isfinite(pick.loss).sum())
    if ensemble is not None:
        helped = gain(pick, ensemble, seed)
        if helped.p < SIGNIFICANT and helped.difference.value > 0:
            gap = helped.difference
            return (
                f"Use the ensemble of {_names(candidates)}: on your {gap.n:,} people it errs {gap.value:.2f} {unit} "
                f"less than {pick.row.predictor} alone (95 % interval {gap.low:.2f} to {gap.high:.2f})"
                f"{_pace(candidates)}."
            )
    equal = [one for one in rivals if one is not pick]
    reason = f"on your {n:,} people its MAE is {mean(pick.loss):.2f} {unit}"
    if equal:
        reason += f", {_names(equal)} {'is' if len(equal) == 1 else 'are'} not shown to be better and not faster"
    elif len(known) > 1:
        reason += ", and it is shown to be better than every other predictor"
    if ensemble is not None:
        reason += "; the ensemble is not shown to help"
    return f"Use {pick.row.predictor} on {pick.row.sees}: {reason}."


def _equals(one: Candidate, best: Candidate, seed: int) -> bool:
    """Whether the best is not shown to be better, and they can be compared at all."""
    found = paired_bootstrap(one.loss, best.loss, image=one.image, seed=seed)
    return found.difference.n > 0 and not (found.p < SIGNIFICANT and found.difference.value > 0)


def _start(row: Row, names: Sequence[str]) -> list[str]:
    return [row.predictor, row.sees, f"{row.n:,}", *(interval_cell(name, row.metrics[name]) for name in names)]


def _speed(speed: Speed | None) -> list[str]:
    if speed is None:
        return ["elsewhere", "-", "-"]
    gpu = f"{speed.gpu_memory_mb:,.0f}" if speed.gpu_memory_mb else "-"
    return [f"{speed.people_per_second:,.1f}", f"{speed.memory_mb:,.0f}", gpu]


def _gain(one: Candidate, ensemble: Ensemble | None, seed: int) -> str:
    if ensemble is None:
        return "-"
    gap = gain(one, ensemble, seed).difference
    return "-" if gap.n == 0 else f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"


def _pace(candidates: Sequence[Candidate]) -> str:
    speed = together(candidates)
    return "" if speed is None else f", at {speed.people_per_second:,.1f} people a second on this machine"


def _names(candidates: Sequence[Candidate]) -> str:
    *first, last = [one.row.predictor for one in candidates]
    return f"{', '.join(first)} and {last}" if first else last
