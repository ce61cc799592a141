"""`annotator status`: counts by state and reason."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.fits import drift_line
from annotator.cli.output import counted, plural, print_json
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.pipeline.status import StatusReport


def status(
    context: typer.Context,
    failures: Annotated[int, typer.Option(min=0, metavar="N", help="List at most so many failures.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show how far the project is, and what failed and why.

    Example: annotator status --failures 1000
    """
    from annotator.pipeline.drift import drift
    from annotator.pipeline.status import status as run

    settings = project_settings(context)
    with project_store(settings) as store:
        report, intervals = run(store, list_failures=failures), drift(store, settings)
    if as_json:
        print_json({**asdict(report), "intervals": asdict(intervals)})
    else:
        _print(report)
        typer.echo(f"intervals    {drift_line(intervals)}")


def _print(report: StatusReport) -> None:
    for line in report.failed:
        typer.echo(f"failed {line.stage}  {line.name}  {line.reason}: {line.message}")
    hidden = sum(map(sum, (by_reason.values() for by_reason in report.failures.values()))) - len(report.failed)
    if hidden:
        typer.echo(f"... and {hidden:,} more failures; list them with --failures N")
    for version, by_status in report.predictions.items():
        typer.echo(f"predictions  {version}: {counted(by_status)}")
    for version, count in report.versions.items():
        typer.echo(f"pre-labels   {version}: {count:,}")
    typer.echo(f"images       {counted(report.images) or 'none; annotator ingest FOLDER registers some'}")
    typer.echo(f"people       {report.people:,}")
    reasons = f" ({counted(report.reasons)})" if report.reasons else ""
    typer.echo(f"review       {report.review:,} flagged, {report.open_review:,} without a label yet{reasons}")
    typer.echo(f"votes        {report.votes:,} by {plural(report.annotators, 'annotator')}")
    typer.echo(f"labels       {counted(report.labels) or 'none; annotator settle makes them'}")
    failed = {f"{reason} ({stage})": n for stage, reasons_ in report.failures.items() for reason, n in reasons_.items()}
    typer.echo(f"failures     {counted(failed) or 'none'}")
