"""Batches that fail are halved until the culprit is alone, or until they fit into memory."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Halving(Generic[Item, Answer]):
    """A model's call on batches of at most ``size``; a lack of memory makes ``size`` smaller for good."""

    def __init__(self, call: Callable[[Sequence[Item]], Sequence[Answer]], size: int) -> None:
        self._call = call
        self.size = size

    def run(self, items: Sequence[Item]) -> list[Answer | Exception]:
        """An answer for each item, in order, or what the model raised for that item alone."""
        results: list[Answer | Exception] = []
        while len(results) < len(items):
            results += self._part(items[len(results) : len(results) + self.size])
        return results

    def _part(self, items: Sequence[Item]) -> list[Answer | Exception]:
        answers = self._try(items)
        if not isinstance(answers, Exception):
            return answers
        if is_out_of_memory(answers):
            self.size = max(1, min(self.size, len(items) // 2))
            free_memory()
        if len(items) == 1:
            return [answers]
        half = len(items) // 2
        return self._part(items[:half]) + self._part(items[half:])

    def _try(self, items: Sequence[Item]) -> list[Answer | Exception] | Exception:
        """Answers, or the error without its traceback, whose frames would keep the batch's tensors in memory."""
        try:
            answers = list(self._call(items))
            if len(answers) != len(items):
                raise RuntimeError(f"{len(answers)} answers for {len(items)} items")
        except Exception as error:  # noqa: BLE001 - whatever a model raises is this batch's trouble alone
            return _bare(error)
        return [*answers]


def _bare(error: Exception) -> Exception:
    """``error`` and what led to it, without frames."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is what was lacking, of the machine or of a GPU."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error)


def free_memory() -> None:
    """Gives back what nobody uses; without it a GPU's memory stays in pieces of the size that was too large."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
