"""`annotator ingest`: registers images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import counted, plural, print_json, watching
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.pipeline.ingest import IngestReport


def ingest(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders, image files, a .csv in LAGENDA columns (boxes and known ages), a .zip, "
            "s3://bucket/prefix, http(s)://..., labelstudio://PROJECT.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Register images; what is known already stays as it is, what cannot be read is kept with its reason.

    Example: annotator ingest ~/pictures holiday.zip lagenda.csv
    """
    from annotator.pipeline.ingest import ingest as run

    settings = project_settings(context)
    with project_store(settings) as store, watching() as watch:
        report = run(store, settings, sources, watch)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: IngestReport) -> None:
    typer.echo(f"{plural(report.new, 'new image')}, {report.known:,} known already")
    if report.purged:
        typer.echo(f"{plural(report.purged, 'image')} passed over, because of annotator purge")
    if report.people:
        typer.echo(f"{plural(report.people, 'person', 'people')} with given boxes")
    if report.failed:
        typer.echo(f"{sum(report.failed.values()):,} could not be read: {counted(report.failed)}; see annotator status")
