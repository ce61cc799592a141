"""Conversations that fine-tune LLaVA and ShareGPT4V: the paper's question about a body crop, and ``[female; 40]``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from annotator.domain import Gender
from annotator.export.shards import Shards
from annotator.predictors.llava.prompt import IMAGE_MARK, QUESTION, answer_text

ALL_NAME = "all"
_SOURCES = ("split", "sampling_weight", "person_id", "whole_age", "gender", "crop")
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

    def add(self, lines: Any) -> None:
        """People; those without a label, an age or a gender are not in this format."""
        for split, weight, person_id, age, gender, crop in zip(
            *(lines[name].to_pylist() for name in _SOURCES), strict=True
        ):
            if crop is None or age < 0 or gender is None:
                continue
            entry = conversation(person_id, crop, Gender(gender), age)
            part = split or ALL_NAME
            for _ in range(round(weight) if part == self._first else 1):
                self._shards[part].next().add(entry)


def conversation(person_id: str, picture: str, gender: Gender, age: int) -> dict[str, Any]:
    """The entry of one person, whose picture is called ``picture``."""
    return {
        "id": person_id,
        "image": picture,
        "conversations": [
            {"from": "human", "value": f"{IMAGE_MARK}\n{QUESTION}"},
            {"from": "gpt", "value": answer_text(gender, age).strip()},
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
