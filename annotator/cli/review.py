"""`annotator review`: people to annotators in Label Studio, and their answers back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.fits import fit_line
from annotator.cli.output import counted, plural, print_json, watching
from annotator.cli.project import project_settings, project_store
from annotator.domain import Gender

if TYPE_CHECKING:
    from annotator.pipeline.review.pull import PullReport
    from annotator.pipeline.review.push import PushReport
    from annotator.pipeline.review.setup import SetupReport
    from annotator.pipeline.review.status import AnnotatorLine, ReviewStatus

review = typer.Typer(help="Human review in Label Studio.", no_args_is_help=True, rich_markup_mode=None)


AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


@review.command("setup")
def setup_review(
    context: typer.Context,
    backend: Annotated[
        str | None, typer.Option(metavar="URL", help="The ML backend as Label Studio reaches it (backend_url).")
    ] = None,
    no_backend: Annotated[bool, typer.Option("--no-backend", help="Connect no ML backend.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the two Label Studio projects, or bring them up to date; a second run changes nothing.

    Example: annotator review setup --backend http://127.0.0.1:9090
    """
    from annotator.pipeline.review.setup import setup
    from annotator.predictors.registry import open_models

    settings = project_settings(context, backend_url=backend)
    with project_store(settings) as store:
        report = setup(store, settings, open_models(settings), backend=not no_backend)
    if as_json:
        print_json(report)
    else:
        _print_setup(report)
    if report.troubles:
        raise typer.Exit(1)


@review.command("push")
def push_review(context: typer.Context, as_json: AsJson = False) -> None:
    """Send pre-labels and the people who need human eyes; goes on where an interrupted run stopped.

    Example: annotator review push
    """
    from annotator.pipeline.review.push import push
    from annotator.predictors.registry import open_models

    settings = project_settings(context)
    with project_store(settings) as store, watching() as watch:
        report = push(store, settings, open_models(settings), watch)
    if as_json:
        print_json(report)
    else:
        _print_push(report)


