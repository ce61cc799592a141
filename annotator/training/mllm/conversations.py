"""The conversations of an exported llava dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from annotator.errors import InputError
from annotator.export.reading import checked_manifest
from annotator.predictors.base import Pixels
from annotator.predictors.llava.parsing import parse_answer
from annotator.predictors.llava.preprocess import normalise, preprocess
from annotator.predictors.llava.prompt import IMAGE_MARK
from annotator.training.mllm.script import Script, padded
from annotator.training.stored import Rows, in_threads, keep_rows, stored_name

KNOWN_ROWS = 4096
"""Rows of ids that are kept for the next batches."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One picture, what is asked about it, and the right answer with what it says."""

    image: Path
    question: str
    answer: str
    age: float
    female: bool


@dataclass(frozen=True, slots=True)
class Conversations:
    """Of each split, and the dataset's id."""

    id: str
    splits: dict[str, list[Conversation]]


def read_conversations(folder: Path) -> Conversations:
    """Read a dataset that `annotator export --format llava --split ...` wrote.

    Raises:
        InputError: it is none, has no pictures or no split, or an entry is not one of ours.
    """
    manifest = checked_manifest(folder)
    if manifest.get("format") != "llava":
        raise InputError(f"{folder} is no llava dataset; export one with --format llava --split train=.8,val=.2")
    if manifest["images"] == "none":
        raise InputError(f"{folder} has no pictures; export it again with --images crop")
    if not manifest["split"]:
        raise InputError(f"{folder} has no split; export it again with --split train=.8,val=.1,test=.1")
    return Conversations(manifest["id"], {name: _read(folder, name) for name in manifest["split"]})


def _read(folder: Path, split: str) -> list[Conversation]:
    entries: list[dict[str, Any]] = []
    for path in sorted([*folder.glob(f"{split}.json"), *folder.glob(f"{split}-[0-9]*-of-[0-9]*.json")]):
        entries += json.loads(path.read_text("utf-8"))
    return [_conversation(folder, entry) for entry in entries]


def _conversation(folder: Path, entry: dict[str, Any]) -> Conversation:
    asked, said = (turn["value"] for turn in entry["conversations"])
    parsed = parse_answer(said)
    if parsed.age is None or parsed.gender is None:
        raise InputError(f"{folder}, {entry['id']}: the answer '{said}' has no age or no gender")
    question = asked.removeprefix(f"{IMAGE_MARK}\n")
    return Conversation(folder / "images" / entry["image"], question, said, parsed.age, parsed.gender == "female")


class Pictures(torch.utils.data.Dataset[dict[str, Any]]):
    """Conversations with their picture as the vision tower sees it, ``(side, side, 3)`` uint8.

    ``pixels`` has all of them, ``(n, side, side, 3)``; without it a picture is read when it is asked for.
    """

    def __init__(self, conversations: Sequence[Conversation], side: int, pixels: Rows | None = None) -> None:
        self.conversations, self._side, self._pixels = conversations, side, pixels

    def __len__(self) -> int:
        return len(self.conversations)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the file of pictures."""
        return 0 if self._pixels is None else self._pixels.nbytes

    def __getitem__(self, number: int) -> dict[str, Any]:
        one = self.conversations[number]
        return {"pixels": self.picture(number), "question": one.question, "answer": one.answer}

    def picture(self, number: int) -> Pixels:
        """The picture of a conversation.

        Raises:
            InputError: it is gone or cannot be read.
        """
        if self._pixels is not None:
            return self._pixels[number]
        path = self.conversations[number].image
        try:
            with Image.open(path) as image:
                return preprocess(np.asarray(image.convert("RGB")), self._side)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error}") from error


def store_pictures(
    conversations: Sequence[Conversation],
    side: int,
    folder: Path,
    name: str,
    dataset: str,
    *,
    max_bytes: float,
    say: Callable[[str], None] = lambda _: None,
) -> Pictures:
    """Pictures in a file of ``folder`` where they fit into ``max_bytes`` and on the disk, made once for each dataset.

    Elsewhere they are read when they are asked for.
    """
    unmade = Pictures(conversations, side)
    shape = (len(conversations), side, side, 3)
    place = folder / f"{stored_name(name, dataset, name, side, len(conversations))}.npy"
    rows = in_threads(unmade.picture, range(len(conversations)))
    return Pictures(conversations, side, keep_rows(place, shape, rows, max_bytes=max_bytes, say=say))


class Collator:
    """Batches for the model: ids padded on the right, pictures normalised."""

    def __init__(self, script: Script, pad: int, dtype: torch.dtype) -> None:
        self._script, self._pad, self._dtype = script, pad, dtype
        self._known: dict[tuple[str, str], tuple[list[int], list[int]]] = {}

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """One batch."""
        ids = [self._ids(row["question"], row["answer"]) for row in rows]
        pixels = torch.from_numpy(np.stack([row["pixels"] for row in rows]))
        return {**padded(ids, self._pad), "pixel_values": normalise(pixels, self._dtype)}

    def _ids(self, question: str, answer: str) -> tuple[list[int], list[int]]:
        """One question has a few hundred answers, so most rows were tokenised before."""
        said = question, answer
        if said not in self._known:
            if len(self._known) >= KNOWN_ROWS:
                self._known.clear()
            self._known[said] = self._script.row(question, answer)
        return self._known[said]
