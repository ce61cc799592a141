"""All answers ``[male|female; 0..130]`` as one tree of tokens, and what the scores of its paths say.

Every answer is a path from the end of the prompt. Nodes are fed to the model together, behind the prompt; a path's last
token is never fed, only its probability is read. Rows of the model's output: row 0 is the last position of the prompt,
row ``n + 1`` is node ``n``. For the tokens of Llama the tree has 271 nodes, the shortened one 37. Where a tokenizer
joins the end of the prompt with the answer the tree takes the prompt's last tokens over, so that paths are made of the
tokens that the model was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from annotator.domain import MAX_AGE, Gender
from annotator.predictors.llava.prompt import Tokenizer, answer_text, fork_ids

ANSWERS = tuple((gender, age) for gender in (Gender.MALE, Gender.FEMALE) for age in range(MAX_AGE + 1))
"""The 262 answers; ages of men first."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTree:
    """A token tree of ``n`` nodes for ``a`` answers with paths of at most ``l`` tokens.

    Attributes:
        tokens: ``(n,)`` token to feed at each node.
        depth: ``(n,)`` its distance from the prompt, 0 for the first token.
        ancestors: ``(n, n)`` bool, ``[i, j]`` where ``j`` is ``i`` or above it.
        rows: ``(a, l)`` output row where each token of each path is read.
        columns: ``(a, l)`` the token that is read there.
        valid: ``(a, l)`` bool, false beyond a path's end.
        children: for each row its tokens, with the row that follows or ``None`` at the end of a path.
        answers: ``a`` pairs of gender and age.
        closing: for each answer the token that must still follow its path, ``None`` where the path is complete.
        cut: how many of the prompt's last tokens are part of the paths and no longer of the prompt, usually 0.
    """

    tokens: torch.Tensor
    depth: torch.Tensor
    ancestors: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    valid: torch.Tensor
    children: tuple[dict[int, int | None], ...]
    answers: tuple[tuple[Gender, int], ...]
    closing: tuple[int | None, ...]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.tokens)

    def to(self, device: torch.device | str) -> AnswerTree:
        """The same tree with its tensors on ``device``."""
        tensors = ("tokens", "depth", "ancestors", "rows", "columns", "valid")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})


def answer_tree(tokenizer: Tokenizer, template: str, question: str, *, full: bool = False) -> AnswerTree:
    """The tree of all 262 answers in the pieces of ``tokenizer``.

    By default an age of two or three digits ends at its last digit wherever only ``]`` can follow in the tree: the
    last digit is then read, not fed, and 37 nodes instead of 271 do for Llama's pieces. Its score is the probability
    that the answer *begins* so (``[male; 25-30]`` counts for 25). The ``full`` tree demands the ``]`` of every answer.
    """
    texts = [answer_text(gender, age) for gender, age in ANSWERS]
    cut, paths = fork_ids(tokenizer, template, question, texts)
    kept = paths if full else _shortened(paths, [age for _, age in ANSWERS])
    closing = [None if len(short) == len(path) else path[-1] for short, path in zip(kept, paths, strict=True)]
    return replace(build_tree(kept, ANSWERS, closing), cut=cut)


def _shortened(paths: Sequence[Sequence[int]], ages: Sequence[int]) -> list[list[int]]:
    """Paths without their last token where an age has several digits and nothing else follows its stem."""
    followers: dict[tuple[int, ...], set[int]] = {}
    for path in paths:
        for end in range(len(path)):
            followers.setdefault(tuple(path[:end]), set()).add(path[end])
    return [
        list(path[:-1]) if age >= 10 and len(followers[tuple(path[:-1])]) == 1 else list(path)
        for path, age in zip(paths, ages, strict=True)
    ]


def build_tree(
    paths: Sequence[Sequence[int]],
    answers: Sequence[tuple[Gender, int]],
    closing: Sequence[int | None] | None = None,
) -> AnswerTree:
    """The tree of ``paths``, one for each answer; no path may begin with another one.

    ``closing`` names the tokens that were cut off the ends of paths, by default none.

    Raises:
        ValueError: one path is the beginning of another.
    """
    children: list[dict[int, int | None]] = [{}]
    tokens: list[int] = []
    parents: list[int] = []
    steps: list[list[tuple[int, int]]] = []
    for path in paths:
        row, read = 0, []
        for token in path[:-1]:
            read.append((row, token))
            if token not in children[row]:
                tokens.append(token)
                parents.append(row)
                children.append({})
                children[row][token] = len(tokens)
            following = children[row][token]
            if following is None:
                raise ValueError("one answer is the beginning of another")
            row = following
        if path[-1] in children[row]:
            raise ValueError("one answer is the beginning of another")
        children[row][path[-1]] = None
        steps.append([*read, (row, path[-1])])
    depth, ancestors = _lineage(parents)
    rows, columns, valid = _padded(steps)
    closing = closing if closing is not None else [None] * len(paths)
    return AnswerTree(
        torch.tensor(tokens), depth, ancestors, rows, columns, valid, tuple(children), tuple(answers), tuple(closing)
    )


def _lineage(parents: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth and ancestors of each node, from the output row that each follows; parents come before their children."""
    ancestors = torch.eye(len(parents), dtype=torch.bool)
    depth = torch.zeros(len(parents), dtype=torch.long)
    for node, row in enumerate(parents):
        if row:
            ancestors[node] |= ancestors[row - 1]
            depth[node] = depth[row - 1] + 1
    return depth, ancestors


def _padded(steps: Sequence[list[tuple[int, int]]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows and columns of paths of unequal length, and which of them are real."""
    longest = max(map(len, steps))
    both = torch.tensor([path + [(0, 0)] * (longest - len(path)) for path in steps])
    valid = torch.tensor([[place < len(path) for place in range(longest)] for path in steps])
    return both[..., 0], both[..., 1], valid


@dataclass(frozen=True, slots=True)
class AgeGender:
    """What the scores of all answers say of one person.

    ``format_probability`` is the probability that the model keeps to the format; everything else is conditional on
    that. ``ages`` is ``(131,)``, P(age); ``median`` is the smallest age with at least half of the probability at or
    below it.
    """

    format_probability: float
    female_probability: float
    mean: float
    median: float
    sd: float
    ages: NDArray[np.float64]


def summarise(log_probabilities: NDArray[np.float64], answers: Sequence[tuple[Gender, int]]) -> AgeGender:
    """The distribution behind ``(a,)`` log-probabilities of whole answers.

    >>> only = summarise(np.log([0.2, 0.3]), [(Gender.MALE, 30), (Gender.FEMALE, 40)])
    >>> round(only.format_probability, 3), round(only.female_probability, 3), round(only.mean, 3), only.median
    (0.5, 0.6, 36.0, 40.0)
    """
    top = float(log_probabilities.max())
    weights = np.exp(log_probabilities - top)
    joint = weights / weights.sum()
    years = np.array([age for _, age in answers])
    female = np.array([gender is Gender.FEMALE for gender, _ in answers])
    ages = np.bincount(years, weights=joint, minlength=MAX_AGE + 1).astype(np.float64)
    values = np.arange(MAX_AGE + 1)
    mean = float(ages @ values)
    return AgeGender(
        format_probability=min(1.0, float(np.exp(top) * weights.sum())),
        female_probability=min(1.0, float(joint[female].sum())),
        mean=mean,
        median=float(np.searchsorted(ages.cumsum(), 0.5 - 1e-9)),
        sd=float(np.sqrt(ages @ (values - mean) ** 2)),
        ages=ages,
    )
