"""Finding the project that a command is about, and opening its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from annotator.settings import Settings
    from annotator.store.session import Store


def project_settings(context: typer.Context, **overrides: Any) -> Settings:
    """The settings of the project named by --project, or found here, above, or one folder below.

    Raises:
        ProjectNotFound, ConfigurationError: there is none, several, or its settings are wrong.
    """
    from annotator.settings import find_project, load_settings

    root = find_project(context.obj)
    here = Path.cwd()
    if context.obj is None and root.parent == here.resolve():
        typer.echo(f"using the project in {root.name}/", err=True)
    return load_settings(root, **overrides)


@contextmanager
def project_store(settings: Settings) -> Iterator[Store]:
    """The project's database.

    Raises:
        DatabaseError: it has not the tables of this version.
    """
    from annotator.errors import DatabaseError
    from annotator.store.session import open_store, sqlite_file

    url = settings.resolved_database_url
    file = sqlite_file(url)
    if file is not None and not file.exists():
        raise DatabaseError(f"there is no database {file} yet; run `annotator init`")
    with open_store(url) as store:
        yield store
