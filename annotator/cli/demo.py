"""`annotator demo`: the whole loop on drawn figures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.fits import fit_line
from annotator.cli.output import counted, plural, print_json, watching

if TYPE_CHECKING:
    from annotator.pipeline.demo import DemoReport


def demo(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="A new folder, or one of an earlier demo.")] = Path(
        "demo-out"
    ),
    pictures: Annotated[int, typer.Option(min=2, help="How many pictures to draw.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the pictures and the simulated votes.")] = 0,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Instead: weakened models learn from one round of review.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Try everything on drawn figures: no download, no GPU, no Label Studio; a minute or two.

    With --retrain the loop is closed: both models are weakened, simulated annotators settle everybody, the models learn
    from the labels and are measured on pictures that neither training nor review saw. That takes about five minutes.

    Example: annotator demo demo-out --pictures 100
    """
    if retrain:
        _retrain(directory.resolve(), pictures, seed, as_json)
        return
    from annotator.pipeline.demo import run_demo

    with watching() as watch:
        report = run_demo(directory.resolve(), pictures=pictures, seed=seed, watch=watch)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _retrain(directory: Path, pictures: int, seed: int, as_json: bool) -> None:
    from annotator.errors import InputError
    from annotator.pipeline.demo_retrain import run_retraining

    if directory.exists() and any(directory.iterdir()):
        raise InputError(f"{directory} is not empty; a retraining demo needs a new folder")
    with watching() as watch:
        changes = run_retraining(directory, pictures=pictures, seed=seed, watch=watch)
    if as_json:
        print_json([asdict(change) for change in changes])
        return
    for change in changes:
        typer.echo(f"{change.name}: {change.why}, {'used from now on' if change.promoted else 'not used'}")
        for what, (before, after), unit in (
            ("MAE", change.mae, " years"),
            ("gender", change.gender_accuracy, ""),
        ):
            typer.echo(
                f"  {what} on {change.people:,} unseen: {before.value:.3f} ({before.low:.3f} to {before.high:.3f})"
                f" -> {after.value:.3f} ({after.low:.3f} to {after.high:.3f}){unit}"
            )


def _print(report: DemoReport) -> None:
    scores = report.scores
    typer.echo("")
    typer.echo(
        f"pictures   {report.pictures:,} drawn, {report.controls:,} of them as controls, with their people known"
    )
    typer.echo(
        f"people     {scores.found:,} of {scores.drawn:,} drawn people were found on the others, "
        f"and {scores.false_finds:,} that are not there"
    )
    typer.echo(fit_line(report.fit, used=True))
    typer.echo("against what was drawn (people found by the detector):")
    for name, score in scores.models.items():
        typer.echo(_score_line(name, score.people, score.mae, score.gender_accuracy))
    share = report.review / report.people if report.people else 0.0
    typer.echo(f"review     {report.review:,} of {plural(report.people, 'person', 'people')} flagged ({share:.0%})")
    typer.echo(
        f"caught     {scores.caught:,} of the ensemble's {scores.errors:,} errors (age more than 5 years off, or wrong "
        f"gender) are among the {scores.flagged:,} flagged"
    )
    typer.echo(f"votes      {report.votes:,} simulated votes; by the stop rule: {counted(report.steps)}")
    typer.echo(f"labels     {counted(report.labels)}")
    typer.echo(_score_line("labels", scores.labels.people, scores.labels.mae, scores.labels.gender_accuracy))
    for what, place in report.places.items():
        typer.echo(f"{what:10} {place}")
    typer.echo(f"time       {sum(report.seconds.values()):.0f} s ({_seconds(report)})")
    typer.echo(f"note       {report.notice}; the votes are simulated")


def _score_line(name: str, people: int, mae: float, accuracy: float) -> str:
    return f"  {name:14} MAE {mae:5.2f} years, gender {accuracy:6.1%}  ({people:,} people)"


def _seconds(report: DemoReport) -> str:
    return ", ".join(f"{name} {seconds:.0f}" for name, seconds in report.seconds.items())
