"""Prompts of unequal length and the answer tree behind them, as one batch.

Prompts are padded on the left, so that the last token of each stands in the same column and so does each node of the
tree. What is padded is seen by nobody and has no position of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from annotator.predictors.llava.prompt import Prompt
from annotator.predictors.llava.tree import AnswerTree


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A batch of ``n`` prompts of at most ``p`` tokens, of which ``c`` belong to the paths of a tree of ``t`` nodes.

    Attributes:
        ids: ``(n, p - c + t)`` what is fed: prompts without their last ``c`` tokens, then the tree.
        positions: ``(n, p - c + t)`` place of each in its own row.
        mask: ``(n, 1, t, p - c + t)`` to add to the tree's attention; the first axis is 1 where all rows are alike.
        prompts: ``(n, p)`` the prompts, padded on the left.
        real: ``(n, p)`` bool, false where a prompt is padded.
        length: ``p - c``, where the tree begins.
        is_even: whether no prompt is padded.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    prompts: torch.Tensor
    real: torch.Tensor
    length: int
    is_even: bool


def lay_out(
    prompt: Prompt, image_tokens: Sequence[int], tree: AnswerTree, dtype: torch.dtype, device: torch.device | str
) -> Layout:
    """The prompts around images of so many tokens each; ``dtype`` is that of the mask. ``tree`` is on ``device``."""
    rows = [prompt.ids(count) for count in image_tokens]
    lengths = torch.tensor([len(row) for row in rows], device=device)
    longest = int(lengths.max())
    filler = 0 if prompt.image_token else 1  # anything but the image token, of which the model counts the places
    prompts = torch.tensor([[filler] * (longest - len(row)) + row for row in rows], device=device)
    places = torch.arange(longest, device=device) - (longest - lengths)[:, None]
    cut = longest - tree.cut
    ids = torch.cat([prompts[:, :cut], tree.tokens.expand(len(rows), -1)], 1)
    behind = (lengths - tree.cut)[:, None] + tree.depth
    positions = torch.cat([places[:, :cut].clamp(min=0), behind], 1)
    is_even = len(set(image_tokens)) == 1
    real = places >= 0
    allowed = _allowed(real[:1] if is_even else real, cut, tree)
    return Layout(ids, positions, additive(allowed[:, None], dtype), prompts, real, cut, is_even)


def _allowed(real: torch.Tensor, length: int, tree: AnswerTree) -> torch.Tensor:
    """``(n, t, length + t)`` bool: a node sees the prompt, but not what is padded, and its ancestors."""
    seen = real[:, None, :length].expand(-1, len(tree), -1)
    return torch.cat([seen, tree.ancestors.expand(len(real), -1, -1)], 2)


def additive(allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask to add: eager attention adds whatever it gets, so that a bool one would be silently wrong there."""
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)
