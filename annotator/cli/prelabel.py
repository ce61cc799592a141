"""`annotator prelabel`: people, predictions, one opinion, and who needs a human."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import counted, plural, print_json, watching
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.pipeline.prelabel import PrelabelReport
    from annotator.predictors.registry import ModelSet


def prelabel(
    context: typer.Context,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many images.")] = None,
    predictor: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Use this predictor instead of the profile's; may be given several times."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also what failed before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Find people, ask the predictors, fuse their answers and choose who goes to review, for whatever is pending.

    Example: annotator prelabel --limit 1000
    """
    from annotator.pipeline.prelabel import prelabel as run
    from annotator.predictors.registry import open_models

    settings = project_settings(context, predictors=predictor or None)
    models = open_models(settings)
    with project_store(settings) as store, watching() as watch:
        report = run(store, settings, models, limit=limit, retry_failed=retry_failed, watch=watch)
    if as_json:
        print_json(report)
    else:
        _print(report, models)


def _print(report: PrelabelReport, models: ModelSet) -> None:
    typer.echo(f"{plural(report.images, 'image')} pre-labelled, {plural(report.people, 'person', 'people')} on them")
    if report.failed:
        typer.echo(f"{plural(report.failed, 'image')} failed; see annotator status")
    verdict = report.triage
    share = f" ({verdict.review / verdict.people:.0%})" if verdict.people else ""
    typer.echo(f"in the project: {plural(verdict.people, 'person', 'people')}, {verdict.review:,} to review{share}")
    if verdict.reasons:
        typer.echo(f"because of: {counted(verdict.reasons)}")
    for notice in sorted(set(models.notices.values())):
        typer.echo(f"note: {notice}")
    typer.echo(f"ensemble version {report.version}")
