"""8-bit and 4-bit language models by bitsandbytes; vision tower, projector and head keep their precision.

The names to skip are matched from the beginning of a parameter's full name, and naming any replaces the default of
skipping the head: ``vision_tower`` alone would skip nothing and lose the head, without a word. What was quantised is
therefore counted after loading.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, get_args

import torch

from annotator.errors import ConfigurationError, UnknownName, WeightsInvalid

Quantisation = Literal["4bit", "8bit"]

INSTALL = "pip install 'annotator[quantisation]'"
SKIPPED = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
"""What keeps its precision, as full names of transformers 5."""

LANGUAGE_MODEL = "model.language_model."


def quantisation_config(kind: str, dtype: torch.dtype) -> Any:
    """The ``BitsAndBytesConfig``: int8, or NF4 with doubly quantised constants that computes in ``dtype``.

    Raises:
        UnknownName: ``kind`` is neither ``4bit`` nor ``8bit``.
        ConfigurationError: bitsandbytes is not installed.
    """
    if kind not in get_args(Quantisation):
        raise UnknownName("quantisation", kind, get_args(Quantisation))
    try:
        import bitsandbytes  # noqa: F401  # transformers would fail later, with a page of text
    except ImportError as error:
        raise ConfigurationError(f"quantisation needs bitsandbytes: {INSTALL}") from error
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)  # else a line for every product
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(SKIPPED))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(SKIPPED),
    )


def quantised_layers(model: Any) -> list[str]:
    """Names of the linear layers whose weights are quantised."""
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    return [name for name, module in model.named_modules() if isinstance(module, Linear4bit | Linear8bitLt)]


def check_quantised(model: Any, place: str) -> None:
    """Every linear layer of the language model is quantised, and nothing else is.

    Raises:
        WeightsInvalid: it is otherwise.
    """
    found = set(quantised_layers(model))
    wanted = {
        name
        for name, module in model.named_modules()
        if name.startswith(LANGUAGE_MODEL) and isinstance(module, torch.nn.Linear)
    }
    wrong = sorted(found ^ wanted)
    if wrong:
        state = "is quantised" if wrong[0] in found else "is not quantised"
        raise WeightsInvalid(f"{place}: {len(wrong)} layers have the wrong precision: {wrong[0]} {state}")
