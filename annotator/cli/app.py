"""The `annotator` command: all sub-commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from annotator.cli.demo import demo
from annotator.cli.doctor import doctor
from annotator.cli.errors import explain, wants_traceback
from annotator.cli.evaluate import evaluate
from annotator.cli.explain import explain_person
from annotator.cli.export import export
from annotator.cli.ingest import ingest
from annotator.cli.init import init
from annotator.cli.jobs import jobs
from annotator.cli.models import models
from annotator.cli.prelabel import prelabel
from annotator.cli.purge import purge
from annotator.cli.report import report
from annotator.cli.review import review
from annotator.cli.score import score
from annotator.cli.serve import serve
from annotator.cli.settle import settle
from annotator.cli.status import status
from annotator.cli.train import train
from annotator.cli.triage import triage
from annotator.cli.vote import vote

HELP = """Age and gender labels for person photos: pre-labelled by models, settled by people.

Example: annotator init photos && annotator ingest ~/pictures && annotator prelabel && annotator status
"""

app = typer.Typer(
    name="annotator", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)


def print_version(wanted: bool) -> None:
    """Prints the installed version and ends the command, if that is wanted."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"annotator {version('annotator')}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    project: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The project's folder; else it is looked for here, above, and one below."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Options of every command."""
    del version  # its callback has done everything
    context.obj = project


COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "ingest": ingest,
    "prelabel": prelabel,
    "settle": settle,
    "export": export,
    "status": status,
    "explain": explain_person,
    "doctor": doctor,
    "serve": serve,
    "demo": demo,
    "report": report,
    "purge": purge,
    "vote": vote,
    "triage": triage,
    "score": score,
    "evaluate": evaluate,
}

for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(jobs, name="jobs")
app.add_typer(models, name="models")
app.add_typer(train, name="train")
app.add_typer(review, name="review")


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    # OpenMP's threads wait by spinning, which makes models 10 to 30 times slower once somebody else wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(prog_name="annotator")
    except BrokenPipeError:
        # whoever read our output has seen enough; nothing more can be said, not even by the interpreter's flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if wants_traceback():
            raise
        typer.echo(f"annotator: {explain(error)}", err=True)
        sys.exit(1)
