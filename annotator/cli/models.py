"""`annotator models`: which predictors and detectors exist, and getting their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import plural, print_json, watching
from annotator.cli.project import project_settings

if TYPE_CHECKING:
    from annotator.evaluation.bootstrap import Interval
    from annotator.pipeline.promote import Promotion
    from annotator.pipeline.watch import Watch
    from annotator.predictors.listing import Listed
    from annotator.settings import Settings

models = typer.Typer(help="Which models exist, and their weights.", no_args_is_help=True, rich_markup_mode=None)


@models.command("list")
def list_models(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the named models, their licences and whether their weights are here.

    Example: annotator models list
    """
    from annotator.predictors.listing import listing

    rows = listing(own_settings(context))
    if as_json:
        print_json([row.as_dict() for row in rows])
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        typer.echo(f"{row.name:{width}}  {row.kind:9}  {_where(row):20}  {_memory(row):12}  {_source(row)}")
    typer.echo(f"{plural(len(rows), 'model')}; own weights are named FAMILY:PATH, such as mivolo:/models/mine.pth.tar")


def _where(row: Listed) -> str:
    return row.state if row.gigabytes is None or row.is_here else f"{row.state}, {row.gigabytes:g} GB"


def _memory(row: Listed) -> str:
    return "" if row.memory_gb is None else f"runs in {row.memory_gb:g} GB"


def _source(row: Listed) -> str:
    revision = "" if row.revision is None else f"@{row.revision[:12]}" if row.pinned else f"@{row.revision}, unpinned"
    return f"{row.licence}; {row.repository}{revision}" if row.repository else row.licence


@models.command("pull")
def pull_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of annotator models list.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="PLACE", help="Take it from this folder or file, without network.")
    ] = None,
) -> None:
    """Download a model's weights from the Hugging Face hub (HF_ENDPOINT: a mirror), once, and check their sha256.

    Example: annotator models pull mivolo-v2-384
    """
    from annotator.predictors.pull import pull

    with watching() as watch:
        watch.begin("megabytes")
        folder = pull(name, own_settings(context), watch.note, _megabytes(watch), source)
    typer.echo(f"the weights of {name} are in {folder}")


def _megabytes(watch: Watch) -> Callable[[int], None]:
    """A function that takes bytes, as they come, and tells ``watch`` of each whole megabyte."""
    total = said = 0

    def count(more: int) -> None:
        nonlocal total, said
        total += more
        watch.step(total // 1_000_000 - said)
        said = total // 1_000_000

    return count


@models.command("convert")
def convert_model(
    src: Annotated[Path, typer.Argument(help="Folder of a ShareGPT4V or LLaVA-1.5 reference checkpoint.")],
    out: Annotated[Path, typer.Argument(help="The folder to write, not there yet.")],
    vision_tower: Annotated[
        Path | None,
        typer.Option("--vision-tower", metavar="DIR", help="Folder of its CLIP tower, where it lies apart."),
    ] = None,
) -> None:
    """Turn a reference checkpoint into the llava-hf layout that transformers and vLLM load.

    Example: annotator models convert ShareGPT4V-7B llava-sharegpt4v-7b --vision-tower vit-large336-l12
    """
    from annotator.predictors.llava.convert import convert

    done = convert(src, out, vision_tower)
    typer.echo(f"vision tower: {done.vision_tower}; image token {done.image_token_id} of {done.vocabulary}")
    typer.echo(f"{done.tensors} tensors are in {done.folder}; name them llava:{done.folder}")


@models.command("verify")
def verify_model(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names, or FAMILY:PATH.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check weights: files against the record of their pull, every key against the architecture; print the sha256.

    Example: annotator models verify mivolo-v2-384
    """
    from annotator.predictors.verify import verify

    settings = own_settings(context)
    results = [verify(name, settings) for name in names]
    if as_json:
        print_json([result.as_dict() for result in results])
        return
    for result in results:
        loads = "not loaded" if result.parameters is None else f"{result.parameters:,} parameters, every key fits"
        files = "no record of a pull" if result.compared is None else f"{plural(result.compared, 'file')} as pulled"
        typer.echo(f"{result.name}  sha256 {result.sha256}  {loads}, {files}")
    typer.echo(f"{plural(len(results), 'model')} verified")


def own_settings(context: typer.Context) -> Settings:
    """Those of the project, or the defaults where there is none: models are shared by projects."""
    from annotator.errors import ProjectNotFound
    from annotator.settings import Settings

    try:
        return project_settings(context)
    except ProjectNotFound:
        return Settings()


@models.command("register")
def register_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of your own.")],
    weights: Annotated[str, typer.Argument(metavar="FAMILY:PATH", help="As annotator train printed it.")],
    dataset: Annotated[Path, typer.Option("--dataset", metavar="DATASET", help="What it was trained on.")],
    replaces: Annotated[str, typer.Option("--replaces", metavar="PREDICTOR", help="Whose place it may take.")],
) -> None:
    """List a trained model with the dataset that it learnt from; it is used once it is promoted.

    Example: annotator models register may mivolo:mivolo-may/model.pth.tar --dataset dataset --replaces mivolo-v2-384
    """
    from annotator.cli.project import project_store
    from annotator.export.reading import checked_manifest
    from annotator.pipeline.promote import register
    from annotator.predictors.trained import Trained

    settings = project_settings(context)
    family, colon, path = weights.partition(":")
    if not colon or family not in ("mivolo", "llava"):
        raise typer.BadParameter("weights are named mivolo:PATH or llava:PATH")
    identity = checked_manifest(dataset)["id"]
    with project_store(settings) as store:
        model = Trained(
            name, family, str(Path(path).resolve()), "", identity, replaces, learnt_from=str(dataset.resolve())
        )
        model = register(store, settings, model)
    typer.echo(f"{name}: sha256 {model.sha256[:12]}, trained on dataset {identity[:12]}, may replace {replaces}")


@models.command("promote")
def promote_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")],
    dataset: Annotated[Path, typer.Option("--dataset", metavar="DATASET", help="A LAGENDA dataset; its test split.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Use a trained model from now on, if it is not worse on held-out people than the one in its place.

    Example: annotator models promote may --dataset dataset
    """
    from annotator.cli.project import project_store
    from annotator.pipeline.promote import promote

    settings = project_settings(context)
    with project_store(settings) as store:
        found = promote(store, settings, name, dataset)
    if as_json:
        print_json(found)
    else:
        for line in promotion_lines(found):
            typer.echo(line)
    if not found.accepted:
        raise typer.Exit(1)


def promotion_lines(found: Promotion) -> list[str]:
    """What a promotion found, for people."""
    age, gender = found.age.difference, found.gender.difference
    shares = f"{found.before['gender_accuracy']:.1%} -> {found.scores['gender_accuracy']:.1%}"
    unknown = [f"what {name} learnt from is not there: it may have seen these people" for name in found.unknown]
    return [
        f"{plural(found.people, 'held-out person', 'held-out people')}: {found.incumbent} against {found.name}",
        f"MAE {found.before['mae']:.2f} -> {found.scores['mae']:.2f}, by {age.value:+.2f} years, {_interval(age)}",
        f"gender {shares}, errors by {gender.value:+.3f}, {_interval(gender)}",
        *unknown,
        f"{found.why}: " + (f"{found.name} is used from now on" if found.accepted else "nothing changes"),
    ]


def _interval(found: Interval) -> str:
    return f"95 % interval {found.low:+.3g} to {found.high:+.3g}"
