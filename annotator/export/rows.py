"""What a dataset is made of: people with boxes, some of them with a label, as Arrow tables."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

CORNERS = tuple(f"{kind}_{corner}" for kind in ("face", "body") for corner in ("x0", "y0", "x1", "y1"))
"""Columns of both boxes, in the order in which people on one image are sorted."""

LABEL_COLUMNS = {
    "age": pa.float64(),
    "age_sd": pa.float64(),
    "age_low": pa.float64(),
    "age_high": pa.float64(),
    "gender": pa.string(),
    "gender_probability": pa.float64(),
    "source": pa.string(),
    "method": pa.string(),
    "vote_count": pa.int64(),
    "votes": pa.string(),
    "predictions": pa.string(),
    "details": pa.string(),
}
"""What is kept of a label. Ages are exact ones in years; the last three are JSON."""

PEOPLE = pa.schema(
    [
        ("sha256", pa.string()),
        ("name", pa.string()),
        ("uri", pa.string()),
        ("format", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("group", pa.string()),
        ("person_id", pa.string()),
        *((name, pa.float64()) for name in CORNERS),
        *LABEL_COLUMNS.items(),
    ]
)
"""One row for each person: the image, then the person.

``uri`` is what :func:`~annotator.images.places.read_uri` takes; ``width`` and ``height`` are those of the upright
image. Images of one ``group`` (near-duplicates) always go into the same split; without one (NULL) an image stands
alone. Boxes are pixels of the image, NULL where there is none. Without a label (``source`` is NULL) a person is written
as -1 / -1, so that readers can blank it in others' crops.
"""


class ExportImage(NamedTuple):
    """One image of the dataset, see :data:`PEOPLE`."""

    sha256: str
    name: str
    uri: str
    format: str
    width: int
    height: int
