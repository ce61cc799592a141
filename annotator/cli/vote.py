"""`annotator vote`: a table of votes becomes a table of labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from annotator.voting import Consensus, ControlTable, VoteTable


def vote(
    votes: Annotated[Path, typer.Argument(metavar="VOTES.csv", help="Columns person_id,annotator_id,age,gender.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="LABELS.csv", help="Labels; LABELS.annotators.csv is written beside."),
    ],
    control: Annotated[
        Path | None,
        typer.Option(metavar="TRUTH.csv", help="People whose truth is known: columns person_id,age,gender."),
    ] = None,
    ensemble: Annotated[
        Path | None,
        typer.Option(
            metavar="VERDICTS.csv",
            help="Let the ensemble vote along, as one more annotator: the table that annotator triage writes.",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Ages: mean, median, trimmed, lagenda, precision, gtm, or auto (by cross-validation on the controls). "
            "A name of a gender method sets that instead; lagenda sets both.",
        ),
    ] = "precision",
    gender_method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Genders: majority, lagenda, dawid-skene; auto is dawid-skene from 200 votes on."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the folds of the cross-validation.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Turn votes into labels, each vote weighted by how good its annotator is.

    Example: annotator vote votes.csv -o labels.csv --control truth.csv
    """
    from annotator.voting import aggregate
    from annotator.voting.files import annotators_path, read_truth, read_votes, write_consensus
    from annotator.voting.machine import with_ensemble

    age_name, gender_name = _methods(method, gender_method)
    _refuse_overwriting(output, annotators_path(output), votes, control, ensemble)
    table = read_votes(votes)
    if ensemble is not None:
        table = with_ensemble(table, read_truth(ensemble))
    controls = None if control is None else read_truth(control)
    consensus = aggregate(table, controls, age_method=age_name, gender_method=gender_name, seed=seed)
    summary = _summary(table, controls, consensus, seed)
    write_consensus(output, consensus)
    summary["written"] = [str(output), str(annotators_path(output))]
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)


def _methods(method: str, gender_method: str | None) -> tuple[str, str]:
    """The age method and the gender method that the two options mean together."""
    from annotator.errors import UnknownName
    from annotator.voting import AGE_METHODS, GENDER_METHODS

    if method not in (*AGE_METHODS, *GENDER_METHODS):
        raise UnknownName("method", method, sorted({*AGE_METHODS, *GENDER_METHODS}))
    age = method if method in AGE_METHODS else "precision"
    return age, gender_method or (method if method in GENDER_METHODS else "auto")


def _refuse_overwriting(output: Path, beside: Path, *inputs: Path | None) -> None:
    from annotator.errors import InputError

    taken = {path.resolve() for path in inputs if path is not None}
    for path in (output, beside):
        if path.resolve() in taken:
            raise InputError(f"{path} is an input; give another name with -o")


def _summary(table: VoteTable, controls: ControlTable | None, consensus: Consensus, seed: int) -> dict[str, Any]:
    """What is worth knowing about the result, as JSON-able values."""
    import numpy as np

    from annotator.errors import InputError
    from annotator.voting.agreement import intraclass_correlation
    from annotator.voting.stopping import next_step

    try:
        agreement = intraclass_correlation(table).icck
    except InputError:  # nobody was seen twice: there is no agreement to speak of
        agreement = None
    steps, counts = np.unique(next_step(consensus).astype(str), return_counts=True)
    return {
        "votes": int(consensus.votes.sum()),
        "people": len(consensus.person_ids),
        "annotators": len(consensus.annotators.annotator_ids),
        "age_method": consensus.age_method,
        "gender_method": consensus.gender_method,
        "notes": list(consensus.notes),
        "without_age": int(np.isnan(consensus.age).sum()),
        "without_gender": int((consensus.gender < 0).sum()),
        "next": dict(zip(steps.tolist(), counts.tolist(), strict=True)),
        "icc_2k": agreement,
        "held_out": None if controls is None else _held_out(table, controls, consensus, seed),
    }


def _held_out(table: VoteTable, controls: ControlTable, consensus: Consensus, seed: int) -> dict[str, Any]:
    """The methods' own score on controls that their weights did not see; ``None`` for what was not measured."""
    import math

    from annotator.voting.validation import held_out_score

    score = held_out_score(
        table, controls, age_method=consensus.age_method, gender_method=consensus.gender_method, seed=seed
    )
    return {
        "age_people": score.age_people,
        "age_mae": None if math.isnan(score.age_mae) else score.age_mae,
        "gender_people": score.gender_people,
        "gender_accuracy": None if math.isnan(score.gender_accuracy) else score.gender_accuracy,
    }


def _print_json(summary: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(summary, indent=2))


def _print_summary(summary: dict[str, Any]) -> None:
    for note in summary["notes"]:
        typer.echo(f"note: {note}")
    votes, people = _count(summary["votes"], "vote", "votes"), _count(summary["people"], "person", "people")
    typer.echo(f"{votes} by {_count(summary['annotators'], 'annotator', 'annotators')} on {people}")
    typer.echo(f"ages by {summary['age_method']}, genders by {summary['gender_method']}")
    if summary["without_age"] or summary["without_gender"]:
        typer.echo(
            f"without an age: {summary['without_age']:,}, without a settled gender: {summary['without_gender']:,}"
        )
    if summary["icc_2k"] is not None:
        typer.echo(f"agreement on ages: ICC(2,k) {summary['icc_2k']:.2f}")
    if summary["held_out"] is not None:
        typer.echo(f"on controls that the weights did not see: {_held_out_text(summary['held_out'])}")
    steps = ", ".join(f"{count:,} {step}" for step, count in sorted(summary["next"].items(), reverse=True))
    typer.echo(f"by the stopping rule: {steps}")
    typer.echo(f"wrote {' and '.join(summary['written'])}")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _held_out_text(score: dict[str, Any]) -> str:
    parts = []
    if score["age_mae"] is not None:
        parts.append(f"MAE {score['age_mae']:.2f} years ({score['age_people']:,} people)")
    if score["gender_accuracy"] is not None:
        parts.append(f"gender {score['gender_accuracy']:.1%} ({score['gender_people']:,} people)")
    return ", ".join(parts) or "nothing, none of the control people has enough votes"
