"""`annotator purge`: a person's or an image's data, everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import counted, plural, print_json
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.pipeline.purge import PurgeReport


def purge(
    context: typer.Context,
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="People by their id; images by sha256, address or name."),
    ],
    reason: Annotated[str | None, typer.Option(help="Kept with the tombstone; name no person in it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was removed as JSON.")] = False,
) -> None:
    """Remove a person's or an image's data: rows, votes, crops, Label Studio tasks, cached answers, dataset entries.

    A tombstone stays, so that nothing brings them back. Your original files are yours to delete; they are named.

    Example: annotator purge 0123456789abcdef-00 --yes
    """
    from annotator.pipeline.purge import find_targets
    from annotator.pipeline.purge import purge as run

    settings = project_settings(context)
    with project_store(settings) as store:
        found = find_targets(store, targets)
        if not yes:
            people = sum(len(one.people) for one in found)
            typer.echo(
                f"{plural(len(found), 'target')} with {plural(people, 'person', 'people')}; this cannot be undone"
            )
            typer.confirm("remove them everywhere?", abort=True)
        report = run(store, settings, found, reason=reason)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: PurgeReport) -> None:
    for out in report.datasets:
        typer.echo(f"taken out of the dataset {out}, which has another id now")
    for uri in report.originals:
        typer.echo(f"the original is yours to delete: {uri}")
    for words in report.left:
        typer.echo(words)
    names = (
        "images", "people", "predictions", "studio_tasks", "pictures", "answers", "dataset_entries", "events",
    )  # fmt: skip
    removed = {name: getattr(report, name) for name in names if getattr(report, name)}
    typer.echo(f"removed: {counted(removed) or 'nothing was there'}; a tombstone keeps them away")
