"""After votes or truths came in: labels first, then the calibration that may learn from them."""

from __future__ import annotations

from dataclasses import dataclass

from annotator.pipeline.refit import RefitReport, refit
from annotator.pipeline.settle import SettleReport, settle
from annotator.pipeline.watch import SILENT, Watch
from annotator.settings import Settings
from annotator.store.session import Store


@dataclass(frozen=True, slots=True)
class Settlement:
    """The labels as they are now, and what became of the ensemble's calibration."""

    labels: SettleReport
    fit: RefitReport


def settle_and_refit(
    store: Store,
    settings: Settings,
    *,
    age_method: str | None = None,
    gender_method: str | None = None,
    watch: Watch = SILENT,
) -> Settlement:
    """Bring labels up to date, then calibrate anew where enough new truth arrived; a second run changes nothing.

    Pre-labels stay as they are until the next pre-labelling, which fuses what is known by the new fit.
    """
    labels = settle(store, settings, age_method=age_method, gender_method=gender_method, watch=watch)
    return Settlement(labels, refit(store, settings))
