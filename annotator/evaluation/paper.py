"""The paper's tables as work to do: which predictor, benchmark and input each published row needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annotator.errors import InputError, UnknownName
from annotator.evaluation.published import PublishedRow, published_rows, table_caption

TABLES = tuple(range(1, 11))

UNPUBLISHED = (
    "its fine-tuned weights were not published; train them with `annotator train mllm` and name them: "
    '[models.{0}] weights = "llava:/PATH"'
)

UNKNOWN = "unknown predictor"
"""How the message about a predictor begins that is neither in the catalogue nor in the settings."""

_OURS: dict[str, tuple[str, ...]] = {
    "MiVOLO_224": ("mivolo-224",),
    "MiVOLO_384": ("mivolo-v2-384", "mivolo-384"),
    "LLaVA 1.5 7B": ("llava-1.5-7b",),
    "LLaVA-NeXT 34B": ("llava-next-34b",),
    "ShareGPT4V 7B": ("sharegpt4v-7b",),
    "ChatGPT4V": ("gpt-4v",),
    "ChatGPT4O": ("gpt-4o",),
    "LLaVA-v1.5-7b": ("llava-1.5-7b-ft",),
    "ShareGPT4V-7b": ("sharegpt4v-7b-ft",),
    "ShareGPT4V-7b 0.4 epoch": ("sharegpt4v-7b-ft",),
    "ShareGPT4V-7b 1 epoch": ("sharegpt4v-7b-ft-1-epoch",),
    "ShareGPT4V-13b": ("sharegpt4v-13b-ft",),
    "ShareGPT4V 7B FT": ("sharegpt4v-7b-ft",),
    "ShareGPT4V 13B FT": ("sharegpt4v-13b-ft",),
}
"""Predictors that stand for a model of the paper, the preferred one first; a model that is not here is others' work."""

METRICS = ("mae", "cs5", "mape", "gender_accuracy", "age_accuracy", "mae_classes")


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A published row and how to measure it: ``predictors`` that would do, none for other groups' models."""

    published: PublishedRow
    predictors: tuple[str, ...]
    inputs: str
    fine_tuned: bool


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper; ``metrics`` are those that it prints."""

    number: int
    caption: str
    rows: tuple[PaperRow, ...]
    metrics: tuple[str, ...]

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmarks that it needs."""
        return tuple(dict.fromkeys(row.published.benchmark for row in self.rows))


def paper_table(number: int, named: Mapping[str, str] | None = None) -> PaperTable:
    """Table ``number`` of the paper; ``named`` maps models of the paper to predictors of one's own.

    Raises:
        InputError: the paper has no such table.
        UnknownName: ``named`` names a model that is in none of the tables.
    """
    if number not in TABLES:
        raise InputError(f"the paper has tables 1 to {len(TABLES)}, not {number}")
    own = named or {}
    models = [row.model for row in published_rows()]
    for model in own:
        if model not in models:
            raise UnknownName("model of the paper", model, list(dict.fromkeys(models)))
    rows = tuple(_row(row, own) for row in published_rows() if row.table == number)
    metrics = tuple(name for name in METRICS if any(getattr(row.published, name) is not None for row in rows))
    return PaperTable(number, table_caption(number), rows, metrics)


def paper_models(predictor: str) -> tuple[str, ...]:
    """The models of the paper that a predictor stands for.

    >>> paper_models("mivolo-v2-384"), paper_models("mine")
    (('MiVOLO_384',), ())
    """
    return tuple(model for model, names in _OURS.items() if predictor in names)


def why_not(row: PaperRow, missing: Sequence[str]) -> list[str]:
    """In words, why a row of the paper was not measured; ``missing`` says what was not to be had.

    >>> why_not(PaperRow(PublishedRow(4, "cacd", "ResNet-50", None), (), "body", False), [])
    ["another group's model, not a predictor here"]
    """
    if not row.predictors:
        return ["another group's model, not a predictor here"]
    unknown = UNPUBLISHED.format(row.predictors[0]) if row.fine_tuned else None
    return [unknown if unknown and text.startswith(UNKNOWN) else text for text in missing] or ["not asked for"]


def _row(row: PublishedRow, own: Mapping[str, str]) -> PaperRow:
    predictors = (own[row.model],) if row.model in own else _OURS.get(row.model, ())
    is_mivolo = row.model.startswith("MiVOLO")
    inputs = row.inputs or ("body+face" if is_mivolo else "body")
    return PaperRow(row, predictors, inputs, any("-ft" in name for name in predictors))
