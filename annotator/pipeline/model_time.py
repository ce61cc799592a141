"""How long predictors work on a person, added up over all runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.store.tables import MetaRow
from annotator.store.upsert import upsert

T = TypeVar("T")

SECONDS = "seconds:"
"""Prefix of the ``meta`` rows that hold a predictor version's ``[people, seconds]``."""


class Stopwatch:
    """Adds up how long somebody else's iterator takes, and not what is done with its values."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def over(self, values: Iterable[T]) -> Iterator[T]:
        """The same values."""
        start = time.perf_counter()
        for value in values:
            self.seconds += time.perf_counter() - start
            yield value
            start = time.perf_counter()
        self.seconds += time.perf_counter() - start


def add_time(session: Session, version: str, people: int, seconds: float) -> None:
    """So many people more took so many seconds more, from their pictures to their predictions."""
    row = session.scalar(select(MetaRow.value).where(MetaRow.key == SECONDS + version).with_for_update())
    before = json.loads(row) if row else [0, 0.0]
    value = json.dumps([before[0] + people, round(before[1] + seconds, 3)])
    upsert(session, MetaRow, [{"key": SECONDS + version, "value": value}], keys=("key",))


def seconds_per_person(session: Session) -> dict[str, float]:
    """By predictor version, for those that worked on anybody."""
    rows = session.execute(select(MetaRow.key, MetaRow.value).where(MetaRow.key.startswith(SECONDS))).all()
    known = {key.removeprefix(SECONDS): json.loads(value) for key, value in rows}
    return {version: seconds / people for version, (people, seconds) in known.items() if people}
