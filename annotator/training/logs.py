"""What a training run says: a CSV file, TensorBoard where it is installed, a plot of the curves, and why it ended."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator.errors import InputError
from annotator.files import write_whole

LOG_NAME = "log.csv"
CURVES_NAME = "curves.png"


def diverged(step: int, out: Path, rate: float) -> InputError:
    """What to raise at a step whose answers are no numbers any more, in the run's folder, at its learning rate."""
    return InputError(
        f"the training diverged before step {step:,}: the model's answers are no numbers any more. Remove {out} and "
        f"start again with a lower rate than {rate:g} (--rate, or rate in retrain_recipes)"
    )


class RunLog:
    """One row for each logged step; a resumed run drops what came after the step it goes on from."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG_NAME
        self.rows: list[dict[str, float]] = [row for row in _read(self._path) if row["step"] <= step]
        self._board = _board(folder / "tensorboard")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Note the values of a step; steps that come twice are joined."""
        if self.rows and self.rows[-1]["step"] == step:
            self.rows[-1].update(values)
        else:
            self.rows.append({"step": float(step), **values})
        write_whole(self._path, _table(self.rows).encode())
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def close(self, folder: Path) -> None:
        """Draw the curves."""
        draw_curves(folder / CURVES_NAME, self.rows)
        if self._board is not None:
            self._board.close()


def _read(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _table(rows: list[dict[str, float]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names)]
    lines += [",".join(f"{row[name]:.8g}" if name in row else "" for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def _board(folder: Path) -> Any:
    """TensorBoard's writer; ``None`` without the extra ``train``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def draw_curves(path: Path, rows: list[dict[str, float]]) -> None:
    """One panel for the losses, one for each validation figure."""
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("step", "rate")]
    panels: dict[str, list[str]] = {}
    for name in names:
        panels.setdefault(name.rsplit("/", 1)[-1] if "/" in name else "loss", []).append(name)
    if not panels:
        return
    figure = Figure(figsize=(4 * len(panels), 3), dpi=110, layout="constrained")
    for number, (title, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for name in lines:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), label=name.rsplit("/", 1)[0])
        axes.set(title=title, xlabel="step")
        axes.legend(frameon=False, fontsize=7)
    figure.savefig(path, metadata={"Software": None})
