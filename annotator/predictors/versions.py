"""What a version says of the settings that change a result; known before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping

MIVOLO_USUAL = {"inputs": "body+face", "crops": "inference", "dtype": "float32"}
LLAVA_USUAL = {
    "answer": "median",
    "template": "vicuna_v1",
    "crop": "body",
    "tree": "prefix",
    "dtype": "float32",
    "quantisation": "none",
}


def settings_suffix(chosen: Mapping[str, str], usual: Mapping[str, str]) -> str:
    """The choices that are not the usual ones, in the order of ``usual``.

    >>> settings_suffix({"inputs": "face", "crops": "inference", "dtype": "float16"}, MIVOLO_USUAL)
    '+face+float16'
    """
    return "".join(f"+{chosen[key]}" for key, value in usual.items() if chosen[key] != value)


def mivolo_suffix(inputs: str, dtype: str, crops: str = "inference") -> str:
    """What distinguishes a MiVOLO's version from the default one of the same weights.

    >>> mivolo_suffix("body+face", "float32"), mivolo_suffix("body", "float16", "dataset")
    ('', '+body+dataset-crops+float16')
    """
    chosen = {"inputs": inputs, "crops": "dataset-crops" if crops == "dataset" else crops, "dtype": dtype}
    return settings_suffix(chosen, MIVOLO_USUAL)


def llava_suffix(answer: str, template: str, crop: str, tree: str, dtype: str, quantisation: str | None) -> str:
    """What distinguishes a LLaVA's version from the default one of the same weights.

    >>> llava_suffix("greedy", "vicuna_v1", "body", "full", "bfloat16", "4bit")
    '+greedy+full-tree+bfloat16+4bit'
    """
    chosen = {
        "answer": answer, "template": template, "crop": crop, "tree": "full-tree" if tree == "full" else tree,
        "dtype": dtype, "quantisation": quantisation or "none",
    }  # fmt: skip
    return settings_suffix(chosen, LLAVA_USUAL)
