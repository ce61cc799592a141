"""`annotator evaluate`: predictors on a benchmark, measured beside published."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from annotator.cli.output import watching

if TYPE_CHECKING:
    from annotator.pipeline.evaluate.benchmark import Request
    from annotator.settings import Settings


class BenchmarkName(StrEnum):
    """What `--benchmark` takes."""

    LAGENDA = "lagenda"
    NANOLAGENDA = "nanolagenda"
    IMDB_CLEAN = "imdb-clean"
    ADIENCE = "adience"
    FAIRFACE = "fairface"
    CACD = "cacd"
    AGEDB = "agedb"
    WILD104 = "wild104"
    DEMO = "demo"
    CUSTOM = "custom"


class InputsName(StrEnum):
    """What `--inputs` takes."""

    BODY_FACE = "body+face"
    BODY = "body"
    FACE = "face"
    NO_FACE = "no-face"


class CropsName(StrEnum):
    """What `--crops` takes."""

    DATASET = "dataset"
    INFERENCE = "inference"


class AnswerName(StrEnum):
    """What `--answer` takes."""

    GREEDY = "greedy"
    MEDIAN = "median"


def evaluate(
    context: typer.Context,
    benchmark: Annotated[BenchmarkName | None, typer.Option(help="Which benchmark to run.")] = None,
    table: Annotated[
        int | None,
        typer.Option(min=1, max=10, metavar="N", help="Run what a table of the paper needs; print it whole."),
    ] = None,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Which predictor suits your own control set (--annotations).")
    ] = False,
    annotations: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Annotations in LAGENDA columns, instead of the folder's.")
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the image names start.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder of all benchmarks; else the setting benchmarks_dir.")
    ] = None,
    predictor: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A predictor instead of the profile's; repeatable.")
    ] = None,
    inputs: Annotated[list[InputsName] | None, typer.Option(help="What predictors see; repeatable.")] = None,
    crops: Annotated[
        CropsName | None,
        typer.Option(help="MiVOLO's crops: as the reference evaluates, or as pre-labelling (usual for custom)."),
    ] = None,
    answer: Annotated[
        AnswerName | None,
        typer.Option(help="Age of multimodal models: the paper's greedy answer (usual but for custom) or the median."),
    ] = None,
    stands_for: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="MODEL=NAME", help="A predictor of yours for a model of the paper; repeatable."),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Run on a folder that is not whole, marked so.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many people, marked so.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of NanoLAGENDA's list.")] = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Where to write; else evaluation/BENCHMARK.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only read and check the folder.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="What each benchmark needs, and which are here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; shares from 0 to 1.")] = False,
) -> None:
    """Run predictors on a benchmark and print each measured row beside the published one.

    Example: annotator evaluate --benchmark lagenda --predictor mivolo-v2-384 --inputs body+face
    """
    from annotator.cli import evaluate_print
    from annotator.pipeline.evaluate.benchmark import Request

    settings = _settings(context, predictor, data)
    if list_all:
        evaluate_print.print_list(settings)
        return
    chosen = _one_task(benchmark, table, recommend, annotations)
    own = chosen is BenchmarkName.CUSTOM
    request = Request(
        crops=(crops or (CropsName.INFERENCE if own else CropsName.DATASET)).value,
        answer=answer.value if answer else None if own else "greedy",
        partial=partial,
        limit=limit,
        seed=seed,
        cross_fit=recommend,
    )
    if chosen is None:
        _table(table or 0, stands_for or [], request, settings, out, as_json)
        return
    kinds = [one.value for one in inputs or [InputsName.BODY_FACE]]
    _benchmark(chosen, annotations, images, kinds, request, settings, out, check=check, as_json=as_json)


def _one_task(
    benchmark: BenchmarkName | None, table: int | None, recommend: bool, annotations: Path | None
) -> BenchmarkName | None:
    """The benchmark to run, ``None`` for a table."""
    if table is not None:
        if benchmark is not None or recommend:
            raise typer.BadParameter("--table runs its own benchmarks; leave out --benchmark and --recommend")
        return None
    if benchmark is None and (recommend or annotations is not None):
        benchmark = BenchmarkName.CUSTOM
    if benchmark is None:
        raise typer.BadParameter("name one with --benchmark or --table, or see --list")
    if benchmark is BenchmarkName.CUSTOM and annotations is None:
        raise typer.BadParameter("your own data needs --annotations CSV")
    return benchmark


def _benchmark(
    name: str,
    annotations: Path | None,
    images: Path | None,
    inputs: list[str],
    request: Request,
    settings: Settings,
    out: Path | None,
    *,
    check: bool,
    as_json: bool,
) -> None:
    from annotator.cli import evaluate_print
    from annotator.pipeline.evaluate.benchmark import Place, evaluate, load_benchmark
    from annotator.pipeline.evaluate.files import write_evaluation
    from annotator.pipeline.evaluate.page import benchmark_page
    from annotator.pipeline.evaluate.recommend import recommend
    from annotator.pipeline.evaluate.tables import place_of
    from annotator.pipeline.evaluate.variants import open_variants, usual_predictors
    from annotator.protocols.catalogue import find_benchmark

    found = find_benchmark(name)
    loaded = load_benchmark(found, Place(place_of(found, settings).folder, annotations, images), request)
    if check:
        evaluate_print.print_check(loaded)
        return
    variants = open_variants(usual_predictors(settings), inputs, settings, crops=request.crops, answer=request.answer)
    with watching() as watch:
        result = evaluate(loaded, variants, request, settings, watch=watch)
        specs = [one.spec for one in variants]
        variants.clear()  # the models' memory is wanted for the processes that are timed
        advice = recommend(result, specs, request, settings, watch=watch) if request.cross_fit else []
    folder = out or Path("evaluation") / found.name
    written = write_evaluation(result, folder, benchmark_page(result, settings), advice)
    if as_json:
        typer.echo(written.json_text)
        return
    evaluate_print.print_evaluation(result, folder)
    for one in advice:
        evaluate_print.print_advice(one)


def _table(
    number: int, stands_for: list[str], request: Request, settings: Settings, out: Path | None, as_json: bool
) -> None:
    from annotator.cli import evaluate_print
    from annotator.errors import InputError
    from annotator.evaluation.paper import paper_table
    from annotator.pipeline.evaluate.files import write_table
    from annotator.pipeline.evaluate.tables import run_table

    table = paper_table(number, _named(stands_for))
    with watching() as watch:
        result = run_table(table, request, settings, watch=watch)
    written = write_table(result, out or Path("evaluation") / f"table-{number}", settings)
    if as_json:
        typer.echo(written.json_text)
    else:
        evaluate_print.print_table(result, written.folder)
    if not result.measured:
        raise InputError(f"nothing of table {number} could be measured here; the table says what is missing")


def _named(stands_for: list[str]) -> dict[str, str]:
    """``MODEL=NAME`` as a mapping."""
    pairs = [text.rpartition("=") for text in stands_for]
    for text, (model, _, name) in zip(stands_for, pairs, strict=True):
        if not model or not name:
            raise typer.BadParameter(f"--as '{text}' is not MODEL=NAME, such as 'ShareGPT4V 7B FT=my-model'")
    return {model: name for model, _, name in pairs}


def _settings(context: typer.Context, predictors: list[str] | None, data: Path | None) -> Settings:
    """The project's settings, or the usual ones where there is no project: a benchmark needs none."""
    from annotator.errors import ProjectNotFound
    from annotator.settings import find_project, load_settings

    overrides = {"predictors": predictors or None, "benchmarks_dir": None if data is None else data.absolute()}
    try:
        root = find_project(context.obj)
    except ProjectNotFound:
        if context.obj is not None:
            raise
        root = Path()
    return load_settings(root, **overrides)
