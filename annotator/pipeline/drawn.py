"""A person whom the detector missed and an annotator draws: looked at now, stored once the annotation is pulled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from sqlalchemy import select

from annotator.detection.pairing import pair
from annotator.domain import Box, Detection, Evidence, Person
from annotator.ensemble.fusion import fuse
from annotator.errors import ImageError
from annotator.images.decode import decode
from annotator.images.quality import overlap, sharpness
from annotator.pipeline.predict import predictions
from annotator.pipeline.prelabel import Prelabelling
from annotator.pipeline.single import PersonResult
from annotator.pipeline.triage import triage_few
from annotator.predictors.base import PersonView, Pixels
from annotator.store import records
from annotator.store.tables import ImageRow, PersonRow


def judge_drawn(work: Prelabelling, data: bytes, box: Box) -> PersonResult:
    """What the models say of the person in ``box`` (pixels of the upright image), with the face that is found in it.

    The face is looked for in the box alone, where it is larger than in the whole picture. Every predictor is asked,
    whatever a cascade would do. The id is made of the box, so that the same box is the same region.

    Raises:
        ImageError: the image cannot be decoded, or the box holds no pixel of it.
    """
    pixels = decode(data, max_bytes=work.settings.max_image_bytes, max_pixels=work.settings.max_image_pixels).pixels
    height, width = pixels.shape[:2]
    body = box.clipped(width, height)
    corner = (int(body.x0), int(body.y0))
    part = np.ascontiguousarray(pixels[corner[1] : int(np.ceil(body.y1)), corner[0] : int(np.ceil(body.x1))])
    if not part.size:
        raise ImageError("empty_box", "the drawn box holds nothing of the picture")
    sha256 = hashlib.sha256(data).hexdigest()
    face, score = _face(work, part, body, corner)
    person = Person(_region(sha256, body), sha256, 0, body, face, face_score=score)
    others = _others(work, sha256)
    bodies = tuple(other.body for other in others if other.body)
    faces = tuple(other.face for other in others if other.face)
    view = PersonView(person.person_id, pixels, body, face, (*bodies, *faces), faces)
    said = tuple(one for model in work.models.predictors for (one,) in predictions(model.get(), [view], work.pool))
    evidence = Evidence(
        person_id=person.person_id,
        group=sha256,
        predictions=said,
        face_height=face.height if face else None,
        body_height=body.height,
        overlap=overlap(body, list(bodies)),
        sharpness=sharpness(pixels, body),
    )
    with work.store.read() as session:
        verdict = triage_few(session, work.settings, fuse([evidence], work.fit))[0]
    return PersonResult(person, said, verdict)


def _face(work: Prelabelling, part: Pixels, body: Box, corner: tuple[int, int]) -> tuple[Box | None, float | None]:
    """The face that goes with the whole of ``part``, in the picture's pixels, and its score."""
    if work.models.detector is None:
        return None, None
    found = [one for one in work.models.detector.get().detect([part])[0] if one.kind == "face"]
    height, width = part.shape[:2]
    whole = Detection(Box(0, 0, body.width, body.height), "person", 1.0)
    for drawn, face, _, score in pair([whole, *found], width, height):
        if drawn is not None and face is not None:
            dx, dy = corner
            return Box(face.x0 + dx, face.y0 + dy, face.x1 + dx, face.y1 + dy), score
    return None, None


def _others(work: Prelabelling, sha256: str) -> Sequence[Person]:
    query = select(PersonRow).join(ImageRow, ImageRow.id == PersonRow.image_key)
    with work.store.read() as session:
        rows = session.scalars(query.where(ImageRow.sha256 == sha256, PersonRow.active).order_by(PersonRow.index)).all()
    return [records.to_person(row, sha256) for row in rows]


def _region(sha256: str, box: Box) -> str:
    corners = "-".join(str(round(corner)) for corner in box.as_tuple())
    return f"drawn-{sha256[:8]}-{corners}"
