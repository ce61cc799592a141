"""The models that have a name: where their weights come from, under which licence, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from annotator.errors import UnknownName

Kind = Literal["detector", "predictor"]
Family = Literal["huggingface", "yolo", "mivolo", "llava"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One named model.

    ``repository`` and ``revision`` are on the Hugging Face hub (``None``: the weights ship with this package),
    ``files`` are the patterns that are fetched, ``tower`` is the repository of a vision tower that lies apart,
    ``convert`` says that the fetched layout is turned into the one that is read. ``weights`` is the file to read inside
    the folder (``None``: the folder itself). ``gigabytes`` is about what the download takes.
    """

    name: str
    kind: Kind
    family: Family
    licence: str
    gigabytes: float
    repository: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    tower: str | None = None
    convert: bool = False
    weights: str | None = None


LLAMA2 = "Llama 2 Community License (weights)"

ENTRIES = (
    Entry("demo-detector", "detector", "huggingface", "Apache-2.0", 0.002),
    Entry("demo-mivolo", "predictor", "mivolo", "Apache-2.0", 0.005),
    Entry("demo-mllm", "predictor", "llava", "Apache-2.0", 0.005),
    Entry(
        "mivolo-v2-384",
        "predictor",
        "mivolo",
        "Apache-2.0",
        0.12,
        repository="iitolstykh/mivolo_v2",
        revision="53393526c220e34cdd7b722b36d22b6f9e5f4241",
        files=("config.json", "model.safetensors"),
    ),
    Entry(
        "sharegpt4v-7b",
        "predictor",
        "llava",
        LLAMA2,
        14.8,
        repository="Lin-Chen/ShareGPT4V-7B",
        files=("*.json", "*.bin", "tokenizer.model"),
        tower="Lin-Chen/ShareGPT4V-7B_Pretrained_vit-large336-l12",
        convert=True,
    ),
    Entry(
        "llava-1.5-7b",
        "predictor",
        "llava",
        LLAMA2,
        14.2,
        repository="llava-hf/llava-1.5-7b-hf",
        files=("*.json", "*.safetensors", "tokenizer.model"),
    ),
    Entry(
        "yolo-face-person",
        "detector",
        "yolo",
        "AGPL-3.0 (weights and the ultralytics extra)",
        0.14,
        repository="iitolstykh/YOLO-Face-Person-Detector",
        files=("yolov8x_person_face.pt",),
        weights="yolov8x_person_face.pt",
    ),
)

CATALOGUE = {entry.name: entry for entry in ENTRIES}

PROFILES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "demo": ("demo-detector", ("demo-mivolo", "demo-mllm")),
    "paper": (None, ("mivolo-v2-384", "sharegpt4v-7b")),
}
"""Detector (``None``: the settings must name one) and predictors by profile."""


def entry(name: str, kind: Kind) -> Entry:
    """The entry of a model.

    Raises:
        UnknownName: there is none of that name and kind.
    """
    found = CATALOGUE.get(name)
    if found is None or found.kind != kind:
        raise UnknownName(kind, name, [known.name for known in ENTRIES if known.kind == kind])
    return found
