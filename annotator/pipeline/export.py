"""From the store to a dataset: people in the order of their images, each with all that led to the label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import LabelSource
from annotator.export.lagenda import write_dataset
from annotator.export.manifest import Manifest, Recipe
from annotator.export.pictures import ImageMode
from annotator.export.rows import ExportImage, ExportRow
from annotator.pipeline.history import EXPORTED
from annotator.pipeline.prelabel import WEIGHTS
from annotator.pipeline.reading import Reader
from annotator.pipeline.settlement import settle_and_refit
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import (
    AnnotatorRow,
    EventRow,
    ImageRow,
    LabelRow,
    MetaRow,
    PersonRow,
    PredictionRow,
    PreLabelRow,
    VoteRow,
)

Only = Literal["settled", "all"]
CHUNK = 1000
"""People read at a time."""

HUMAN_SOURCES = (LabelSource.SETTLED, LabelSource.GIVEN)
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
    only: Only = "all",
    images: ImageMode = "link",
    split: Mapping[str, float] | None = None,
    seed: int | None = None,
) -> Manifest:
    """Writes a dataset version in the LAGENDA format to ``out``; the same database gives the same bytes.

    Labels are brought up to date first, so that what was pre-labelled or voted since is in it.

    With ``only="settled"`` labels of accepted pre-labels are left out; those people stay as -1 / -1.

    Raises:
        InputError: there is nobody, an image is gone, ``out`` is something else's folder.
        StorageError: no room or no permission.
    """
    settle_and_refit(store, settings)
    with store.read() as session:
        recipe = _recipe(session, settings)
    manifest = write_dataset(
        out,
        _rows(store, only),
        recipe=recipe,
        images=images,
        split=split,
        seed=settings.seed if seed is None else seed,
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
        read=Reader(settings).read,
    )
    _remember(store, manifest, out, only)
    return manifest


def _remember(store: Store, manifest: Manifest, out: Path, only: Only) -> None:
    """An event for each dataset version and place; writing the same one again is no news."""
    data = {"out": str(out.resolve()), "only": only, "people": manifest.counts.people, "labels": manifest.counts.labels}
    with store.write() as session:
        told = session.scalars(select(EventRow.data).where(EventRow.kind == EXPORTED, EventRow.subject == manifest.id))
        if data not in told.all():
            session.add(EventRow(kind=EXPORTED, subject=manifest.id, data=data))


def _recipe(session: Session, settings: Settings) -> Recipe:
    versions = session.scalars(select(PredictionRow.version).distinct().order_by(PredictionRow.version)).all()
    weights = dict(session.execute(select(MetaRow.key, MetaRow.value)).all())
    settled = select(LabelRow.method).where(LabelRow.source == LabelSource.SETTLED).distinct()
    methods = session.scalars(settled.order_by(LabelRow.method)).all()
    return Recipe(
        predictors={version: weights.get(WEIGHTS + version) for version in versions},
        method=", ".join(methods) or None,
        settings={name: getattr(settings, name) for name in KEPT_SETTINGS},
    )


def _rows(store: Store, only: Only) -> Iterator[ExportRow]:
    with store.read() as session:
        weights = dict(session.execute(select(AnnotatorRow.annotator_id, AnnotatorRow.age_weight)).all())
    last = 0
    while True:
        with store.read() as session:
            found = _chunk(session, last)
            yield from _with_provenance(session, found, weights, only)
        if len(found) < CHUNK:
            return
        last = found[-1][0].id


Joined = tuple[PersonRow, ImageRow, LabelRow | None, PreLabelRow | None]


def _chunk(session: Session, after: int) -> list[Joined]:
    query = (
        select(PersonRow, ImageRow, LabelRow, PreLabelRow)
        .join(ImageRow, ImageRow.id == PersonRow.image_key)
        .outerjoin(LabelRow, LabelRow.person_key == PersonRow.id)
        .outerjoin(PreLabelRow, (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current)
        .where(PersonRow.id > after, PersonRow.active)
        .order_by(PersonRow.id)
        .limit(CHUNK)
    )
    return [(person, image, label, pre_label) for person, image, label, pre_label in session.execute(query)]


def _with_provenance(
    session: Session, found: Sequence[Joined], weights: Mapping[str, float | None], only: Only
) -> Iterator[ExportRow]:
    keys = [person.id for person, *_ in found]
    votes = _votes(session, keys, weights)
    said = _predictions(session, keys)
    for person, image, label, pre_label in found:
        wanted = label is not None and (only == "all" or label.source in HUMAN_SOURCES)
        story = {"votes": votes.get(person.id, []), "predictions": said.get(person.id, []), **_verdict(pre_label)}
        yield ExportRow(
            image=ExportImage(image.sha256, image.name, image.uri, image.format, image.width, image.height),
            person_id=person.person_id,
            body=records.to_box(person, "body"),
            face=records.to_box(person, "face"),
            label=records.to_label(label, person.person_id) if label and wanted else None,
            provenance=story if wanted else {},
        )


def _votes(
    session: Session, keys: Sequence[int], weights: Mapping[str, float | None]
) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    query = select(VoteRow).where(VoteRow.person_key.in_(keys), VoteRow.counts)
    for row in session.scalars(query.order_by(VoteRow.source, VoteRow.annotation_id)):
        found.setdefault(row.person_key, []).append(
            {
                "source": row.source,
                "id": row.annotation_id,
                "annotator": row.annotator_id,
                "age": row.age,
                "gender": row.gender.value if row.gender else None,
                "weight": weights.get(row.annotator_id),
            }
        )
    return found


def _predictions(session: Session, keys: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    query = select(PredictionRow).where(PredictionRow.person_key.in_(keys))
    for row in session.scalars(query.order_by(PredictionRow.predictor, PredictionRow.version)):
        found.setdefault(row.person_key, []).append(
            {
                "version": row.version,
                "status": row.status.value,
                "age": row.age,
                "age_sd": row.age_sd,
                "female_probability": row.female_probability,
            }
        )
    return found


def _verdict(row: PreLabelRow | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {
        "pre_label": row.version,
        "fit": row.fit,
        "fused_age": row.age,
        "fused_female_probability": row.female_probability,
        "review": row.review,
        "reasons": [reason.value for reason in row.reasons or ()],
    }
