"""Charts as inline SVG whose colours are CSS variables, so that one picture serves light and dark pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from annotator.evaluation.report.data import Bools, Floats

INK, GRID = "#010203", "#010204"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004")
_VARIABLES = {INK: "var(--ink)", GRID: "var(--grid)"} | {
    color: f"var(--series-{number})" for number, color in enumerate(SERIES, 1)
}
MAX_POINTS = 3000
"""A scatter shows at most this many people, drawn at random: more would only be a blot, and megabytes."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify": True,
}


def draw(paint: Callable[[Axes], None], salt: str, width: float = 6.4, height: float = 3.8) -> str:
    """One chart; ``salt`` keeps the ids of several charts on one page apart and the bytes reproducible."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.add_subplot())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    return text


def lines(
    series: Sequence[tuple[str, Floats, Floats]], x_label: str, y_label: str, diagonal: bool = False
) -> Callable[[Axes], None]:
    """Named curves over a common axis; ``diagonal`` adds the line of equal shares."""

    def paint(axes: Axes) -> None:
        if diagonal:
            axes.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=0.8)
        for color, (name, x, y) in zip(SERIES, series, strict=False):
            axes.plot(x, y, color=color, linewidth=2, label=name)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.margins(x=0.01)
        if len(series) > 1:
            axes.legend()

    return paint


def points_with_intervals(
    x: Floats, y: Floats, low: Floats, high: Floats, x_label: str, y_label: str
) -> Callable[[Axes], None]:
    """Shares in percent with their intervals, against the line of equal shares."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=0.8)
        spread = np.vstack([y - low, high - y]).clip(min=0)
        axes.errorbar(x, y, yerr=spread, fmt="o", color=SERIES[0], ecolor=SERIES[0], elinewidth=1.6, capsize=2)
        axes.set(xlabel=x_label, ylabel=y_label)

    return paint


def bars_with_intervals(
    labels: Sequence[str], values: Floats, low: Floats, high: Floats, counts: Sequence[int], y_label: str
) -> Callable[[Axes], None]:
    """Bars with 95 % intervals and the number of people under each group's name."""

    def paint(axes: Axes) -> None:
        place = np.arange(len(labels))
        axes.bar(place, values, color=SERIES[0], width=0.72)
        spread = np.vstack([values - low, high - values]).clip(min=0)
        axes.errorbar(place, values, yerr=spread, fmt="none", ecolor=INK, elinewidth=1.2, capsize=2.5)
        names = [f"{label}\n{count:,}" for label, count in zip(labels, counts, strict=True)]
        axes.set_xticks(place, names, fontsize=8 if len(labels) > 12 else 10)
        axes.set(xlabel="age group, and people in it", ylabel=y_label)
        axes.grid(visible=False, axis="x")

    return paint


def agreement(
    x: Floats, y: Floats, flagged: Bools, x_label: str, y_label: str, seed: int = 0
) -> Callable[[Axes], None]:
    """One predictor's age against another's, the flagged people marked."""

    def paint(axes: Axes) -> None:
        known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if len(known) > MAX_POINTS:
            known = np.random.default_rng(seed).choice(known, MAX_POINTS, replace=False)
        top = max(10.0, float(np.max([x[known], y[known]], initial=0)))
        axes.plot([0, top], [0, top], color=GRID, linewidth=1.2)
        for mark, name, color, size in ((~flagged, "not flagged", SERIES[0], 7), (flagged, "flagged", SERIES[1], 14)):
            some = known[mark[known]]
            axes.scatter(x[some], y[some], s=size, color=color, alpha=0.65, linewidths=0, label=name)
        axes.set(xlabel=f"{x_label}, years", ylabel=f"{y_label}, years")
        axes.set_aspect("equal")
        axes.legend(loc="upper left")

    return paint


def dots_with_intervals(
    names: Sequence[str], values: Floats, spread: Floats, x_label: str, reference: float
) -> Callable[[Axes], None]:
    """One dot with its interval per name, on lines of their own, against a reference value."""

    def paint(axes: Axes) -> None:
        place = np.arange(len(names))[::-1]
        axes.axvline(reference, color=INK, linewidth=1, linestyle="--")
        axes.errorbar(values, place, xerr=spread, fmt="o", color=SERIES[0], ecolor=SERIES[0], elinewidth=1.6, capsize=2)
        axes.set_yticks(place, list(names))
        axes.set(xlabel=x_label)
        axes.grid(visible=False, axis="y")

    return paint


def lines_with_intervals(
    labels: Sequence[str], series: Sequence[tuple[str, Floats, Floats, Floats]], x_label: str, y_label: str
) -> Callable[[Axes], None]:
    """Named series of (value, low, high) over common groups, NaN where a group is empty; side by side, not on top."""

    def paint(axes: Axes) -> None:
        place = np.arange(len(labels), dtype=np.float64)
        for number, (color, (name, values, low, high)) in enumerate(zip(SERIES, series, strict=False)):
            x = place + 0.08 * (number - (min(len(series), len(SERIES)) - 1) / 2)
            spread = np.nan_to_num(np.vstack([values - low, high - values]).clip(min=0), posinf=0)
            axes.errorbar(x, values, yerr=spread, color=color, marker="o", markersize=4, linewidth=1.6, label=name)
        axes.set_xticks(place, list(labels), fontsize=8 if len(labels) > 12 else 10)
        axes.set(xlabel=x_label, ylabel=y_label)
        largest = max(
            (float(np.nanmax(values)) for _, values, _, _ in series if np.isfinite(values).any()), default=0.0
        )
        axes.set_ylim(0, min(axes.get_ylim()[1], 2.5 * largest) if largest else None)  # a group of few is no scale
        if len(series) > 1:
            axes.legend()

    return paint


def confusion(labels: Sequence[str], shares: Floats, x_label: str, y_label: str) -> Callable[[Axes], None]:
    """Shares of each true group (row) that were said to be each other one (column), in percent."""

    def paint(axes: Axes) -> None:
        for row in range(len(labels)):
            for column in range(len(labels)):
                share = float(shares[row, column])
                if np.isnan(share):
                    continue
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=SERIES[0], alpha=share, linewidth=0))
                if share >= 0.005:
                    axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8)
        axes.set_xticks(range(len(labels)), list(labels), fontsize=8)
        axes.set_yticks(range(len(labels)), list(labels), fontsize=8)
        axes.set(xlabel=x_label, ylabel=y_label, xlim=(-0.5, len(labels) - 0.5), ylim=(len(labels) - 0.5, -0.5))
        axes.set_aspect("equal")
        axes.grid(visible=False)

    return paint
