"""Token ids and labels of a conversation: the prompt is read, only the answer and its end are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from annotator.errors import WeightsInvalid
from annotator.predictors.llava.prompt import Tokenizer, answer_ids, build_prompt_ids

MASKED = -100
"""The label of a token that costs nothing."""


@dataclass(frozen=True, slots=True)
class Script:
    """Questions and answers to ids as LLaVA's ``preprocess_v1`` has them, the image's tokens in their place."""

    tokenizer: Tokenizer
    template: str
    image_token: int
    image_tokens: int

    def row(self, question: str, answer: str) -> tuple[list[int], list[int]]:
        """``input_ids`` and ``labels`` of one conversation, equally long; the answer begins with the template's lead.

        Raises:
            WeightsInvalid: the tokenizer has no end token, or merges the end of the prompt with the answer.
        """
        end = self.tokenizer.eos_token_id
        if end is None:
            raise WeightsInvalid("the tokenizer has no end token, so the model would never learn to stop")
        prompt = build_prompt_ids(self.tokenizer, self.template, question, self.image_token, self.image_tokens)
        (spoken,) = answer_ids(self.tokenizer, self.template, question, [answer])
        return [*prompt, *spoken, end], [*[MASKED] * len(prompt), *spoken, end]


def padded(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> dict[str, Tensor]:
    """``input_ids``, ``attention_mask`` and ``labels``, ``(n, longest)``, padded on the right."""
    longest = max(len(ids) for ids, _ in rows)
    gaps = [longest - len(ids) for ids, _ in rows]
    return {
        "input_ids": torch.tensor([ids + [pad] * gap for (ids, _), gap in zip(rows, gaps, strict=True)]),
        "attention_mask": torch.tensor([[1] * (longest - gap) + [0] * gap for gap in gaps]),
        "labels": torch.tensor([labels + [MASKED] * gap for (_, labels), gap in zip(rows, gaps, strict=True)]),
    }


def supervised(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which positions predict a token that counts, ``(n, length)`` bool, and those tokens, ``(supervised,)``.

    Position ``t`` predicts token ``t + 1``, so only these positions need to be projected to the vocabulary.
    """
    targets = torch.full_like(labels, MASKED)
    targets[:, :-1] = labels[:, 1:]
    keep = targets != MASKED
    return keep, targets[keep]
