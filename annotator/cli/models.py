"""`annotator models`: which predictors and detectors exist, and getting their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import plural, print_json
from annotator.cli.project import project_settings

if TYPE_CHECKING:
    from annotator.settings import Settings

models = typer.Typer(help="Which models exist, and their weights.", no_args_is_help=True, rich_markup_mode=None)


@models.command("list")
def list_models(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the named models, their licences and whether their weights are here.

    Example: annotator models list
    """
    from annotator.predictors.pull import listing

    rows = listing(_settings(context))
    if as_json:
        print_json([row.as_dict() for row in rows])
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        where = "here" if row.is_here else f"to pull, {row.gigabytes:g} GB"
        typer.echo(f"{row.name:{width}}  {row.kind:9}  {where:18}  {row.licence}")
    typer.echo(f"{plural(len(rows), 'model')}; own weights are named FAMILY:PATH, such as mivolo:/models/mine.pth.tar")


@models.command("pull")
def pull_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of annotator models list.")],
) -> None:
    """Download a model's weights from the Hugging Face hub, once.

    Example: annotator models pull mivolo-v2-384
    """
    from annotator.predictors.pull import pull

    folder = pull(name, _settings(context), say=lambda text: typer.echo(text, err=True))
    typer.echo(f"the weights of {name} are in {folder}")


def _settings(context: typer.Context) -> Settings:
    """Those of the project, or the defaults where there is none: models are shared by projects."""
    from annotator.errors import ProjectNotFound
    from annotator.settings import Settings

    try:
        return project_settings(context)
    except ProjectNotFound:
        return Settings()
