"""`annotator serve`: the Label Studio ML backend."""

from __future__ import annotations

from typing import Annotated

import typer

from annotator.cli.project import project_settings


def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 9090,
) -> None:
    """Serve pre-labels to Label Studio until Ctrl-C.

    Example: annotator serve --port 9090
    """
    from annotator.jobs.logs import set_up_logs
    from ml_backend.app import run
    from ml_backend.pipeline_engine import open_remote_engine

    settings = project_settings(context)
    set_up_logs(settings.log_format)
    with open_remote_engine(settings) as engine:
        typer.echo(f"ML backend at http://{host}:{port}, version {engine.version}; Ctrl-C stops it")
        run(settings, engine, host, port, engine.collectors())
