"""The prompt once, the whole answer tree in one step behind it, and free text for those who leave the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from annotator.domain import Gender
from annotator.predictors.llava.layout import Layout, additive, lay_out
from annotator.predictors.llava.prompt import Prompt
from annotator.predictors.llava.tree import AnswerTree
from annotator.predictors.llava.vision import Sights

MAX_NEW_TOKENS = 64
"""How long a free answer may become; one in the format takes ten tokens."""


@dataclass(frozen=True, slots=True)
class Score:
    """One picture's answers.

    ``log_probabilities`` is ``(a,)``, one for each answer of the tree. ``greedy`` is the likeliest path within the
    tree, token by token. ``generated`` holds the tokens of the model's own greedy answer where that leaves the tree,
    and is ``None`` where it does not.
    """

    log_probabilities: NDArray[np.float64]
    greedy: tuple[Gender, int]
    generated: list[int] | None


class TreeScorer:
    """Scores an answer tree after one prompt, in which each picture takes as many tokens as it needs."""

    def __init__(self, model: Any, prompt: Prompt, tree: AnswerTree, *, ends: Sequence[int]) -> None:
        self.model = model
        self.device = model.device
        self.prompt = prompt
        self.tree = tree.to(self.device)
        self._ends_of_text = list(ends)
        self._choices, self._is_choice = _pad([sorted(children) for children in tree.children], self.device)
        self._ends = _ends(tree)
        self._last: tuple[tuple[int, ...], Layout] | None = None

    @torch.inference_mode()
    def score(self, sights: Sights) -> list[Score]:
        """Scores of some pictures, in order."""
        layout = self._layout(sights.tokens)
        logits, cache = self._forward(layout, sights)
        totals = _path_scores(logits, self.tree).double().cpu().numpy()
        walks = self._walk(logits)
        answers = [answer for answer, _ in walks]
        stays = [stays for _, stays in walks]
        if any(stay and self.tree.closing[answer] is not None for answer, stay in walks):
            stays = [stay and closed for stay, closed in zip(stays, self._closes(layout, answers, cache), strict=True)]
        off = [row for row, stay in enumerate(stays) if not stay]
        texts = dict(zip(off, self._generate(layout, off, cache), strict=True)) if off else {}
        return [Score(totals[row], self.tree.answers[answer], texts.get(row)) for row, answer in enumerate(answers)]

    def _layout(self, tokens: tuple[int, ...]) -> Layout:
        """That of the call before where it was the same, as in every full batch of one token count."""
        if self._last is None or self._last[0] != tokens:
            self._last = tokens, lay_out(self.prompt, tokens, self.tree, self.model.dtype, self.device)
        return self._last[1]

    def _forward(self, layout: Layout, sights: Sights) -> tuple[torch.Tensor, Any]:
        """``(n, 1 + nodes, v)`` logits, and the cache of prompt and tree.

        First the prompt, whose attention is the ordinary causal one with its fast kernels, then all nodes together.
        """
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config.text_config)
        whole = layout.length
        padded = {} if layout.is_even else {
            "attention_mask": layout.real[:, :whole].long(), "position_ids": layout.positions[:, :whole]
        }  # fmt: skip
        prompt = self.model(
            input_ids=layout.ids[:, :whole], **sights.inputs, **padded,
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        nodes = self.model(
            input_ids=layout.ids[:, whole:],
            attention_mask=layout.mask,
            position_ids=layout.positions[:, whole:],
            past_key_values=cache,
            use_cache=True,
        )
        return torch.cat([prompt.logits, nodes.logits], 1), cache

    def _walk(self, logits: torch.Tensor) -> list[tuple[int, bool]]:
        """For each picture the greedy answer within the tree, and whether the model's own greedy answer is the same."""
        kept = logits[:, torch.arange(len(self._choices), device=self.device)[:, None], self._choices]
        picks = kept.masked_fill(~self._is_choice, -torch.inf).argmax(-1)
        best = self._choices.expand(len(logits), -1, -1).gather(-1, picks[..., None])[..., 0].tolist()
        free = logits.argmax(-1).tolist()
        return [self._follow(*pair) for pair in zip(best, free, strict=True)]

    def _follow(self, best: Sequence[int], free: Sequence[int]) -> tuple[int, bool]:
        """The answer at the end of the path that takes ``best[row]`` everywhere; whether ``free`` takes it as well."""
        row, stays = 0, True
        while True:
            token = best[row]
            stays = stays and token == free[row]
            following = self.tree.children[row][token]
            if following is None:
                return self._ends[row, token], stays
            row = following

    def _closes(self, layout: Layout, answers: Sequence[int], cache: Any) -> list[bool]:
        """For each picture whether its answer, of which the tree holds the beginning only, is then closed.

        Feeds the last token of each answer's path, beside the tree: one step of decoding for the whole batch.
        """
        picked = torch.tensor(answers, device=self.device)
        last = self.tree.valid[picked].sum(-1) - 1
        tokens, rows = self.tree.columns[picked, last], self.tree.rows[picked, last]
        lineage = torch.cat([torch.zeros_like(self.tree.ancestors[:1]), self.tree.ancestors])
        itself = torch.ones(len(answers), 1, dtype=torch.bool, device=self.device)
        seen = torch.cat([layout.real[:, : layout.length], lineage[rows], itself], 1)
        output = self.model(
            input_ids=tokens[:, None],
            attention_mask=additive(seen[:, None, None], self.model.dtype),
            position_ids=(layout.positions[:, layout.length - 1] + 1 + last)[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        following = output.logits[:, -1].argmax(-1).tolist()
        closing = [self.tree.closing[answer] for answer in answers]
        return [wanted in (None, token) for wanted, token in zip(closing, following, strict=True)]

    def _generate(self, layout: Layout, rows: Sequence[int], cache: Any) -> list[list[int]]:
        """The model's own greedy answers for some pictures of the batch, from the prompt that is already cached."""
        picked = torch.tensor(rows, device=self.device)
        ids = layout.prompts[picked]
        kept = min(layout.length, ids.shape[1] - 1)  # the prompt's last token at least is fed again
        cache.crop(kept - cache.get_seq_length())
        cache.batch_select_indices(picked)
        output = self.model.generate(
            input_ids=ids,
            attention_mask=layout.real[picked].long(),
            past_key_values=cache,
            do_sample=False,
            num_beams=1,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=self._ends_of_text or None,
            pad_token_id=self._ends_of_text[0] if self._ends_of_text else 0,
        )
        return [_until(row[ids.shape[1] :], self._ends_of_text) for row in output.tolist()]


def _path_scores(logits: torch.Tensor, tree: AnswerTree) -> torch.Tensor:
    """``(n, 1 + nodes, v)`` logits to ``(n, a)`` log-probabilities of whole paths, in float32."""
    norm = torch.stack([row.float().logsumexp(-1) for row in logits])  # row by row: a float copy of all is large
    steps = logits[:, tree.rows, tree.columns].float() - norm[:, tree.rows]
    return steps.masked_fill(~tree.valid, 0).sum(-1)


def _pad(lists: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of unequal length as one tensor, and a bool one that says what is real."""
    longest = max(map(len, lists))
    values = torch.tensor([[*items, *[0] * (longest - len(items))] for items in lists], device=device)
    real = torch.tensor([[place < len(items) for place in range(longest)] for items in lists], device=device)
    return values, real


def _ends(tree: AnswerTree) -> dict[tuple[int, int], int]:
    """The answer behind each last step (row, token) of a path."""
    last = (tree.valid.sum(-1) - 1).tolist()
    return {
        (int(tree.rows[answer, place]), int(tree.columns[answer, place])): answer for answer, place in enumerate(last)
    }


def _until(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """``tokens`` before the first that ends an answer."""
    return next((tokens[:place] for place, token in enumerate(tokens) if token in ends), tokens)
