"""Conversations that fine-tune LLaVA and ShareGPT4V: the paper's question about a body crop, and ``[female; 40]``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from annotator.domain import Gender
from annotator.export.shards import Shards
from annotator.export.spool import Line
from annotator.predictors.llava.prompt import IMAGE_MARK, QUESTION, answer_text

ALL_NAME = "all"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": ")).encode


class LlavaTables:
    """``SPLIT.json`` (``all.json`` without splits): one conversation for everybody with an age and a gender.

    The file is what LLaVA's and ShareGPT4V's own training code reads with ``images/`` as the image folder. A sampling
    weight is a number of repetitions there, and only in the first split, which is the one that is trained on.
    """

    def __init__(self, folder: Path, splits: Iterable[str], rows: int) -> None:
        names = tuple(splits) or (ALL_NAME,)
        self._first = names[0]
        self._shards = {name: Shards(folder, name, "json", rows, _JsonList) for name in names}

    def __enter__(self) -> LlavaTables:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            for shards in self._shards.values():
                shards.close()

    def add(self, line: Line, weight: float) -> None:
        """One person; those without a label, an age or a gender are not in this format."""
        if line.label is None or line.crop is None or line.age < 0 or line.gender == "-1":
            return
        split = line.split or ALL_NAME
        entry = conversation(line)
        for _ in range(round(weight) if split == self._first else 1):
            self._shards[split].next().add(entry)


def conversation(line: Line) -> dict[str, Any]:
    """The entry of one person."""
    gender = Gender.FEMALE if line.gender == Gender.FEMALE.letter else Gender.MALE
    return {
        "id": line.person_id,
        "image": line.crop,
        "conversations": [
            {"from": "human", "value": f"{IMAGE_MARK}\n{QUESTION}"},
            {"from": "gpt", "value": answer_text(gender, line.age).strip()},
        ],
    }


class _JsonList:
    """A JSON list, one element a line, written as it comes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._separator = "[\n"

    def add(self, entry: dict[str, Any]) -> None:
        self._file.write(self._separator + _encode(entry))
        self._separator = ",\n"

    def close(self) -> None:
        self._file.write("[]\n" if self._separator == "[\n" else "\n]\n")
        self._file.close()
