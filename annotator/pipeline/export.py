"""From the store to a dataset: people in the order of their images, each with all that led to the label."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.domain import LabelSource
from annotator.export.dataset import Options, write_dataset
from annotator.export.dealing import Grouping
from annotator.export.fingerprints import FingerprintStore
from annotator.export.manifest import Manifest, Recipe
from annotator.export.reading import checked_manifest, image_splits
from annotator.pipeline.export_rows import Choice, people
from annotator.pipeline.history import EXPORTED
from annotator.pipeline.reading import Reader
from annotator.pipeline.settlement import settle_and_refit
from annotator.pipeline.watch import SILENT, Watch
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import (
    EventRow,
    ImageRow,
    LabelRow,
    MetaRow,
    PredictionRow,
)

FINGERPRINTS = "fingerprints.db"
"""In the data folder: what images look like, by their sha256."""

KEPT_SETTINGS = (
    "profile",
    "seed",
    "review_rate",
    "audit_rate",
    "target_error",
    "settle_min_votes",
    "settle_max_votes",
    "settle_age_sd",
    "settle_gender_probability",
    "ensemble_votes",
)
"""Settings that decide what a label is; the manifest names them."""


def export(
    store: Store,
    settings: Settings,
    out: Path,
    *,
    options: Options | None = None,
    choice: Choice | None = None,
    parent: Path | None = None,
    watch: Watch = SILENT,
) -> Manifest:
    """Writes a dataset version to ``out``; the same database gives the same bytes, on any machine.

    Labels are brought up to date first, so that what was pre-labelled or voted since is in it. With a split, images
    that show the same are kept together; what is known of their looks is kept in the project's data folder. ``parent``
    is an earlier dataset whose images stay in the splits that they were in.

    Raises:
        InputError: there is nobody, an image is gone, ``out`` is something else's folder, ``parent`` is no dataset.
        StorageError: no room or no permission.
    """
    options = options or Options(seed=settings.seed)
    options = replace(
        options,
        licences=settings.licences,
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
    )
    options.check()
    choice = choice or Choice()
    before = None if parent is None else checked_manifest(parent)
    settle_and_refit(store, settings)
    with store.read() as session:
        recipe = _recipe(session, settings, choice, None if before is None else before["id"])
        images = session.scalar(select(func.count()).select_from(ImageRow)) or 0
    with ExitStack() as stack:
        grouping = Grouping()
        if options.split is not None:
            known = FingerprintStore(settings.path(settings.data_dir) / FINGERPRINTS)
            stack.callback(known.close)
            watch.begin("images looked at", images)
            earlier = () if parent is None else image_splits(parent)
            grouping = Grouping(known, earlier, watch.step)
        manifest = write_dataset(
            out, people(store, choice), options, recipe=recipe, grouping=grouping, read=Reader(settings).read
        )
    _remember(store, manifest, out, choice)
    return manifest


def _remember(store: Store, manifest: Manifest, out: Path, choice: Choice) -> None:
    """An event for each dataset version and place; writing the same one again is no news."""
    counts = manifest.counts
    data = {"out": str(out.resolve()), "only": choice.source, "people": counts.people, "labels": counts.labels}
    with store.write() as session:
        told = session.scalars(select(EventRow.data).where(EventRow.kind == EXPORTED, EventRow.subject == manifest.id))
        if data not in told.all():
            session.add(EventRow(kind=EXPORTED, subject=manifest.id, data=data))


def _recipe(session: Session, settings: Settings, choice: Choice, parent: str | None) -> Recipe:
    versions = sorted(session.scalars(select(PredictionRow.version).distinct()))  # databases sort text differently
    weights = dict(session.execute(select(MetaRow.key, MetaRow.value)).all())
    settled = select(LabelRow.method).where(LabelRow.source == LabelSource.SETTLED).distinct()
    methods = sorted(session.scalars(settled))
    chosen = {
        "source": choice.source,
        "since": choice.since and choice.since.isoformat(),
        "min_confidence": choice.min_confidence,
    }
    return Recipe(
        predictors={version: weights.get(MetaRow.WEIGHTS + version) for version in versions},
        method=", ".join(methods) or None,
        settings={name: getattr(settings, name) for name in KEPT_SETTINGS} | chosen,
        parent=parent,
    )
