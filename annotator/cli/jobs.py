"""`annotator jobs`: the nightly run, its ledger, and the workers that carry it out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import plural, print_json, watching
from annotator.cli.project import project_settings, project_store

if TYPE_CHECKING:
    from annotator.jobs.overview import RunLine

jobs = typer.Typer(help="Nightly runs, here or on many machines.", no_args_is_help=True, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
RunNumber = Annotated[int | None, typer.Option("--run", metavar="N", min=1, help="The run's number.")]


@jobs.command("nightly")
def nightly(
    context: typer.Context,
    now: Annotated[bool, typer.Option("--now", help="Start it now, whatever the schedule says.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is over.")] = True,
    as_json: AsJson = False,
) -> None:
    """Do the night's work: new images, pre-labels, Label Studio, votes, labels, report; one under way is joined.

    Without --now it starts only when the schedule has a night due that has not run yet. Without a broker it then
    retrains, if that was asked for in Label Studio.

    Example: annotator jobs nightly --now
    """
    start(context, "nightly", now=now, wait=wait, as_json=as_json)


@jobs.command("run")
def run_job(
    context: typer.Context,
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="collect, prelabel, push, pull, settle, report, retrain, ...")
    ],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is over.")] = True,
    as_json: AsJson = False,
) -> None:
    """Do one step of the night on its own, or retrain the project's models.

    Example: annotator jobs run prelabel
    """
    start(context, job, now=True, wait=wait, as_json=as_json)


def start(context: typer.Context, job: str, *, now: bool, wait: bool, as_json: bool) -> None:
    """Start a job, or join the run of it that is under way, and stay with it."""
    from annotator.jobs.door import start_job
    from annotator.jobs.overview import look_at

    settings = project_settings(context)
    with project_store(settings) as store, watching() as watch:
        run = start_job(store, settings, job, now=now, wait=wait, watch=watch)
        line = look_at(store, run) if run is not None else None
    if line is None:
        typer.echo("nothing is due; --now starts a run whatever the schedule says")
    elif as_json:
        print_json(line)
    else:
        _print_run(line)
    if line is not None and line.state == "failed":
        raise typer.Exit(1)


@jobs.command("status")
def status(
    context: typer.Context,
    run: RunNumber = None,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="List at most so many runs.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show the run ledger, newest first; with --run one run in full.

    Example: annotator jobs status --last 30
    """
    from annotator.jobs.overview import look_at, overview

    settings = project_settings(context)
    with project_store(settings) as store:
        lines = overview(store, last) if run is None else [look_at(store, run)]
    if as_json:
        print_json({"runs": [asdict(line) for line in lines]})
    elif run is not None:
        _print_run(lines[0])
    else:
        _print_runs(lines)


@jobs.command("cancel")
def cancel(context: typer.Context, run: RunNumber = None) -> None:
    """Cancel the run under way: nothing new is begun, what workers hold stops at the next pictures.

    Example: annotator jobs cancel
    """
    from annotator.jobs.runs import cancel as do

    settings = project_settings(context)
    with project_store(settings) as store:
        number = do(store, run)
    typer.echo(f"run {number} is cancelled; what was done is kept, `annotator jobs retry-failed` goes on with it")


@jobs.command("retry-failed")
def retry_failed(
    context: typer.Context,
    run: RunNumber = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is over.")] = True,
) -> None:
    """Go on with a run that failed or was cancelled: its failed batches are tried again, then what comes after them.

    Example: annotator jobs retry-failed --run 12
    """
    from annotator.jobs.door import follow
    from annotator.jobs.overview import look_at
    from annotator.jobs.runs import retry_failed as do

    settings = project_settings(context)
    with project_store(settings) as store, watching() as watch:
        number, batches = do(store, run)
        typer.echo(f"run {number} goes on, {plural(batches, 'batch', 'batches')} again")
        if wait:
            follow(store, settings, number, watch)
        line = look_at(store, number)
    _print_run(line)
    if line.state == "failed":
        raise typer.Exit(1)


