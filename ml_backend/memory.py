"""What the backend remembers between requests, so that a second call neither fetches nor predicts."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from annotator.labelstudio.payload import ShownImage

FOREVER_PREFIX = "/data/upload/"
"""Label Studio never writes an upload twice under the same name; every other address may change its content."""


@dataclass(frozen=True, slots=True)
class _Entry:
    image: ShownImage
    version: str
    good_until: float


class Memory:
    """The latest ``size`` answers by address; an address whose content may change is trusted for ``seconds``."""

    def __init__(self, size: int = 4096, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._seconds, self._clock = size, seconds, clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, address: str, version: str) -> ShownImage | None:
        """The answer of this version, if it is remembered and still good."""
        with self._lock:
            entry = self._entries.get(address)
            if entry is None or entry.version != version or entry.good_until < self._clock():
                return None
            self._entries.move_to_end(address)
            return entry.image

    def put(self, address: str, version: str, image: ShownImage) -> None:
        """Remember an answer; the one that was not asked for longest makes room."""
        forever = address.startswith(FOREVER_PREFIX)
        good_until = float("inf") if forever else self._clock() + self._seconds
        with self._lock:
            self._entries[address] = _Entry(image, version, good_until)
            self._entries.move_to_end(address)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
