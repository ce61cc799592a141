"""The models that have a name: where their weights come from, under which licence, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from annotator.errors import UnknownName
from annotator.model_options import ModelOptions

Kind = Literal["detector", "predictor"]
Family = Literal["huggingface", "yunet", "yolo", "mivolo", "llava"]


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

    @property
    def known(self) -> str:
        """What of its origin is fixed here: ``name``, ``commit``, or ``commit and sha256``; empty without a repository.

        A download is checked against the hub's own checksums in any case; what is fixed here also guards against a
        repository that changes.
        """
        if self.repository is None:
            return ""
        return "commit and sha256" if self.sha256 else "commit" if self.is_pinned else "name"


UNPINNED = "main"
LLAMA2 = "Llama 2 Community License (weights)"
MIVOLO = "CC BY-SA 4.0 or Apache-2.0, by its source: read it"
REFERENCE_FILES = ("*.json", "*.bin", "tokenizer.model")
HF_FILES = ("*.json", "*.safetensors", "tokenizer.model", "*.jinja")
BODIES = "the person's crop, padded to a square of 336"
TILES = "the person's crop, an overview of 336 and up to four tiles"
PEOPLE = "whole images; finds people"
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


def _dfine(letter: str, size: str, gigabytes: float, revision: str, sha256: str | None = None) -> Entry:
    return Entry(
        f"dfine-{letter}", "detector", "huggingface", "Apache-2.0", gigabytes, 1, PEOPLE,
        repository=f"ustc-community/dfine-{size}-coco", revision=revision, files=HF_FILES,
        sha256={"model.safetensors": sha256} if sha256 else {},
    )  # fmt: skip


def _next(size: str, licence: str, gigabytes: float, memory_gb: float, revision: str = UNPINNED) -> Entry:
    return Entry(
        f"llava-next-{size}", "predictor", "llava", licence, gigabytes, memory_gb, TILES,
        repository=f"llava-hf/llava-v1.6-{size}-hf", revision=revision, files=HF_FILES,
        options=ModelOptions(batch_size=4),
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
        repository="llava-hf/llava-1.5-7b-hf", revision="b234b804b114d9e37bb655e11cbbb5f5e971b7a9", files=HF_FILES,
        sha256={
            "model-00001-of-00003.safetensors": "c11dbf016ee7d35ee130c19b67e20eb04873996006f424b7bcbd453b6517ee66",
            "model-00002-of-00003.safetensors": "46df6c6e5fad297fe7fbca4963dcf180cb1d0528cabc884d1f603311fed01328",
            "model-00003-of-00003.safetensors": "4f06177c37ca13944e73b57dd6d051767b950dffc12400c700dfa2509c24c697",
        },
    ),
    _next("34b", "Apache-2.0", 69.5, 80, "66b6feb83d0249dc9f31a24bd3abfb63f90e41aa"),
    _next("mistral-7b", "Apache-2.0", 15.1, 22, "52320fb52229c8d942b1dcb8b63b3dc8087bc83b"),
    _next("vicuna-7b", LLAMA2, 14.1, 21, "c916e6cdcd760b4cecd1dd4907f84ac649f93b23"),
    _next("vicuna-13b", LLAMA2, 26.7, 38),
    _dfine(
        "s", "small", 0.04, "f79e65b5fbb33ceb9d3ebba042955d7410c608f8",
        "a144baff3a27bfd538fe37b11fa8d4fca5744b8c054b5301e7c699a1379cd18f",
    ),
    _dfine("m", "medium", 0.08, "4ab9f5e466432f4fcf9a9a023da6aa5ecc9c9829"),
    _dfine("l", "large", 0.13, "aa8f8211545e4cff5adf52ea512f9ac74a9824ec"),
    _dfine("x", "xlarge", 0.25, "ea4f6be7350bbe3c199ec6febc74168346cb5a68"),
    Entry(
        "yunet", "detector", "yunet", "MIT (trained on WIDER FACE)", 0.0003, 0.2, "whole images; finds faces",
        repository="opencv/face_detection_yunet", revision="3cc26e7f1014a5ee5d74a42acee58bafc9d0a310",
        files=("face_detection_yunet_2023mar.onnx",), weights="face_detection_yunet_2023mar.onnx",
        sha256={
            "face_detection_yunet_2023mar.onnx": "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
        },
    ),
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
    """A named set: detector, predictors, and how they are run.

    With ``endpoints`` the ``[chat.NAME]`` endpoints of the settings are predictors as well.
    """

    detector: str
    predictors: tuple[str, ...]
    options: Mapping[str, ModelOptions] = field(default_factory=dict)
    endpoints: bool = False


PROFILES: dict[str, Profile] = {
    "demo": Profile("demo-detector", ("demo-mivolo", "demo-mllm")),
    "paper": Profile("dfine-m+yunet", ("mivolo-v2-384", "sharegpt4v-7b")),
    "small-gpu": Profile(
        "dfine-m+yunet",
        ("mivolo-v2-384", "sharegpt4v-7b"),
        {"sharegpt4v-7b": ModelOptions(quantisation="4bit", batch_size=4)},
    ),
    "cpu": Profile("dfine-s+yunet", ("mivolo-v2-384",)),
    "remote": Profile("dfine-s+yunet", ("mivolo-v2-384",), endpoints=True),
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
