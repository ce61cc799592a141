"""`annotator settle`: votes and accepted pre-labels become labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.fits import fit_line
from annotator.cli.output import counted, plural, print_json, watching
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.pipeline.settle import SettleReport


def settle(
    context: typer.Context,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="How ages are aggregated: as last time, at first precision.")
    ] = None,
    gender_method: Annotated[
        str | None, typer.Option(metavar="NAME", help="How genders are: as last time, at first auto.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Turn votes, accepted pre-labels and given truths into labels; a second run changes nothing.

    Where enough new truth arrived the ensemble is calibrated again, for the next prelabel.

    Example: annotator settle --method gtm
    """
    from annotator.pipeline.settlement import settle_and_refit

    settings = project_settings(context)
    with project_store(settings) as store, watching() as watch:
        done = settle_and_refit(store, settings, age_method=method, gender_method=gender_method, watch=watch)
    if as_json:
        print_json({**asdict(done.labels), "fit": asdict(done.fit)})
    else:
        _print(done.labels)
        typer.echo(fit_line(done.fit))


def _print(report: SettleReport) -> None:
    if report.age_method:
        typer.echo(f"ages by {report.age_method}, genders by {report.gender_method}")
        typer.echo(f"people with votes: {counted(report.steps)}")
    typer.echo(f"labels: {counted(report.labels) or 'none'}; {plural(report.changed, 'change')}")
