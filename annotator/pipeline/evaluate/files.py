"""Writing a benchmark's results: Markdown, CSV, JSON, every prediction, and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotator.errors import StorageError
from annotator.evaluation.benchmark_files import (
    flat_rows,
    group_grid,
    prediction_columns,
    published_data,
    row_data,
    truth_columns,
    versus_data,
    versus_line,
)
from annotator.evaluation.beside import LEFT, benchmark_grid, merged, table_grid
from annotator.evaluation.grid import INTERVALS, markdown
from annotator.evaluation.paper import why_not
from annotator.files import write_whole
from annotator.pipeline.evaluate.benchmark import Evaluation
from annotator.pipeline.evaluate.page import benchmark_page
from annotator.pipeline.evaluate.recommend import Recommendation
from annotator.pipeline.evaluate.tables import TableResult
from annotator.settings import Settings
from annotator.tables import write_tables

NANO_LIST = "nanolagenda.csv"


@dataclass(frozen=True, slots=True)
class Written:
    """The folder and what is in it; ``json_text`` is results.json."""

    folder: Path
    names: tuple[str, ...]
    json_text: str


def write_evaluation(result: Evaluation, folder: Path, page: str, advice: Sequence[Recommendation] = ()) -> Written:
    """Writes everything into ``folder``, which is made if need be; files of an earlier run are replaced.

    Raises:
        StorageError: it cannot be written.
    """
    _make(folder)
    found = {"recommendation": [{"inputs": one.inputs, "sentence": one.sentence, "table": one.grid} for one in advice]}
    data = json.dumps(evaluation_data(result) | (found if advice else {}), indent=2)
    text = evaluation_markdown(result)
    for one in advice:
        text += f"\n## Which predictor, {one.inputs}\n\n{markdown(one.grid, 2)}\n\n{one.sentence}\n"
    texts = {"results.json": data + "\n", "results.md": text, "report.html": page}
    if result.loaded.drawn is not None:
        texts[NANO_LIST] = result.loaded.drawn
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    published = merged(result.loaded.benchmark.name)
    write_tables(
        {
            folder / "results.csv": flat_rows(result.rows, published),
            folder / "predictions.csv": prediction_columns(result.run.truths, result.answers),
            folder / "truth.csv": truth_columns(result.run.truths),
        }
    )
    return Written(folder, (*texts, "results.csv", "predictions.csv", "truth.csv"), data)


def write_table(result: TableResult, folder: Path, settings: Settings) -> Written:
    """Writes a table of the paper, and each of its benchmarks in a folder below.

    Raises:
        StorageError: it cannot be written.
    """
    _make(folder)
    table = result.table
    lines, reasons = table_grid(table, result.measured, result.missing, result.partial)
    data = json.dumps(table_data(result), indent=2)
    notes = [f"[{number}] {reason}" for number, reason in enumerate(reasons, 1)]
    text = f"# Table {table.number}: {table.caption}\n\n{markdown(lines, LEFT + 1)}\n\n" + "\n\n".join(notes) + "\n"
    write_whole(folder / "table.json", (data + "\n").encode())
    write_whole(folder / "table.md", text.encode())
    columns = list(zip(*lines[1:], strict=True))
    write_tables({folder / "table.csv": {name: list(columns[place]) for place, name in enumerate(lines[0])}})
    for one in result.evaluations:
        write_evaluation(one, folder / one.loaded.benchmark.name, benchmark_page(one, settings))
    return Written(folder, ("table.json", "table.md", "table.csv"), data)


def table_data(result: TableResult) -> dict[str, Any]:
    """A table for JSON: each published row with its measured one, or why there is none."""
    rows = []
    for number, paper in enumerate(result.table.rows):
        row = result.measured.get(number)
        rows.append(
            {
                "benchmark": paper.published.benchmark,
                "published": published_data(replace(paper.published, inputs=paper.inputs)),
                "measured": None if row is None else row_data(row),
                "not_measured": None if row is not None else why_not(paper, result.missing.get(number, ())),
            }
        )
    table = result.table
    return {"table": table.number, "caption": table.caption, "partial": result.partial, "rows": rows}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}") from error


def evaluation_data(result: Evaluation) -> dict[str, Any]:
    """Everything for JSON."""
    loaded, run = result.loaded, result.run
    return {
        "benchmark": loaded.benchmark.name,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "partial": loaded.partial,
        "counts": dict(loaded.check.counts),
        "published_counts": dict(loaded.benchmark.counts),
        "people": len(run.truths),
        "rows": [row_data(row) for row in result.rows],
        "published": [published_data(row) for row in merged(loaded.benchmark.name)],
        "comparisons": [versus_data(one) for one in result.versus],
        "unreadable_images": dict(run.unreadable),
        "reused": run.reused,
        "seconds": {
            "total": run.timing.total,
            "models": dict(run.timing.models),
            "loading": run.timing.loading,
            "around": run.timing.around,
        },
        "asked": dict(run.timing.asked),
        "notes": list(result.notes),
    }


def evaluation_markdown(result: Evaluation) -> str:
    """The tables as Markdown."""
    loaded = result.loaded
    parts = [
        f"# {loaded.benchmark.title}",
        markdown(benchmark_grid(loaded.benchmark.name, result.rows, loaded.partial), LEFT),
    ]
    parts.append(f"Measured figures have {INTERVALS}.")
    if result.versus:
        lines = [f"- {versus_line(one, loaded.benchmark.classes is not None)}" for one in result.versus]
        parts.append("## Who is better than whom\n\n" + "\n".join(lines))
    for row in result.rows:
        for kind in row.groups:
            parts.append(f"## {row.predictor}, {row.sees}, by {kind}\n\n{markdown(group_grid(row, kind))}")
    parts += list(result.notes)
    return "\n\n".join(parts) + "\n"
