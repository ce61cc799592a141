"""What the model is asked, and the token ids of it.

The question is the paper's, to the letter. A template is the conversation around it: ShareGPT4V and LLaVA-1.5 were
trained with ``vicuna_v1``; ``share4v_v1`` and ``share4v_v0`` are what ShareGPT4V's evaluation scripts use instead. Of
the LLaVA-NeXT family the 34B model speaks ``chatml``, the one on Mistral ``mistral``, those on Vicuna ``vicuna_v1``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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

    @property
    def eos_token_id(self) -> int | None:
        """Id of the token that ends an answer, ``None`` where there is none."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """A conversation around one question.

    ``text`` holds ``{question}`` once and ends where the answer begins, which ``lead`` parts from it. ``stop`` ends an
    answer. ``bos`` says that the prompt begins with BOS whatever the tokenizer says; otherwise the tokenizer decides.
    """

    name: str
    text: str
    lead: str
    stop: str
    bos: bool = True

    def render(self, question: str) -> str:
        """The text of the prompt: image first, and nothing of the answer, not even ``lead``.

        >>> TEMPLATES["share4v_v0"].render("How old?").splitlines()[1]
        'How old?###Assistant:'
        """
        return self.text.replace("{question}", question)


def _opening(who: str) -> str:
    return (
        f"A chat between a curious {who} and an artificial intelligence assistant. "
        f"The assistant gives helpful, detailed, and polite answers to the {who}'s questions."
    )


ASKED = f"{IMAGE_MARK}\n{{question}}"
CHATML = "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n{}<|im_end|><|im_start|>assistant\n"

TEMPLATES = {
    template.name: template
    for template in (
        Template("vicuna_v1", f"{_opening('user')} USER: {ASKED} ASSISTANT:", " ", "</s>"),
        Template("share4v_v1", f"{_opening('human')} USER: {ASKED} ASSISTANT:", " ", "</s>"),
        Template("share4v_v0", f"{_opening('human')}###Human: {ASKED}###Assistant:", " ", "###"),
        Template("mistral", f"[INST] {ASKED} [/INST]", " ", "</s>"),
        Template("chatml", CHATML.format(ASKED), "", "<|im_end|>", bos=False),
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


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of a prompt on either side of its image."""

    head: tuple[int, ...]
    tail: tuple[int, ...]
    image_token: int

    def ids(self, image_tokens: int) -> list[int]:
        """The whole prompt around an image of so many tokens."""
        return [*self.head, *[self.image_token] * image_tokens, *self.tail]


def build_prompt(tokenizer: Tokenizer, template: str, question: str, image_token_id: int) -> Prompt:
    """The prompt in a tokenizer's pieces.

    The text on either side of the image is tokenised on its own, as LLaVA's ``tokenizer_image_token`` does, so a
    SentencePiece tokenizer begins the second chunk with its dummy space too. BOS is put once, if there is one.
    """
    chosen = find_template(template)
    before, after = chosen.render(question).split(IMAGE_MARK)
    head = tokenizer.encode(before, add_special_tokens=False)
    tail = tokenizer.encode(after, add_special_tokens=False)
    return Prompt((*_bos(tokenizer, chosen), *head), tuple(tail), image_token_id)


def _bos(tokenizer: Tokenizer, template: Template) -> list[int]:
    bos = tokenizer.bos_token_id
    if bos is None or not (template.bos or tokenizer.encode("a", add_special_tokens=True)[:1] == [bos]):
        return []
    return [bos]


def build_prompt_ids(
    tokenizer: Tokenizer, template: str, question: str, image_token_id: int, n_image_tokens: int
) -> list[int]:
    """Input ids of the whole prompt: BOS, text, ``n_image_tokens`` times the image token, text."""
    return build_prompt(tokenizer, template, question, image_token_id).ids(n_image_tokens)


def answer_text(gender: Gender, age: int) -> str:
    """The answer in the asked format.

    >>> answer_text(Gender.FEMALE, 40)
    '[female; 40]'
    """
    return f"[{gender.value}; {age}]"


def fork_ids(tokenizer: Tokenizer, template: str, question: str, answers: Sequence[str]) -> tuple[int, list[list[int]]]:
    r"""Where answers part from the prompt, and the token ids of each from there on.

    An answer is tokenised together with the text before it, as in training. Most tokenizers then begin with the ids of
    the prompt alone. One that joins the end of the prompt with the answer (``\\n[`` as one piece) does not: the paths
    then begin that many tokens before the end of the prompt as the first number says, usually 0.

    Raises:
        WeightsInvalid: an answer adds no token to what it shares with the prompt.
    """
    chosen = find_template(template)
    after = chosen.render(question).split(IMAGE_MARK)[1]
    tail = tokenizer.encode(after, add_special_tokens=False)
    whole = [tokenizer.encode(after + chosen.lead + answer, add_special_tokens=False) for answer in answers]
    shared = min(_shared(tail, ids) for ids in whole)
    if any(len(ids) == shared for ids in whole):
        raise WeightsInvalid("the tokenizer has no token for an answer")
    return len(tail) - shared, [ids[shared:] for ids in whole]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids both begin with."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def answer_ids(tokenizer: Tokenizer, template: str, question: str, answers: Sequence[str]) -> list[list[int]]:
    """Token ids of each answer as they follow the whole prompt, for training.

    Raises:
        WeightsInvalid: the tokenizer merges the end of the prompt with an answer.
    """
    cut, paths = fork_ids(tokenizer, template, question, answers)
    if cut:
        raise WeightsInvalid(f"the tokenizer merges the end of the prompt with an answer such as '{answers[0]}'")
    return paths


def end_tokens(tokenizer: Tokenizer, template: Template) -> list[int]:
    """The tokens that end an answer: the tokenizer's own, and the template's stop where that is one token."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    stop = [token for token in tokenizer.encode(template.stop, add_special_tokens=False) if token != unknown]
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return list(dict.fromkeys([*own, *(stop if len(stop) == 1 else [])]))


SIGNS = {"<|im_start|>": "chatml", "[INST]": "mistral"}
"""What gives away the template of a folder's own chat template."""


def usual_template(folder: Path) -> str:
    """The name of the template that the model in ``folder`` speaks, ``vicuna_v1`` where nothing says another."""
    said = _chat_template(folder)
    return next((name for sign, name in SIGNS.items() if sign in said), "vicuna_v1")


def _chat_template(folder: Path) -> str:
    """The folder's own chat template; empty where it has none or not one that can be read."""
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text("utf-8", errors="replace")
    for place in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the tokenizer's loader says what is wrong
            if found := json.loads((folder / place).read_text("utf-8")).get("chat_template"):
                return str(found)
    return ""
