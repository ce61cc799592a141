"""The models that have a name: where their weights come from, under which licence, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from annotator.errors import UnknownName
from annotator.model_options import ModelOptions

Kind = Literal["detector", "predictor"]
Family = Literal["huggingface", "yolo", "mivolo", "llava"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One named model.

    ``repository`` and ``revision`` are on the Hugging Face hub; ``revision`` is a commit, or ``main`` where none is
    pinned. Without a repository the weights ship with this package, or, with ``by_hand``, are given by their user.
    ``files`` are the patterns that are fetched, ``sha256`` what is known of them. ``tower`` is the repository of a
    vision tower that lies apart, ``convert`` says that the fetched layout is turned into the one that is read.
    ``weights`` is the file to read inside the folder (``None``: the folder itself). ``gigabytes`` is about what the
    download takes, ``memory_gb`` about what the model takes while it runs, on a GPU where it wants one, with its usual
    batch. ``inputs`` says what it sees, ``options`` how it is run if nothing else is said.
    """

    name: str
    kind: Kind
    family: Family
    licence: str
    gigabytes: float
    memory_gb: float
    inputs: str
    repository: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    tower: str | None = None
    convert: bool = False
    weights: str | None = None
    by_hand: str | None = None
    options: ModelOptions = field(default_factory=ModelOptions)

    @property
    def is_pinned(self) -> bool:
        """Whether it is one commit of its repository for ever."""
        return self.revision is not None and self.revision != UNPINNED


UNPINNED = "main"
LLAMA2 = "Llama 2 Community License (weights)"
MIVOLO = "CC BY-SA 4.0 or Apache-2.0, by its source: read it"
REFERENCE_FILES = ("*.json", "*.bin", "tokenizer.model")
HF_FILES = ("*.json", "*.safetensors", "tokenizer.model", "*.jinja")
BODIES = "the person's crop, padded to a square of 336"
MIVOLO_HOME = "https://github.com/WildChlamydia/MiVOLO"


def _sharegpt4v(size: str, gigabytes: float, memory_gb: float) -> Entry:
    return Entry(
        f"sharegpt4v-{size.lower()}", "predictor", "llava", LLAMA2, gigabytes, memory_gb, BODIES,
        repository=f"Lin-Chen/ShareGPT4V-{size}", revision=UNPINNED, files=REFERENCE_FILES,
        tower=f"Lin-Chen/ShareGPT4V-{size}_Pretrained_vit-large336-l12", convert=True,
    )  # fmt: skip


def _mivolo(side: int) -> Entry:
    return Entry(
        f"mivolo-{side}", "predictor", "mivolo", MIVOLO, 0.12, 1, f"body and face crops of {side}",
        weights="model.pth.tar", by_hand=f"a reference .pth.tar for {side} pixels, see {MIVOLO_HOME}",
    )  # fmt: skip


def _dfine(letter: str, size: str, gigabytes: float) -> Entry:
    return Entry(
        f"dfine-{letter}", "detector", "huggingface", "Apache-2.0", gigabytes, 1, "whole images; finds people",
        repository=f"ustc-community/dfine-{size}-coco", revision=UNPINNED, files=HF_FILES,
    )  # fmt: skip


ENTRIES = (
    Entry("demo-detector", "detector", "huggingface", "Apache-2.0", 0.002, 0.5, "drawn images"),
    Entry("demo-mivolo", "predictor", "mivolo", "Apache-2.0", 0.005, 0.5, "drawn body and face"),
    Entry("demo-mllm", "predictor", "llava", "Apache-2.0", 0.005, 0.5, "drawn body"),
    Entry(
        "mivolo-v2-384", "predictor", "mivolo", "Apache-2.0", 0.12, 1, "body and face crops of 384",
        repository="iitolstykh/mivolo_v2", revision="53393526c220e34cdd7b722b36d22b6f9e5f4241",
        files=("config.json", "model.safetensors"),
        sha256={"model.safetensors": "96efb47051c038ebeec74b73b4253c5fd000433e5afcab7deee0bd8f3fa7bf18"},
    ),
    _mivolo(224),
    _mivolo(384),
    _sharegpt4v("7B", 14.1, 20),
    _sharegpt4v("13B", 26.7, 36),
    Entry(
        "llava-1.5-7b", "predictor", "llava", LLAMA2, 14.2, 20, BODIES,
        repository="llava-hf/llava-1.5-7b-hf", revision=UNPINNED, files=HF_FILES,
    ),
    _dfine("s", "small", 0.04),
    _dfine("m", "medium", 0.08),
    _dfine("l", "large", 0.13),
    _dfine("x", "xlarge", 0.25),
    Entry(
        "yolo-face-person", "detector", "yolo", "AGPL-3.0 (weights and the ultralytics extra)", 0.14, 1,
        "whole images; finds people and faces",
        repository="iitolstykh/YOLO-Face-Person-Detector", revision=UNPINNED, files=("yolov8x_person_face.pt",),
        weights="yolov8x_person_face.pt",
    ),
)  # fmt: skip
"""In the order of `annotator models list`."""

CATALOGUE = {entry.name: entry for entry in ENTRIES}

REMOTE = ("gpt-4o", "gpt-4v")
"""Predictors of the paper that exist behind an OpenAI-compatible endpoint only: a ``[chat.NAME]`` of the settings."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set: detector (``None``: the settings must name one), predictors, and how they are run.

    With ``endpoints`` the ``[chat.NAME]`` endpoints of the settings are predictors as well.
    """

    detector: str | None
    predictors: tuple[str, ...]
    options: Mapping[str, ModelOptions] = field(default_factory=dict)
    endpoints: bool = False


PROFILES: dict[str, Profile] = {
    "demo": Profile("demo-detector", ("demo-mivolo", "demo-mllm")),
    "paper": Profile(None, ("mivolo-v2-384", "sharegpt4v-7b")),
    "small-gpu": Profile(
        "dfine-m",
        ("mivolo-v2-384", "sharegpt4v-7b"),
        {"sharegpt4v-7b": ModelOptions(quantisation="4bit", batch_size=4)},
    ),
    "cpu": Profile("dfine-s", ("mivolo-v2-384",)),
    "remote": Profile("dfine-s", ("mivolo-v2-384",), endpoints=True),
}
"""The profiles by name."""


def entry(name: str, kind: Kind) -> Entry:
    """The entry of a model.

    Raises:
        UnknownName: there is none of that name and kind.
    """
    found = CATALOGUE.get(name)
    if found is None or found.kind != kind:
        raise UnknownName(kind, name, [known.name for known in ENTRIES if known.kind == kind])
    return found
