"""``README.md`` and ``card.png``: what is in a dataset, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from annotator.evaluation.groups import GROUP_YEARS, group_name
from annotator.export.manifest import Counts, Recipe
from annotator.export.spool import Spool

CARD_NAME = "README.md"
PICTURE_NAME = "card.png"
_GENDERS = {"F": "female", "M": "male", "-1": "unknown"}
_COLOURS = {"F": "#b4587a", "M": "#3f6ea8", "-1": "#9a9a9a"}
_STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 9}

_READING = {
    "lagenda": "`annotations.csv` has everybody, `SPLIT.csv` the people of a split; columns and -1 for missing values "
    "are those of LAGENDA, so that MiVOLO's own reader takes it. `annotator train mivolo` trains from it.",
    "llava": "`SPLIT.json` holds conversations for LLaVA's and ShareGPT4V's training code, with `images/` as the "
    "image folder. `annotator train mllm` trains from it.",
    "parquet": "`datasets.load_dataset(FOLDER)` of Hugging Face datasets loads it: one row for each label, with its "
    "90 % interval, votes, predictions and boxes.",
}

_END = (
    "Ages and genders are those perceived in the picture, not facts about the people. `manifest.json` has the sha256 "
    "of every file, `provenance.parquet` where each label came from.\n"
)

Licences = Mapping[str, tuple[str, int]]


def write_card(
    folder: Path,
    spool: Spool,
    counts: Counts,
    kind: str,
    split: Mapping[str, float] | None,
    recipe: Recipe,
    licences: Licences,
) -> None:
    """Write both files; the same dataset gives the same bytes."""
    table = _table(spool)
    _draw(folder / PICTURE_NAME, table)
    parts = [
        _front(kind, split),
        f"# A dataset of perceived ages and genders ({kind})\n\n{_READING[kind]}\n",
        f"![people by age and gender]({PICTURE_NAME})\n",
        _numbers(counts),
        _splits(spool, split),
        _origin(counts, recipe),
        _licence_section(licences, counts.images),
        _END,
    ]
    (folder / CARD_NAME).write_text("\n".join(part for part in parts if part), encoding="utf-8", newline="\n")


def _table(spool: Spool) -> dict[str, Counter[int]]:
    """People by gender letter and five-year group; -1 is an unknown age."""
    table: dict[str, Counter[int]] = {letter: Counter() for letter in _GENDERS}
    for _, age, gender, people in spool.ages():
        table[gender][age // GROUP_YEARS if age >= 0 else -1] += people
    return table


def _draw(path: Path, table: Mapping[str, Counter[int]]) -> None:
    groups = range(max((group for counts in table.values() for group in counts), default=0) + 1)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 3), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        bottom = [0] * len(groups)
        for letter, counts in table.items():
            heights = [counts[group] for group in groups]
            if any(heights):
                axes.bar(list(groups), heights, bottom=bottom, label=_GENDERS[letter], color=_COLOURS[letter])
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        axes.set_xticks(list(groups), [group_name(group) for group in groups], rotation=60)
        axes.set_xlabel("perceived age, years")
        axes.set_ylabel("people")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Software": None})


def _front(kind: str, split: Mapping[str, float] | None) -> str:
    """What Hugging Face reads at the top of a card."""
    lines = ["---", "tags: [age, gender]"]
    if kind == "parquet":
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for name in split or ("all",):
            lines += [f"  - split: {name.replace('-', '_')}", f"    path: data/{name}[.-]*"]
    return "\n".join([*lines, "---", ""])


def _numbers(counts: Counts) -> str:
    rows = {
        "images": counts.images,
        "people": counts.people,
        "labels": counts.labels,
        "labels with an age": counts.ages,
        "labels with a gender": counts.genders,
        **{f"labels {source}": number for source, number in counts.by_source.items()},
    }
    return "| | number |\n|---|---:|\n" + "".join(f"| {name} | {number:,} |\n" for name, number in rows.items())


def _splits(spool: Spool, split: Mapping[str, float] | None) -> str:
    if split is None:
        return ""
    people: dict[str, Counter[str]] = {name: Counter() for name in split}
    for name, _, gender, count in spool.ages():
        if name is not None:
            people[name][gender] += count
    lines = "".join(
        f"| {name} | {share:g} | {sum(people[name].values()):,} | {people[name]['F']:,} | {people[name]['M']:,} |\n"
        for name, share in split.items()
    )
    return (
        "Images that show the same are in one split; age groups and genders are shared out evenly.\n\n"
        f"| split | share | labels | female | male |\n|---|---:|---:|---:|---:|\n{lines}"
    )


def _origin(counts: Counts, recipe: Recipe) -> str:
    lines = [f"- votes aggregated by: {recipe.method or 'nothing was settled by votes'}"]
    for version, digest in recipe.predictors.items():
        lines.append(f"- predictor {version}" + (f", weights sha256 {digest}" if digest else ""))
    chosen: dict[str, Any] = dict(recipe.settings)
    lines += [f"- {name}: {value}" for name, value in sorted(chosen.items())]
    if counts.without_box:
        lines.append(f"- {counts.without_box:,} people without a box of a whole pixel are left out")
    return "Where the labels come from:\n\n" + "\n".join(lines) + "\n"


def _licence_section(licences: Licences, images: int) -> str:
    known = sum(number for _, number in licences.values())
    lines = [f"- `{start}`: {text} ({number:,} images)" for start, (text, number) in licences.items()]
    if known < images:
        lines.append(f"- {images - known:,} images: no licence was given")
    return "Licences of the images, as they were given (`[licences]` of annotator.toml):\n\n" + "\n".join(lines) + "\n"
