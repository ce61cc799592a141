"""What `annotator evaluate` prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from annotator.cli.output import counted, plural

if TYPE_CHECKING:
    from annotator.pipeline.evaluate.benchmark import Evaluation, Loaded
    from annotator.pipeline.evaluate.recommend import Recommendation
    from annotator.pipeline.evaluate.tables import TableResult
    from annotator.settings import Settings


def print_list(settings: Settings) -> None:
    """What each benchmark needs, where it goes, and whether something is there."""
    from annotator.protocols.catalogue import BENCHMARKS

    for benchmark in BENCHMARKS:
        folder = settings.path(settings.benchmarks_dir) / benchmark.place
        there = "there is something" if folder.is_dir() else "nothing is there yet"
        typer.echo(f"{benchmark.name}: {benchmark.title}{' (private)' if benchmark.private else ''}")
        typer.echo(f"  get     {benchmark.get}")
        if benchmark.name != "custom":
            typer.echo(f"  put     into {folder} ({there}): {'; '.join(benchmark.layout)}")
        if benchmark.counts:
            typer.echo(f"  counts  {counted(benchmark.counts)}")
        if benchmark.note:
            typer.echo(f"  note    {benchmark.note}")


def print_check(loaded: Loaded) -> None:
    """A folder that was checked."""
    published = loaded.benchmark.counts
    for what, found in loaded.check.counts.items():
        beside = f"   published {published[what]:,}" if what in published else ""
        typer.echo(f"{what:<12}{found:>9,}{beside}{_differs(published, what, found)}")
    if loaded.check.missing:
        typer.echo(f"images that are not there: {len(loaded.check.missing):,}, first {loaded.check.missing[0]}")
    verdict = "whole" if loaded.check.whole else "a part"
    typer.echo(f"{loaded.benchmark.name} in {loaded.people.root}: {verdict}")


def print_evaluation(result: Evaluation, folder: Path) -> None:
    """The table, comparisons, and what the run took."""
    from annotator.evaluation.benchmark_files import versus_line
    from annotator.evaluation.beside import LEFT, benchmark_grid
    from annotator.evaluation.grid import INTERVALS, plain

    loaded, run = result.loaded, result.run
    typer.echo(f"{loaded.benchmark.title}: {plural(len(run.truths), 'person', 'people')}")
    typer.echo(plain(benchmark_grid(loaded.benchmark.name, result.rows, loaded.partial), LEFT))
    for one in result.versus:
        typer.echo(versus_line(one, loaded.benchmark.classes is not None))
    for note in result.notes:
        typer.echo(note)
    if run.unreadable:
        typer.echo(f"images that could not be read: {counted(run.unreadable)}")
    print_timing(result)
    typer.echo(f"{INTERVALS}; results in {folder}")


def print_table(result: TableResult, folder: Path) -> None:
    """A table of the paper, the reasons for what is missing under it."""
    from annotator.evaluation.beside import LEFT, table_grid
    from annotator.evaluation.grid import plain

    table = result.table
    lines, reasons = table_grid(table, result.measured, result.missing, result.partial)
    typer.echo(f"Table {table.number} of arXiv 2403.02302: {table.caption}")
    typer.echo(plain(lines, LEFT + 1))
    for number, reason in enumerate(reasons, 1):
        typer.echo(f"[{number}] {reason}")
    for note in dict.fromkeys(note for one in result.evaluations for note in one.notes):
        typer.echo(note)
    for one in result.evaluations:
        print_timing(one)
    typer.echo(f"{len(result.measured)} of {len(table.rows)} rows measured; results in {folder}")


def print_advice(advice: Recommendation) -> None:
    """One table and one sentence."""
    from annotator.evaluation.grid import plain

    typer.echo("")
    typer.echo(plain(advice.grid, 2))
    typer.echo(
        "people/s: crops and model, images decoded; memory: peak of a process that runs it alone (ensemble: sum)"
    )
    typer.echo(advice.sentence)


def print_timing(result: Evaluation) -> None:
    """How long it took, in models and around them."""
    timing, asked = result.run.timing, sum(result.run.timing.asked.values())
    inside = sum(timing.models.values())
    parts = f"{inside:.1f} s in models, {timing.loading:.1f} s loading them, {timing.around:.1f} s around them"
    typer.echo(f"asked {asked:,}, reused {result.run.reused:,} in {timing.total:.1f} s: {parts}")


def _differs(published: Mapping[str, int], what: str, found: int) -> str:
    return "   differs" if what in published and published[what] != found else ""
