"""A calibration, and how it holds, each in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotator.cli.output import plural

if TYPE_CHECKING:
    from annotator.pipeline.drift import Drift
    from annotator.pipeline.refit import RefitReport


def fit_line(report: RefitReport, *, used: bool = False) -> str:
    """What became of the calibration, with its out-of-fold figures; ``used`` where everybody is fused by it already."""
    people = plural(report.people, "person has", "people have")
    if report.version is None or report.mae is None or report.best_predictor_mae is None or report.coverage is None:
        return f"calibration: none yet; {people} a trusted truth and a prediction, {report.why}"
    figures = (
        f"MAE {report.mae:.2f} years (best predictor alone {report.best_predictor_mae:.2f}), "
        f"90 % intervals cover {100 * report.coverage:.1f} %"
    )
    if report.outcome == "new":
        later = "" if used else "; the next annotator prelabel uses it"
        return f"calibration: new fit {report.version} on {report.people:,} people, {figures}{later}"
    return f"calibration: fit {report.version} stays, {figures}; {report.why}"


def drift_line(found: Drift) -> str:
    """How the intervals did on the truths of the last week, and what to do where they no longer hold."""
    if found.rate is None or found.until is None:
        return "nothing is known yet: no calibration was followed by a truth that it did not learn from"
    held = (
        f"the 90 % intervals held {100 * found.rate:.1f} % of {plural(found.people, 'true age')} "
        f"in the week to {found.until:%Y-%m-%d}"
    )
    if not found.alarm:
        return held
    return f"ALARM: {held}; photos or models have changed: run annotator settle, then annotator prelabel"
