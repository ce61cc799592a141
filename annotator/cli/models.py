"""`annotator models`: which predictors and detectors exist, and getting their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import plural, print_json, watching
from annotator.cli.project import project_settings

if TYPE_CHECKING:
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