@jobs.command("worker")
def worker(
    context: typer.Context,
    queues: Annotated[
        str, typer.Option(metavar="NAMES", help="What to take: cpu, gpu (wherever models shall run), io.")
    ] = "cpu,gpu,io",
    processes: Annotated[int, typer.Option(min=1, help="Processes; each loads the models it needs once.")] = 1,
    device: Annotated[str | None, typer.Option(help="Where its models run: auto, cpu, cuda, cuda:N.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name, NAME@HOST (%h: this host); no two the same.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, metavar="PORT", help="Serve metrics for Prometheus at this port.")
    ] = None,
) -> None:
    """Work on batches that the broker brings, until Ctrl-C or SIGTERM; what is in hand is finished first.

    Example: annotator jobs worker --queues gpu --device cuda:0 --name gpu0@%h
    """
    from annotator.jobs.queues import parse_queues
    from annotator.jobs.sharing import share_metrics

    chosen = parse_queues(queues)
    settings = project_settings(context, device=device)
    share_metrics()
    from annotator.jobs.worker import work

    raise typer.Exit(work(settings, chosen, processes, name, metrics_port))


@jobs.command("schedule")
def schedule(context: typer.Context) -> None:
    """Start nights and trainings at their times, until Ctrl-C; what was missed is caught up once, two do no harm.

    Example: annotator jobs schedule
    """
    from annotator.jobs.beat import schedule as run

    settings = project_settings(context)
    with project_store(settings) as store:
        run(store, settings)


@jobs.command("health")
def health(
    context: typer.Context,
    worker_name: Annotated[
        str | None, typer.Option("--worker", metavar="NAME@HOST", help="Also ask this worker whether it listens.")
    ] = None,
    beat: Annotated[bool, typer.Option("--schedule", help="Also whether the schedule's clock ticks.")] = False,
    backend: Annotated[str | None, typer.Option(metavar="URL", help="Also ask an ML backend.")] = None,
) -> None:
    """Check database and broker in a second, for a container's health check; exit code 1 when something is wrong.

    Example: annotator jobs health --worker gpu0@$(hostname)
    """
    from annotator.jobs.health import check

    settings = project_settings(context)
    with project_store(settings) as store:
        for line in check(store, settings, worker=worker_name, beat=beat, backend=backend):
            typer.echo(line)


def _print_runs(lines: list[RunLine]) -> None:
    if not lines:
        typer.echo("no run yet; annotator jobs nightly --now starts one")
        return
    typer.echo(f"{'run':>6}  {'job':9} {'scheduled for':16}  {'state':9} {'step':9} {'batches':>13} {'images':>10} "
               f"{'failed':>7} {'minutes':>8}")  # fmt: skip
    for line in lines:
        batches = f"{line.batches_done:,}/{line.batches:,}"
        typer.echo(
            f"{line.run:>6}  {line.job:9} {line.scheduled_for:%Y-%m-%d %H:%M}  {line.state.value:9} "
            f"{line.step or '':9} {batches:>13} {line.images:>10,} {line.failed:>7,} {line.seconds / 60:>8.1f}"
        )


def _print_run(line: RunLine) -> None:
    for error in line.errors:
        typer.echo(f"error      {error}")
    for step, counts in line.steps.items():
        shown = ", ".join(f"{value:,} {name}" if isinstance(value, int) else f"{name}: {value}"
                          for name, value in counts.items())  # fmt: skip
        typer.echo(f"{step:10} {shown}")
    lost = f", {line.lost:,} lost with their workers" if line.lost else ""
    typer.echo(f"attempts   {line.attempts:,}{lost}")
    typer.echo(f"version    {line.version or 'none'}")
    typer.echo(
        f"run {line.run}      {line.job} of {line.scheduled_for:%Y-%m-%d %H:%M} UTC: {line.state.value} after "
        f"{line.seconds:,.0f} s; {line.images:,} images pre-labelled, {line.failed:,} failed"
    )
