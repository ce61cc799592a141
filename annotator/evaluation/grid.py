"""Tables of metrics as plain text and as Markdown, in the units that the field prints."""

from __future__ import annotations

import math
from collections.abc import Sequence

from annotator.evaluation.bootstrap import Interval

HEADINGS = {
    "mae": ("MAE", 1, 2),
    "cs5": ("CS@5 %", 100, 1),
    "mape": ("MAPE %", 100, 1),
    "gender_accuracy": ("gender %", 100, 1),
    "class_accuracy": ("class %", 100, 1),
    "class_mae": ("class MAE", 1, 3),
    "one_off_accuracy": ("1-off %", 100, 1),
}
"""Heading, factor and decimals of each metric."""

INTERVALS = "95 % intervals in brackets: bootstrap with 2,000 resamples of the images, Wilson's for shares"
"""What is said under every table with intervals."""

Grid = Sequence[Sequence[str]]


def heading(name: str) -> str:
    """What stands over a metric's column; a name that is no metric is its own heading."""
    return HEADINGS[name][0] if name in HEADINGS else name


def interval_cell(name: str, interval: Interval) -> str:
    """``3.65 [3.60, 3.70]``, without the bounds where it has none, ``-`` where there is no value.

    >>> interval_cell("cs5", Interval(0.5, 0.4, 0.625, 10)), interval_cell("mae", Interval(float("nan"), 0, 0, 0))
    ('50.0 [40.0, 62.5]', '-')
    """
    if interval.n == 0:
        return "-"
    _, factor, digits = HEADINGS[name]
    value, low, high = (f"{factor * number:.{digits}f}" for number in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]" if math.isfinite(interval.high) else value


def value_cell(name: str, value: float | None) -> str:
    """A published figure, as exact as it was published; ``-`` where there is none.

    >>> value_cell("cs5", 0.7448), value_cell("mae", 3.65), value_cell("mape", None)
    ('74.48', '3.65', '-')
    """
    if value is None:
        return "-"
    _, factor, digits = HEADINGS[name]
    return f"{factor * value:.{max(digits, 2)}f}"


def plain(lines: Grid, left: int = 1) -> str:
    """Aligned columns: the first ``left`` ones to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(lines: Grid, left: int = 1) -> str:
    """The same as a Markdown table."""
    head, *rows = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))
