"""`annotator report`: one page that shows how far and how good the project is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from annotator.cli.project import project_settings, project_store


def report(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT.html", help="Where to write the page.")],
) -> None:
    """Write one self-contained HTML page: progress, quality, review curve, annotators, hardest people.

    Example: annotator report report.html
    """
    from datetime import UTC, datetime

    from annotator.evaluation.report.page import render
    from annotator.files import write_whole
    from annotator.pipeline.report import gather_report

    settings = project_settings(context)
    with project_store(settings) as store:
        data = gather_report(store, settings, datetime.now(UTC))
    page = render(data).encode()
    write_whole(out, page)
    typer.echo(f"people    {data.progress.pre_labelled:,} pre-labelled, {data.progress.flagged:,} flagged")
    typer.echo(f"report    {out} ({len(page) / 1e6:.1f} MB)")
