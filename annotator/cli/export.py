"""`annotator export` and `annotator export diff`: dataset versions, and what is different between two."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from annotator.cli.output import counted, plural, print_json, watching
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.export.diff import Difference
    from annotator.export.manifest import Manifest
    from annotator.pipeline.export_rows import Choice


class DatasetFormat(StrEnum):
    """What `--format` takes."""

    LAGENDA = "lagenda"
    LLAVA = "llava"
    PARQUET = "parquet"


class Which(StrEnum):
    """What `--only` takes."""

    SETTLED = "settled"
    ALL = "all"


class Source(StrEnum):
    """What `--source` takes."""

    SETTLED = "settled"
    ACCEPTED = "accepted"
    ALL = "all"


class Pictures(StrEnum):
    """What `--images` takes."""

    LINK = "link"
    COPY = "copy"
    CROP = "crop"
    NONE = "none"


def export(
    context: typer.Context,
    out: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUT | diff A B", help="A new folder, or an earlier dataset to be replaced; or two to compare."
        ),
    ],
    format_: Annotated[DatasetFormat, typer.Option("--format", help="The dataset's layout.")] = DatasetFormat.LAGENDA,
    source: Annotated[
        Source | None,
        typer.Option(help="Labels settled by people (votes, given truths), accepted pre-labels, or all (default)."),
    ] = None,
    only: Annotated[Which | None, typer.Option(help="The same, without accepted.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Labels written or changed since then (UTC)."),
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least P(gender) and P(age within 5 years) of a label.")
    ] = None,
    images: Annotated[
        Pictures | None, typer.Option(help="What becomes of the image files (link; crop for llava).")
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME=SHARE,...", help="Also one table per split, e.g. train=.8,test=.2.")
    ] = None,
    parent: Annotated[
        Path | None, typer.Option(metavar="DATASET", help="An earlier dataset whose images stay in their splits.")
    ] = None,
    balance_tail: Annotated[
        bool, typer.Option("--balance-tail", help="People over 70 count more often, as in the papers.")
    ] = False,
    shard_rows: Annotated[int | None, typer.Option(min=1, help="Most rows of one file (llava, parquet).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split (the project's).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write a dataset version to OUT; the same database gives the same bytes.

    `annotator export diff A B` compares two: labels that came, went or changed, moves between splits, other settings.

    Example: annotator export dataset --format lagenda --split train=.8,val=.1,test=.1
    """
    if len(out) > 1:
        _diff(context, out, as_json)
        return
    from annotator.export.dataset import Options
    from annotator.export.split import parse_split
    from annotator.pipeline.export import export as run

    shares = parse_split(split) if split else None
    chosen = _choice(source, only, since, min_confidence)
    settings = project_settings(context)
    usual = Pictures.CROP if format_ is DatasetFormat.LLAVA else Pictures.LINK
    options = Options(
        format_.value,
        (images or usual).value,
        shares,
        settings.seed if seed is None else seed,
        balance_tail,
        shard_rows,
    )
    with watching() as watch, project_store(settings) as store:
        manifest = run(store, settings, out[0], options=options, choice=chosen, parent=parent, watch=watch)
    if as_json:
        print_json({"out": str(out[0]), "id": manifest.id, "counts": asdict(manifest.counts)})
    else:
        _print(out[0], manifest, chosen)


def _choice(source: Source | None, only: Which | None, since: datetime | None, confidence: float | None) -> Choice:
    from annotator.pipeline.export_rows import Choice

    if source is not None and only is not None and source.value != only.value:
        raise typer.BadParameter(f"--source {source.value} and --only {only.value} contradict each other")
    which: Any = (source or only or Source.ALL).value
    return Choice(which, since and since.replace(tzinfo=UTC), confidence)


def _print(out: Path, manifest: Manifest, chosen: Choice) -> None:
    counts = manifest.counts
    usual = chosen.source == "all" and chosen.since is None and chosen.min_confidence is None
    nobody = "none yet; annotator prelabel makes some" if usual else "none that --source, --since and the like leave"
    typer.echo(f"{plural(counts.people, 'person', 'people')} on {plural(counts.images, 'image')}")
    typer.echo(f"{plural(counts.labels, 'label')}: {counted(counts.by_source) or nobody}")
    if counts.by_split:
        typer.echo(f"images by split: {counted(counts.by_split)}")
    if manifest.unread_images:
        typer.echo(f"{plural(manifest.unread_images, 'image')} could not be compared with others for the split")
    if counts.without_box:
        typer.echo(f"{plural(counts.without_box, 'person', 'people')} left out: no box of a whole pixel")
    typer.echo(f"dataset {manifest.id[:12]} in {out}")


def _diff(context: typer.Context, words: list[Path], as_json: bool) -> None:
    """`annotator export diff A B`."""
    if len(words) != 3 or str(words[0]) != "diff":
        raise typer.BadParameter("name one folder to write, or compare two with: annotator export diff A B")
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in {"out", "as_json"}
        and (source := context.get_parameter_source(parameter.name or "")) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise typer.BadParameter(f"a comparison has no {', '.join(given)}")
    from annotator.export.diff import diff

    found = diff(words[1], words[2])
    if as_json:
        print_json(found)
    else:
        _print_diff(found)


def _print_diff(found: Difference) -> None:
    for name, (old, new) in found.settings.items():
        typer.echo(f"{name}: {old} -> {new}")
    typer.echo(f"labels: {found.labels[0]:,} -> {found.labels[1]:,}; {found.added:,} came, {found.removed:,} went")
    changed = counted({name: count for name, count in found.changed.items() if count}) or "nothing"
    typer.echo(f"changed among {plural(found.common, 'common label')}: {changed}")
    if found.changed["age"]:
        typer.echo(f"mean change of age: {found.mean_age_change:.2f} years")
    if found.moved_between_splits:
        typer.echo(f"between splits: {counted(found.moved_between_splits)}")
    for kind, people in found.examples.items():
        if people:
            typer.echo(f"{kind}: {', '.join(people[:5])}{', ...' if len(people) > 5 else ''}")
    typer.echo("the same dataset" if found.same_id else f"{found.a[:12]} and {found.b[:12]} are different datasets")
