"""`annotator train`: datasets become better models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from annotator.cli.output import print_json

if TYPE_CHECKING:
    from annotator.training.mivolo.recipe import Recipe
    from annotator.training.mivolo.train import Result

train = typer.Typer(help="Train models from exported datasets.", no_args_is_help=True, rich_markup_mode=None)

DATASET = typer.Argument(metavar="DATASET", help="A folder that annotator export wrote, with a split.")
OUT = typer.Argument(metavar="OUT", help="A new folder, or one of the same run, which then goes on.")


@train.command("mivolo")
def train_mivolo(
    dataset: Annotated[Path, DATASET],
    out: Annotated[Path, OUT],
    size: Annotated[str, typer.Option(help="mivolo_d1_384, mivolo_d1_224 or tiny.")] = "mivolo_d1_384",
    init: Annotated[
        str | None, typer.Option(metavar="imagenet|random|FILE", help="What stage 1 (or the only stage) starts from.")
    ] = None,
    stage: Annotated[
        int | None, typer.Option(min=1, max=2, help="1: face only; 2: face and body; without it 1, then 2 from it.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps of each stage.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples of one pass.")] = None,
    accumulate: Annotated[int, typer.Option(min=1, help="Passes of one optimizer step.")] = 1,
    rate: Annotated[float | None, typer.Option(min=0, help="Highest learning rate.")] = None,
    blur: Annotated[float | None, typer.Option(min=0, max=1, help="Probability of a blurred face in stage 2.")] = None,
    evaluate_every: Annotated[int | None, typer.Option(min=1, help="Steps between evaluations and saves.")] = None,
    precision: Annotated[str, typer.Option(help="no, bf16 or fp16 (AMP).")] = "no",
    device: Annotated[str, typer.Option(help="auto or cpu; several GPUs by accelerate launch.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that cut and change crops.")] = 0,
    cache_gb: Annotated[float, typer.Option(min=0, help="Crops are kept on disk where they fit into this.")] = 8.0,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train MiVOLO from a LAGENDA dataset: face only first, then face and body; killed, the same command goes on.

    Example: annotator train mivolo dataset mivolo-may --size mivolo_d1_384 --precision bf16 --workers 8
    """
    from annotator.training.mivolo.recipe import usual
    from annotator.training.mivolo.train import Place, train_stage
    from annotator.training.people import read_dataset

    people = read_dataset(dataset)
    given = {
        "steps": steps, "batch": batch, "rate": rate, "evaluate_every": evaluate_every, "init": init,
        "accumulate": accumulate, "precision": precision, "seed": seed,
    }  # fmt: skip
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    results: dict[str, Result] = {}
    source: str | None = None
    for number in (1, 2) if stage is None else (stage,):
        recipe = _with_blur(replace(usual(number, size), **chosen), blur)
        recipe = recipe if source is None else replace(recipe, init=source)
        place = Place(
            out / "stage-1" if stage is None and number == 1 else out,
            device,
            workers,
            cache_gb * 1e9,
            lambda text, number=number: typer.echo(f"stage {number}: {text}", err=True),  # type: ignore[misc]
        )
        results[f"stage {number}"] = train_stage(people, recipe, place)
        source = str(place.out / "model.pth.tar")
    if as_json:
        print_json({name: _facts(result) for name, result in results.items()})
        return
    for name, result in results.items():
        figures = ", ".join(f"{what} {value:.3f}" for what, value in result.scores.items())
        typer.echo(f"{name}: best after {result.step:,} steps: {figures}; {result.samples_per_second:g} samples/s")
    typer.echo(f"use it as mivolo:{result.model}")


def _facts(result: Result) -> dict[str, Any]:
    return {
        "model": str(result.model),
        "step": result.step,
        "scores": result.scores,
        "samples_per_second": result.samples_per_second,
    }


def _with_blur(recipe: Recipe, blur: float | None) -> Recipe:
    """The second stage's probability; the first one's is fixed."""
    if blur is None or recipe.stage == 1:
        return recipe
    return replace(recipe, augmentation=replace(recipe.augmentation, blur=blur))
