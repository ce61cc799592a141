"""`annotator train`: datasets become better models."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from annotator.cli.output import plural, print_json
from annotator.errors import InputError

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
    from annotator.training.processes import leave
    from annotator.training.stored import CROPS_NAME

    _check_out(out)
    _one_of(precision, "no", "bf16", "fp16")
    _one_of(device, "auto", "cpu")
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
            out / CROPS_NAME,
            partial(_say, number),
        )
        results[f"stage {number}"] = train_stage(people, recipe, place)
        source = str(place.out / "model.pth.tar")
    if not leave():
        return
    if as_json:
        print_json({name: _facts(result) for name, result in results.items()})
        return
    for name, result in results.items():
        figures = ", ".join(f"{what} {value:.3f}" for what, value in result.scores.items())
        best = plural(result.step, "step")
        typer.echo(f"{name}: best after {best}: {figures}; {result.samples_per_second:g} samples/s")
    typer.echo(f"use it as mivolo:{result.model}")


@train.command("mllm")
def train_mllm(
    context: typer.Context,
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A llava dataset with a split.")],
    out: Annotated[Path, OUT],
    base: Annotated[str, typer.Option("--from", metavar="NAME|FOLDER", help="A named model, or a llava-hf folder.")],
    method: Annotated[str, typer.Option(help="full, lora, or qlora (4-bit base, for one GPU).")] = "full",
    epochs: Annotated[float, typer.Option(min=0, help="Times through the training split.")] = 1.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps, instead of epochs.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Conversations of one pass on one device.")] = 32,
    accumulate: Annotated[int, typer.Option(min=1, help="Passes of one step.")] = 1,
    rate: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 2e-6,
    save_steps: Annotated[int, typer.Option(min=1, help="Steps between checkpoints; each is evaluated.")] = 450,
    patience: Annotated[int, typer.Option(min=1, help="Evaluations without a better one before it stops.")] = 4,
    people: Annotated[int, typer.Option(min=1, help="People of the validation split that are asked.")] = 2000,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Less memory, a third more time.")] = False,
    device: Annotated[str, typer.Option(help="auto or cpu; several GPUs by accelerate launch.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 0,
    cache_gb: Annotated[float, typer.Option(min=0, help="Pictures are kept on disk where they fit into this.")] = 8.0,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fine-tune a LLaVA or ShareGPT4V on the paper's question; killed, the same command goes on.

    Example: annotator train mllm dataset-llava mllm-may --from sharegpt4v-7b --method qlora --precision bfloat16
    """
    from annotator.training.mllm.conversations import read_conversations
    from annotator.training.mllm.recipe import Recipe
    from annotator.training.mllm.train import fine_tune
    from annotator.training.processes import leave

    _check_out(out)
    _one_of(device, "auto", "cpu")
    recipe = Recipe(
        str(_base(context, base)), _one_of(method, "full", "lora", "qlora"), epochs, steps, batch, accumulate, rate,
        save_steps=save_steps, patience=patience, validation_people=people,
        precision=_one_of(precision, "float32", "bfloat16"), checkpointing=checkpointing, seed=seed,
    )  # fmt: skip
    result = fine_tune(
        read_conversations(dataset), recipe, out, device=device, workers=workers, cache_bytes=cache_gb * 1e9,
        say=lambda text: typer.echo(text, err=True),
    )  # fmt: skip
    if not leave():
        return
    if as_json:
        print_json(result)
        return
    typer.echo(f"best after {plural(result.step, 'step')}: MAE {result.mae:.2f}, gender {result.gender_accuracy:.1%}")
    typer.echo(f"use it as llava:{result.model}")


def _base(context: typer.Context, name: str) -> Path:
    """The folder of a named model, or the folder itself."""
    from annotator.cli.models import own_settings
    from annotator.predictors.places import locate

    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{folder} is a file; --from takes the folder that holds the model: {folder.parent}")
    if len(folder.parts) > 1 and ":" not in name:
        raise InputError(f"there is no folder {folder}; --from takes a llava-hf folder or a named model")
    return locate(name, "predictor", own_settings(context)).path


def _check_out(out: Path) -> None:
    """A run has a folder of its own."""
    from annotator.export.manifest import MANIFEST_NAME

    if out.is_file():
        raise InputError(f"{out} is a file; OUT is a folder, a new one or that of the same run")
    if (out / MANIFEST_NAME).exists():
        raise InputError(f"{out} holds a dataset; name another folder for the run")


def _one_of(value: str, *known: str) -> Any:
    if value not in known:
        raise typer.BadParameter(f"'{value}' is none of {', '.join(known)}")
    return value


@train.command("configs")
def train_configs() -> None:
    """List the accelerate configurations for several GPUs: FSDP and DeepSpeed, for 7B and 13B models.

    Example: annotator train configs
    """
    from annotator.training import configs

    for path in configs():
        typer.echo(str(path))


def _facts(result: Result) -> dict[str, Any]:
    return {
        "model": str(result.model),
        "step": result.step,
        "scores": result.scores,
        "samples_per_second": result.samples_per_second,
    }


def _say(stage: int, text: str) -> None:
    typer.echo(f"stage {stage}: {text}", err=True)


def _with_blur(recipe: Recipe, blur: float | None) -> Recipe:
    """The second stage's probability; the first one's is fixed."""
    if blur is None or recipe.stage == 1:
        return recipe
    return replace(recipe, augmentation=replace(recipe.augmentation, blur=blur))
