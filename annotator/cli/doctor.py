"""`annotator doctor`: what is wrong around a project, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from annotator.cli.output import plural, print_json
from annotator.cli.project import project_settings


def doctor(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False
) -> None:
    """Check the database, weights, device, disk, and Label Studio with its backend; say how to mend what is wrong.

    Ends with exit code 1 if there is a problem.

    Example: annotator doctor
    """
    from annotator.pipeline.doctor import examine
    from annotator.pipeline.findings import Level

    findings = examine(project_settings(context))
    problems = sum(one.level is Level.PROBLEM for one in findings)
    if as_json:
        print_json({"problems": problems, "findings": [asdict(one) for one in findings]})
    else:
        for one in findings:
            mend = f"; {one.mend}" if one.mend else ""
            typer.echo(f"{one.level.value:8}{one.area}: {one.what}{mend}")
        typer.echo(f"{plural(problems, 'problem')} found" if problems else "no problems found")
    if problems:
        raise typer.Exit(1)
