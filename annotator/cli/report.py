"""`annotator report`: one page that shows how far and how good the project is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.evaluation.report.data import CascadePrice


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
    for alarm in data.alarms:
        typer.echo(f"ALARM     {alarm}")
    if data.cascade is not None:
        typer.echo(f"cascade   {_cascade(data.cascade)}")
    typer.echo(f"report    {out} ({len(page) / 1e6:.1f} MB)")


def _cascade(price: CascadePrice) -> str:
    from annotator.evaluation.report.page import duration

    asked = f"{price.asked:,} of {price.people:,} people asked, {duration(price.seconds_saved)} of model time saved"
    if price.played is None:
        return f"{asked}; its price is not known yet: too few people have a trusted truth"
    played = price.played
    return (
        f"{asked}; MAE {played.mae_cascade:.2f} years instead of {played.mae_all:.2f}, large errors caught at 20 % "
        f"review {played.recall_cascade:.0%} instead of {played.recall_all:.0%} (on {played.people:,} people)"
    )
