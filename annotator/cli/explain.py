"""`annotator explain`: all that led to one person's label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import print_json
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.pipeline.explain import Story


def explain_person(
    context: typer.Context,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="A person id, such as 0123456789abcdef-00.")],
    crop: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also save the person's part of the picture, as a JPEG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Tell how a person's label came about: boxes, predictions, calibrations, reasons, votes, labels, datasets.

    Example: annotator explain 0123456789abcdef-00 --crop person.jpg
    """
    from annotator.pipeline.explain import explain as run
    from annotator.pipeline.explain import save_crop

    settings = project_settings(context)
    with project_store(settings) as store:
        story = run(store, person)
        if crop is not None:
            save_crop(store, settings, person, crop)
    if as_json:
        print_json(story)
    else:
        _print(story)
        if crop is not None:
            typer.echo(f"crop     {crop}")


def _print(story: Story) -> None:
    from annotator.pipeline.history import said_words

    typer.echo(f"person   {story.person.person_id} on {story.image.name} ({story.image.uri})")
    for part, box in (("body", story.person.body), ("face", story.person.face)):
        typer.echo(f"{part}     {'none' if box is None else ' '.join(f'{value:.0f}' for value in box.as_tuple())}")
    for prediction in story.predictions:
        said = said_words(prediction.age, prediction.female_probability)
        raw = prediction.details.get("raw_text", prediction.details.get("text"))
        answer = f", in its own words: {raw!r}" if isinstance(raw, str) else ""
        typer.echo(
            f"said     {prediction.version}: {prediction.status.value}, {said}{_because(prediction.reason)}{answer}"
        )
    if story.pre_label:
        fused = story.pre_label.fused
        verdict = "to review" if story.pre_label.review else "accepted"
        reasons = ", ".join(reason.value for reason in story.pre_label.reasons)
        typer.echo(
            f"fused    {story.version}: {said_words(fused.age, fused.female_probability)}, {verdict}{_because(reasons)}"
        )
    for vote in story.votes:
        gender = vote.gender.value if vote.gender else "-"
        weight = story.weights.get(vote.annotator_id)
        counted = "" if weight is None else f", weight {weight:.2f}"
        age = "-" if vote.age is None else f"{vote.age:g}"
        typer.echo(f"vote     {vote.annotator_id} ({vote.source}): {age}, {gender}{counted}")
    if story.label and story.label.method.endswith("+ensemble"):
        weight = story.weights.get("ensemble")
        typer.echo("vote     the ensemble's own counts too" + ("" if weight is None else f", weight {weight:.2f}"))
    for moment in story.history:
        typer.echo(f"{moment.at:%Y-%m-%d %H:%M:%S}  {moment.words}")
    if story.label is None:
        typer.echo("label    none yet")
    else:
        age = "-" if story.label.age is None else f"{story.label.age:.1f}"
        typer.echo(f"label    {age}, {story.label.gender or '-'} ({story.label.source.value}, {story.label.method})")


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""
