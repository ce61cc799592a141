"""`annotator export`: a dataset version."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import counted, plural, print_json
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.export.manifest import Manifest


class DatasetFormat(StrEnum):
    """What `--format` takes."""

    LAGENDA = "lagenda"


class Which(StrEnum):
    """What `--only` takes."""

    SETTLED = "settled"
    ALL = "all"


class Pictures(StrEnum):
    """What `--images` takes."""

    LINK = "link"
    COPY = "copy"
    CROP = "crop"
    NONE = "none"


def export(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or an earlier dataset to be replaced.")],
    format_: Annotated[DatasetFormat, typer.Option("--format", help="The dataset's layout.")] = DatasetFormat.LAGENDA,
    only: Annotated[
        Which, typer.Option(help="all labels, or those settled by people: votes, and truths that were given.")
    ] = Which.ALL,
    images: Annotated[Pictures, typer.Option(help="What becomes of the image files.")] = Pictures.LINK,
    split: Annotated[
        str | None, typer.Option(metavar="NAME=SHARE,...", help="Also one table per split, e.g. train=.8,test=.2.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split (the project's).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write a dataset version with its manifest; the same database gives the same bytes.

    Example: annotator export dataset --format lagenda --split train=.8,val=.1,test=.1
    """
    from annotator.export.split import parse_split
    from annotator.pipeline.export import export as run

    del format_  # there is one so far
    shares = parse_split(split) if split else None
    settings = project_settings(context)
    with project_store(settings) as store:
        manifest = run(store, settings, out, only=only.value, images=images.value, split=shares, seed=seed)
    if as_json:
        print_json({"out": str(out), "id": manifest.id, "counts": asdict(manifest.counts)})
    else:
        _print(out, manifest)


def _print(out: Path, manifest: Manifest) -> None:
    counts = manifest.counts
    typer.echo(f"{plural(counts.people, 'person', 'people')} on {plural(counts.images, 'image')}")
    typer.echo(
        f"{plural(counts.labels, 'label')}: {counted(counts.by_source) or 'none yet; annotator prelabel makes some'}"
    )
    if counts.by_split:
        typer.echo(f"images by split: {counted(counts.by_split)}")
    if counts.without_box:
        typer.echo(f"{plural(counts.without_box, 'person', 'people')} left out: no box of a whole pixel")
    typer.echo(f"dataset {manifest.id[:12]} in {out}")
