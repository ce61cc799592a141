"""What the model is asked, and the token ids of it.

The question is the paper's, to the letter. A template is the conversation around it: ShareGPT4V and LLaVA-1.5 were
trained with ``vicuna_v1``; ``share4v_v1`` and ``share4v_v0`` are what ShareGPT4V's evaluation scripts use instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from annotator.domain import Gender
from annotator.errors import UnknownName, WeightsInvalid

QUESTION = (
    "Please provide the perceived gender and estimated age of the individual in this photo in the format "
    "'[gender; age]', where the age must be a single integer between 0 and 130. It should not be a range. The gender "
    "must be one of two options: 'male' or 'female'. I understand that your response will be based on visual analysis "
    "and may not accurately reflect the actual age or gender identity of the individual."
)
"""The prompt of arXiv 2403.02302."""

IMAGE_MARK = "<image>"
"""Where the image goes in the text of a prompt."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    @property
    def bos_token_id(self) -> int | None:
        """Id of the token that begins a prompt, ``None`` where there is none."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """A conversation around one question; ``stop`` ends an answer where the tokenizer has no token for it."""

    name: str
    opening: str
    user: str
    assistant: str
    separator: str
    stop: str

    def render(self, question: str) -> str:
        """The text of the prompt: image first, no space after the assistant's colon.

        >>> TEMPLATES["share4v_v0"].render("How old?").splitlines()[1]
        'How old?###Assistant:'
        """
        asked = f"{self.user}: {IMAGE_MARK}\n{question}"
        return self.separator.join((self.opening, asked, f"{self.assistant}:"))


def _opening(who: str) -> str:
    return (
        f"A chat between a curious {who} and an artificial intelligence assistant. "
        f"The assistant gives helpful, detailed, and polite answers to the {who}'s questions."
    )


TEMPLATES = {
    template.name: template
    for template in (
        Template("vicuna_v1", _opening("user"), "USER", "ASSISTANT", " ", "</s>"),
        Template("share4v_v1", _opening("human"), "USER", "ASSISTANT", " ", "</s>"),
        Template("share4v_v0", _opening("human"), "Human", "Assistant", "###", "###"),
    )
}
"""Conversation templates by name."""


def find_template(name: str) -> Template:
    """The template called ``name``.

    Raises:
        UnknownName: there is none.
    """
    try:
        return TEMPLATES[name]
    except KeyError:
        raise UnknownName("prompt template", name, list(TEMPLATES)) from None


def build_prompt_ids(
    tokenizer: Tokenizer, template: str, question: str, image_token_id: int, n_image_tokens: int
) -> list[int]:
    """Input ids of the whole prompt: BOS, text, ``n_image_tokens`` times the image token, text.

    The text on either side of the image is tokenised on its own, as ShareGPT4V's ``tokenizer_image_token`` does, so a
    SentencePiece tokenizer begins the second chunk with its dummy space too. BOS is put once, if there is one.
    """
    before, after = find_template(template).render(question).split(IMAGE_MARK)
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    head = tokenizer.encode(before, add_special_tokens=False)
    tail = tokenizer.encode(after, add_special_tokens=False)
    return [*start, *head, *[image_token_id] * n_image_tokens, *tail]


def answer_text(gender: Gender, age: int) -> str:
    """The answer in the asked format, with the space that parts it from the prompt."""
    return f" [{gender.value}; {age}]"


def answer_ids(tokenizer: Tokenizer, template: str, question: str, answers: Sequence[str]) -> list[list[int]]:
    """Token ids of each answer as they follow the prompt.

    An answer is tokenised together with the text before it, as in training, and the prompt's own ids are taken off.

    Raises:
        WeightsInvalid: the tokenizer merges the end of the prompt with an answer.
    """
    after = find_template(template).render(question).split(IMAGE_MARK)[1]
    tail = tokenizer.encode(after, add_special_tokens=False)
    result = []
    for answer in answers:
        ids = tokenizer.encode(after + answer, add_special_tokens=False)
        if ids[: len(tail)] != tail or len(ids) == len(tail):
            raise WeightsInvalid(f"the tokenizer merges the end of the prompt with the answer '{answer.strip()}'")
        result.append(ids[len(tail) :])
    return result
