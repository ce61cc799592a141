"""`annotator triage`: a table of predictions becomes a table of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from annotator.domain import Evidence, Fused, PreLabel, Truth
    from annotator.ensemble.model import Fit
    from annotator.ensemble.review_curve import ReviewCurve


def triage(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS.csv",
            help="Columns person_id,predictor,age,gender; optional age_sd,female_probability,face.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="VERDICTS.csv", help="One row per person.")],
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="TRUTH.csv",
            help="People drawn at random whose truth is known: columns person_id,age,gender. The ensemble is "
            "calibrated on them, and each of them is judged by a model that did not see them.",
        ),
    ] = None,
    review_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of the people that goes to review.")] = 0.2,
    target_error: Annotated[
        float | None, typer.Option(min=0, help="Review everyone expected to err by more years, instead of a share.")
    ] = None,
    audit_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Random share of the others that goes to review, too.")
    ] = 0.02,
    seed: Annotated[int, typer.Option(help="Decides the audit and the folds.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON; shares from 0 to 1.")] = False,
) -> None:
    """Fuse several predictors, say how far each person may be off, and choose whom a human should look at.

    Example: annotator triage predictions.csv -o verdicts.csv --truth truth.csv --review-rate 0.2
    """
    from annotator.ensemble.files import read_evidence, write_verdicts
    from annotator.ensemble.review_curve import RATES, review_curve
    from annotator.ensemble.verdicts import triage as judge

    _refuse_overwriting(output, predictions, truth)
    people = read_evidence(predictions)
    known = {} if truth is None else _read_truth(truth)
    fused, fit, notes = _fuse(people, known, seed)
    verdicts = judge(fused, review_rate=review_rate, audit_rate=audit_rate, seed=seed, target_error=target_error)
    rates = sorted({*RATES, review_rate} - {0.0}) if target_error is None else RATES
    curve = review_curve(verdicts, known, seed=seed, rates=rates)
    write_verdicts(output, verdicts)
    summary = _summary(verdicts, fit, notes, curve, output)
    if as_json:
        from annotator.cli.output import print_json

        print_json(summary)
    else:
        _print_summary(summary)


def _refuse_overwriting(output: Path, *inputs: Path | None) -> None:
    from annotator.errors import InputError

    if output.resolve() in {path.resolve() for path in inputs if path is not None}:
        raise InputError(f"{output} is an input; give another name with -o")


def _read_truth(path: Path) -> dict[str, Truth]:
    from annotator.domain import Gender, Truth
    from annotator.voting.files import read_truth

    table = read_truth(path)
    genders = (Gender.MALE, Gender.FEMALE, None)  # codes 0, 1 and -1
    return {
        name: Truth(None if age != age else age, genders[code])
        for name, age, code in zip(table.person_ids, table.age.tolist(), table.gender.tolist(), strict=True)
    }


def _fuse(
    people: Sequence[Evidence], truth: Mapping[str, Truth], seed: int
) -> tuple[list[Fused], Fit | None, list[str]]:
    """Everybody's fused opinion, the fit behind it where there is one, and what the user should know."""
    from annotator.ensemble.fitting import MIN_AGES, count_usable, cross_fuse
    from annotator.ensemble.fusion import fuse

    notes = []
    strangers = len(truth.keys() - {person.person_id for person in people})
    if strangers:
        notes.append(f"{strangers:,} people have a truth but no prediction; they are left out")
    usable = count_usable(people, truth)
    if usable >= MIN_AGES:
        fit, fused = cross_fuse(people, truth, seed=seed)
        return fused, fit, notes
    if truth:
        notes.append(f"{usable:,} people have a true age and a prediction; calibration needs at least {MIN_AGES}")
    return fuse(people), None, notes


def _summary(
    verdicts: Sequence[PreLabel], fit: Fit | None, notes: list[str], curve: ReviewCurve, output: Path
) -> dict[str, Any]:
    """What is worth knowing about the result, as JSON-able values."""
    from collections import Counter
    from dataclasses import asdict

    from annotator.domain import ReviewReason
    from annotator.ensemble.published import UNCALIBRATED

    reasons = Counter(str(reason) for one in verdicts for reason in one.reasons)
    audit = reasons[str(ReviewReason.AUDIT)]
    return {
        "people": len(verdicts),
        "review": sum(one.review for one in verdicts) - audit,
        "audit": audit,
        "without_age": sum(one.fused.age is None for one in verdicts),
        "reasons": dict(reasons.most_common()),
        "fit": fit.version if fit else UNCALIBRATED,
        "calibrated_on": {"people": fit.people, "ages": fit.ages, "genders": fit.genders} if fit else None,
        "scores": asdict(fit.scores) if fit else None,
        "notes": notes,
        "written": str(output),
        "curve": asdict(curve),
    }


def _print_summary(summary: dict[str, Any]) -> None:
    from annotator.cli.output import counted, plural

    for note in summary["notes"]:
        typer.echo(f"note: {note}")
    typer.echo(
        f"{plural(summary['people'], 'person', 'people')}: {summary['review']:,} to review, "
        f"{summary['audit']:,} more for the random audit"
    )
    if summary["reasons"]:
        typer.echo(f"reasons: {counted(summary['reasons'])}")
    if summary["without_age"]:
        typer.echo(f"{summary['without_age']:,} people without an age from any predictor; all of them go to review")
    if summary["scores"]:
        _print_scores(summary)
    else:
        typer.echo(
            "uncalibrated: errors as published by others, not measured on your photos; give --truth to calibrate"
        )
    typer.echo(f"wrote {summary['written']}")
    _print_curve(summary["curve"])


def _print_scores(summary: dict[str, Any]) -> None:
    scores, on = summary["scores"], summary["calibrated_on"]
    typer.echo(f"calibrated as {summary['fit']} on {on['ages']:,} true ages and {on['genders']:,} true genders")
    by_predictor = ", ".join(f"{name} {mae:.2f}" for name, mae in sorted(scores["predictor_mae"].items()))
    typer.echo(
        f"out of fold: MAE {scores['fused_mae']:.2f} years ({by_predictor}), "
        f"errors correlated {scores['correlation']:.2f}, 90 % intervals cover {scores['coverage']:.1%}"
    )
    if scores["gender_accuracy"] is not None:
        typer.echo(f"out of fold: gender {scores['gender_accuracy']:.1%}")


def _print_curve(curve: dict[str, Any]) -> None:
    """The last lines: what each share of review buys."""
    if curve["measured"]:
        typer.echo(f"measured on {curve['people']:,} people, {curve['large']:,.0f} of them off by more than 5 years:")
    else:
        typer.echo(f"expected, not measured; about {curve['large']:,.0f} people may be off by more than 5 years:")
    for point in curve["points"]:
        interval = "" if point["low"] is None else f" [{point['low']:.0%}, {point['high']:.0%}]"
        typer.echo(f"  review {point['rate']:4.0%}, catch {point['caught']:4.0%}{interval} of the errors above 5 years")