@review.command("pull")
def pull_review(
    context: typer.Context,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="ANNOTATION", help="Let this annotation count although another user wrote it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take in votes and corrected boxes, settle people, and ask more annotators where that is not enough.

    Example: annotator review pull --allow 1234
    """
    from annotator.pipeline.review.pull import pull

    settings = project_settings(context)
    with project_store(settings) as store, watching() as watch:
        report = pull(store, settings, allowed=allow or (), watch=watch)
    if as_json:
        print_json(report)
    else:
        _print_pull(report)


@review.command("decide")
def decide_case(
    context: typer.Context,
    person: Annotated[str, typer.Argument(help="Somebody whom `annotator review status` lists for an expert.")],
    age: Annotated[float | None, typer.Option(metavar="YEARS", help="The age that they have in the photo.")] = None,
    gender: Annotated[Gender | None, typer.Option(help="The gender that one perceives.")] = None,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who decides.")] = "lead",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back an earlier decision.")] = False,
) -> None:
    """Give somebody whom votes cannot settle a label; calibrations never learn from it.

    Example: annotator review decide 3f2a90c1d4e5b607-00 --age 34 --gender female --by ada
    """
    from annotator.pipeline.decisions import Decision, decide, withdraw_decision
    from annotator.pipeline.settle import settle

    if withdraw == (age is not None or gender is not None) or (age is None) != (gender is None):
        raise typer.BadParameter("give both --age and --gender, or --withdraw alone")
    settings = project_settings(context)
    with project_store(settings) as store:
        if age is None or gender is None:
            withdraw_decision(store, person)
        else:
            decide(store, Decision(person, age, gender, by))
        settle(store, settings)
    typer.echo(f"{person}: the decision is withdrawn" if gender is None else f"{person}: {age:g} years, {gender.value}")


@review.command("status")
def show_status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how far the review is, what is left, and how good the annotators are.

    Example: annotator review status --json
    """
    from annotator.pipeline.review.status import review_status

    settings = project_settings(context)
    with project_store(settings) as store:
        report = review_status(store, settings)
    if as_json:
        print_json(report)
    else:
        _print_status(report)


def _print_setup(report: SetupReport) -> None:
    for change in report.changes:
        typer.echo(change)
    if report.secret_made:
        typer.echo("a webhook secret was made; restart `annotator serve`, so that the backend asks for it")
    for trouble in report.troubles:
        typer.echo(trouble, err=True)
    typer.echo(f"whole pictures  {report.url}/projects/{report.whole}")
    typer.echo(f"one at a time   {report.url}/projects/{report.vote}")
    typer.echo(f"{plural(len(report.changes), 'change')}; version {report.version}")


def _print_push(report: PushReport) -> None:
    whole, votes = report.whole, report.votes
    if whole.unknown:
        typer.echo(f"{plural(whole.unknown, 'task')} without pre-labels; have Label Studio retrieve predictions")
    if whole.failed:
        typer.echo(f"{plural(whole.failed, 'task')} could not be pre-labelled; see the tab 'failed'")
    if votes.failed:
        typer.echo(f"{plural(votes.failed, 'person', 'people')} without a picture to show; see annotator status")
    if not votes.controls_known:
        typer.echo(
            "nobody's truth is known, so no control people are mixed in; ingest some with given ages and genders"
        )
    typer.echo(
        f"whole pictures: {plural(whole.created, 'new task')}, {whole.filled:,} with new pre-labels, "
        f"{whole.unchanged:,} unchanged"
    )
    typer.echo(f"people to vote on: {counted(votes.created) or 'nobody'} new, {plural(votes.open, 'task')} open")


def _print_pull(report: PullReport) -> None:
    boxes, votes, stop = report.boxes, report.votes, report.stop
    for note in boxes.notes:
        typer.echo(note)
    for annotation, words in votes.doubtful.items():
        typer.echo(f"annotation {annotation} does not count: {words}; let it with --allow {annotation}")
    for problem, count in votes.unknown_problems.items():
        typer.echo(
            f"{plural(count, 'answer')} with the problem '{problem}', which our configuration does not offer; "
            "annotator review setup puts it back"
        )
    for name in stop.failing:
        typer.echo(f"{name} fails the controls; see annotator review status")
    if boxes.images:
        undone = f", {boxes.withdrawn:,} of them as before, their annotations are deleted" if boxes.withdrawn else ""
        typer.echo(
            f"boxes: {boxes.moved:,} moved, {boxes.added:,} added, {boxes.closed:,} closed on "
            f"{plural(boxes.images, 'picture')}{undone}; run annotator prelabel, then annotator review push"
        )
    not_counted = f" ({counted(votes.by_remark)})" if votes.by_remark else ""
    typer.echo(f"votes: {votes.new:,} new, {votes.changed:,} changed, {votes.gone:,} withdrawn")
    typer.echo(f"votes that count: {votes.counting:,}{not_counted}")
    replaced = f", {plural(stop.replaced, 'vote')} replaced" if stop.replaced else ""
    typer.echo(f"people: {counted(stop.tasks) or 'nobody asked yet'}; {stop.raised:,} asked of more people{replaced}")
    typer.echo(fit_line(stop.fit))


def _print_status(report: ReviewStatus) -> None:
    for line in report.annotators:
        typer.echo(_annotator(line))
    if report.expert_people:
        typer.echo(f"for an expert   {', '.join(report.expert_people)}")
    reasons = f" ({counted(report.by_reason)})" if report.by_reason else ""
    typer.echo(f"open            {report.open:,}{reasons}")
    typer.echo(f"done            {report.settled:,} settled, {report.closed:,} closed, {report.expert:,} for an expert")
    not_counted = f"; not counted: {counted(report.not_counted)}" if report.not_counted else ""
    typer.echo(f"votes           {report.votes:,}, {report.votes_last_day:,} in the last day{not_counted}")
    if report.failed:
        typer.echo(f"without picture {report.failed:,}; see annotator status")
    typer.echo(
        f"left            {plural(report.votes_left, 'vote')}, {report.hours_left:.1f} hours of work at "
        f"{report.votes_per_hour:.0f} votes an hour"
    )


def _annotator(line: AnnotatorLine) -> str:
    mae = "" if line.age_mae is None else f", off by {line.age_mae:.1f} years"
    gender = "" if line.gender_accuracy is None else f", {line.gender_accuracy:.0%} of genders right"
    quality = f" on {plural(line.controls, 'control')}{mae}{gender}" if line.controls else ""
    failing = "; FAILS THE CONTROLS" if line.failing else ""
    return f"{line.name}: {plural(line.votes, 'vote')}, {line.not_counted:,} not counted{quality}{failing}"
