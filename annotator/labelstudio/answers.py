"""One-person vote tasks: what annotators are shown, and what their annotations say. No I/O.

An annotation is read, never believed: Label Studio's API takes any value from anybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from annotator.domain import MAX_AGE, Gender

MARKER = "annotator"
"""Key of a task's ``meta`` that says whom or what it shows. Annotators do not see ``meta``."""

PROBLEMS = ("not_a_person", "box_is_wrong", "several_people")
MAX_WORDS = 60
"""Characters that are kept of a problem which is none of ours."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One annotation of a vote task.

    ``author`` and ``editor`` are user ids: who is said to have answered, and who really wrote it last; ``None`` where
    unknown. ``seconds`` is the time that the annotator took.
    """

    annotation: int
    author: int | None
    editor: int | None
    created: str
    updated: str
    age: float | None
    gender: Gender | None
    problems: tuple[str, ...]
    is_skipped: bool
    seconds: float | None

    @property
    def was_touched(self) -> bool:
        """Whether somebody else than its author wrote it last: an edit by others, or an answer in another's name."""
        return self.editor is not None and self.editor != self.author

    @property
    def fingerprint(self) -> str:
        """What was answered, and who wrote it: a permission is for this and nothing else."""
        said = (self.author, self.editor, self.age, self.gender and self.gender.value, *self.problems, self.is_skipped)
        return f"{self.annotation} " + " ".join(map(str, said))

    @property
    def order(self) -> tuple[float, int]:
        """Sorts answers by the moment of their last change."""
        return moment(self.updated), self.annotation


def vote_task(marker: str, crop: str, context: str) -> dict[str, Any]:
    """A vote task that shows two pictures; the same for everybody, so that a control looks like any other.

    >>> vote_task("p-00/1", "/c.jpg", "/x.jpg")
    {'data': {'crop': '/c.jpg', 'context': '/x.jpg'}, 'meta': {'annotator': 'p-00/1'}}
    """
    return {"data": {"crop": crop, "context": context}, "meta": {MARKER: marker}}


def marker_of(task: Mapping[str, Any]) -> str | None:
    """What we wrote into a task's ``meta``, ``None`` where it is not ours."""
    meta = task.get("meta")
    found = meta.get(MARKER) if isinstance(meta, Mapping) else None
    return found if isinstance(found, str) else None


def read_answer(annotation: Mapping[str, Any]) -> Answer:
    """What an annotation of the vote configuration says; values that cannot be are missing."""
    values = _values(annotation.get("result"))
    return Answer(
        annotation=int(annotation["id"]),
        author=user_id(annotation.get("completed_by")),
        editor=user_id(annotation.get("updated_by")),
        created=str(annotation.get("created_at") or ""),
        updated=str(annotation.get("updated_at") or ""),
        age=possible_age(values.get("age", {}).get("number")),
        gender=possible_gender(values.get("gender", {}).get("choices")),
        problems=_problems(values.get("problem", {}).get("choices")),
        is_skipped=bool(annotation.get("was_cancelled")),
        seconds=_seconds(annotation.get("lead_time")),
    )


def possible_age(value: object) -> float | None:
    """``value`` where it can be an age in years.

    >>> possible_age(31), possible_age(999), possible_age("31"), possible_age(True)
    (31.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= MAX_AGE else None


def possible_gender(choices: object) -> Gender | None:
    """The gender in a list of one choice; ``None`` for "cannot tell", for several and for what is no list."""
    if not isinstance(choices, list) or len(choices) != 1:
        return None
    return {"male": Gender.MALE, "female": Gender.FEMALE}.get(str(choices[0]))


def user_id(value: object) -> int | None:
    """A user's id, given as a number or as an object with one."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def moment(text: str) -> float:
    """Seconds since 1970 of a moment as Label Studio writes it; 0 where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _values(result: object) -> dict[str, dict[str, Any]]:
    """The value of each control, by its name; of two answers to one question the last."""
    found: dict[str, dict[str, Any]] = {}
    for item in result if isinstance(result, Sequence) and not isinstance(result, str) else ():
        if isinstance(item, Mapping) and isinstance(item.get("value"), Mapping):
            found[str(item.get("from_name"))] = dict(item["value"])
    return found


def _problems(choices: object) -> tuple[str, ...]:
    """Our own ones first, then those that only a changed configuration offers: what they mean is for people to say."""
    given = {str(name)[:MAX_WORDS] for name in choices} if isinstance(choices, list) else set()
    return (*(name for name in PROBLEMS if name in given), *sorted(given.difference(PROBLEMS)))


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)
