"""What the backend remembers between requests, so that a second call neither fetches nor predicts."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from annotator.labelstudio.controls import Controls
from annotator.labelstudio.payload import ShownImage, prediction

FOREVER_PREFIX = "/data/upload/"
"""Label Studio never writes an upload twice under the same name; every other address may change its content."""


class Remembered:
    """One image's people, and what was said of them in Label Studio's words, by labeling configuration."""

    def __init__(self, image: ShownImage, version: str, good_until: float) -> None:
        self.image, self.version, self.good_until = image, version, good_until
        self._entries: dict[Controls, bytes] = {}

    def entry(self, controls: Controls) -> bytes:
        """The task's entry in ``results``, as JSON; made once for each configuration."""
        known = self._entries.get(controls)
        if known is None:
            known = encode(prediction(self.image, controls, self.version))
            self._entries = {controls: known}  # a backend serves one configuration, hardly ever a second one
        return known


class Memory:
    """The latest ``size`` answers by address; an address whose content may change is trusted for ``seconds``."""

    def __init__(self, size: int = 4096, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._seconds, self._clock = size, seconds, clock
        self._entries: OrderedDict[str, Remembered] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, address: str, version: str) -> Remembered | None:
        """The answer of this version, if it is remembered and still good."""
        with self._lock:
            entry = self._entries.get(address)
            if entry is None or entry.version != version or entry.good_until < self._clock():
                return None
            self._entries.move_to_end(address)
            return entry

    def put(self, address: str, version: str, image: ShownImage) -> None:
        """Remember an answer; the one that was not asked for longest makes room."""
        forever = address.startswith(FOREVER_PREFIX)
        good_until = float("inf") if forever else self._clock() + self._seconds
        with self._lock:
            self._entries[address] = Remembered(image, version, good_until)
            self._entries.move_to_end(address)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


def encode(value: object) -> bytes:
    """JSON without blanks; refuses numbers that JSON does not have."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
