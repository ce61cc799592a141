"""`annotator init`: a project's settings file and its database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    context: typer.Context,
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="The project's folder (here).")] = None,
    profile: Annotated[str, typer.Option(help="Detector and predictors to write into a new annotator.toml.")] = "demo",
) -> None:
    """Write annotator.toml (an existing one stays) and create or upgrade the database.

    Example: annotator init photos
    """
    from annotator.pipeline.project import create_project
    from annotator.store.session import hidden

    made = create_project((directory or context.obj or Path()).resolve(), profile)
    typer.echo(f"{made.config_was:8} {made.config}")
    typer.echo(f"{made.database_was:8} {hidden(made.settings.resolved_database_url)}")
    typer.echo("next: annotator ingest FOLDER, then annotator prelabel")
