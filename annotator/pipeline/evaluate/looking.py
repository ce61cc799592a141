"""One image of a benchmark on a worker thread: its bytes, what is known already, and crops of whoever must be asked."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from annotator.domain import Box, Prediction
from annotator.errors import ImageError
from annotator.evaluation.metrics import Ints
from annotator.images.decode import decode
from annotator.images.places import file_uri, read_uri
from annotator.pipeline.evaluate.cache import ImageFacts, PredictionCache, view_key
from annotator.pipeline.evaluate.variants import Variant
from annotator.pipeline.evaluate.views import others, person_view
from annotator.pipeline.predict import failed
from annotator.predictors.base import PersonView, Pixels, Predictor
from annotator.protocols.people import People
from annotator.settings import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """One person ready for one variant: ``prepared`` is what its predictor made of the crop."""

    row: int
    variant: int
    view: bytes
    prepared: Any


@dataclass(slots=True)
class Look:
    """What came of one image: ``fresh`` facts where it was read, heights (face, body) of each row with a truth."""

    fresh: ImageFacts | None = None
    heights: dict[int, tuple[float | None, float | None]] = field(default_factory=dict)
    known: list[tuple[int, int, Prediction]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    error: ImageError | None = None


class Looker:
    """Looks at images; safe on several threads. Variants of one version are asked once."""

    def __init__(self, people: People, variants: Sequence[Variant], cache: PredictionCache, settings: Settings) -> None:
        self._people, self._cache, self._settings = people, cache, settings
        self._known = people.known
        self._places: dict[str, list[int]] = {}
        for place, variant in enumerate(variants):
            self._places.setdefault(variant.model.version, []).append(place)
        self._variants = variants
        self._loading = threading.Lock()
        self._loaded: set[str] = set()
        self.loading_seconds = 0.0

    def look(self, image: int, rows: Ints) -> Look:
        """The image and its people; an image that cannot be read is an ``error``, never an exception."""
        look = Look()
        try:
            facts, pixels = self._facts(look, image)
            self._rows(look, image, rows.tolist(), facts, pixels)
        except ImageError as error:
            look.error = error
        return look

    def _facts(self, look: Look, image: int) -> tuple[ImageFacts, Pixels | None]:
        """Facts of the file, and its pixels where they had to be decoded for that."""
        path = self._people.root / self._people.images[image]
        try:
            stat = path.stat()
        except OSError as error:
            raise ImageError("missing_file", f"cannot read {path}: {error.strerror}") from error
        place = file_uri(path)
        known = self._cache.image(place, stat.st_size, stat.st_mtime_ns)
        if known is not None:
            return known, None
        data, pixels = self._read(image)
        height, width = pixels.shape[:2]
        sha256 = hashlib.sha256(data).digest()
        look.fresh = ImageFacts(place, stat.st_size, stat.st_mtime_ns, sha256, width, height)
        return look.fresh, pixels

    def _read(self, image: int) -> tuple[bytes, Pixels]:
        limits = self._settings
        data = read_uri(file_uri(self._people.root / self._people.images[image]), limits.max_image_bytes)
        return data, decode(data, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels).pixels

    def _rows(self, look: Look, image: int, rows: Sequence[int], facts: ImageFacts, pixels: Pixels | None) -> None:
        boxes = {row: self._people.boxes(row, facts.width, facts.height) for row in rows}
        for row in rows:
            if not self._known[row]:
                continue
            face, body = boxes[row]
            look.heights[row] = (_height(face), _height(body))
            view = view_key(facts.sha256, face, body, *others(boxes, row))
            found = self._cache.find(view)
            missing = [version for version in self._places if version not in found]
            for version in self._places.keys() & found.keys():
                look.known += [(row, place, found[version]) for place in self._places[version]]
            if missing:
                if pixels is None:
                    pixels = self._read(image)[1]
                self._prepare(look, view, row, person_view(self._people.person_id(row), pixels, boxes, row), missing)

    def _prepare(self, look: Look, view: bytes, row: int, person: PersonView, versions: Sequence[str]) -> None:
        for version in versions:
            place = self._places[version][0]
            model = self._model(place)
            try:
                look.asked.append(Asked(row, place, view, model.prepare(person)))
            except Exception as error:  # noqa: BLE001 - whatever a predictor raises is this person's trouble alone
                answer = failed(model, error)
                look.known += [(row, same, answer) for same in self._places[version]]

    def _model(self, place: int) -> Predictor:
        """The variant's model; the time that loading takes is counted, while whoever else wants one waits."""
        lazy = self._variants[place].model
        if lazy.version not in self._loaded:
            with self._loading:
                started = time.perf_counter()
                lazy.get()
                self._loaded.add(lazy.version)
                self.loading_seconds += time.perf_counter() - started
        return lazy.get()


def _height(box: Box | None) -> float | None:
    return None if box is None else box.height
