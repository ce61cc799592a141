"""`annotator explain`: all that led to one person's label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import print_json
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.pipeline.explain import Story


def explain_person(
    context: typer.Context,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="A person id, such as 0123456789abcdef-00.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Tell how a person's label came about: boxes, predictions, reasons, votes.

    Example: annotator explain 0123456789abcdef-00
    """
    from annotator.pipeline.explain import explain as run

    settings = project_settings(context)
    with project_store(settings) as store:
        story = run(store, person)
    if as_json:
        print_json(story)
    else:
        _print(story)


def _print(story: Story) -> None:
    typer.echo(f"person   {story.person.person_id} on {story.image.name} ({story.image.uri})")
    for part, box in (("body", story.person.body), ("face", story.person.face)):
        typer.echo(f"{part}     {'none' if box is None else ' '.join(f'{value:.0f}' for value in box.as_tuple())}")
    for prediction in story.predictions:
        said = _said(prediction.age, prediction.female_probability)
        typer.echo(f"said     {prediction.version}: {prediction.status.value}, {said}{_because(prediction.reason)}")
    if story.pre_label:
        fused = story.pre_label.fused
        verdict = "to review" if story.pre_label.review else "accepted"
        reasons = ", ".join(reason.value for reason in story.pre_label.reasons)
        typer.echo(
            f"fused    {story.version}: {_said(fused.age, fused.female_probability)}, {verdict}{_because(reasons)}"
        )
    for vote in story.votes:
        gender = vote.gender.value if vote.gender else "-"
        weight = story.weights.get(vote.annotator_id)
        counted = "" if weight is None else f", weight {weight:.2f}"
        age = "-" if vote.age is None else f"{vote.age:g}"
        typer.echo(f"vote     {vote.annotator_id} ({vote.source}): {age}, {gender}{counted}")
    for event in story.events:
        typer.echo(f"event    {event.at:%Y-%m-%d %H:%M:%S} {event.kind} {event.data}")
    if story.label is None:
        typer.echo("label    none yet")
    else:
        age = "-" if story.label.age is None else f"{story.label.age:.1f}"
        typer.echo(f"label    {age}, {story.label.gender or '-'} ({story.label.source.value}, {story.label.method})")


def _said(age: float | None, female: float | None) -> str:
    years = "no age" if age is None else f"{age:.1f} years"
    return f"{years}, no gender" if female is None else f"{years}, P(female) {female:.2f}"


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""
