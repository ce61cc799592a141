"""A table of the paper, whole: what can be measured is, what cannot says why."""

from __future__ import annotations

from dataclasses import dataclass, field

from annotator.errors import AnnotatorError
from annotator.evaluation.measuring import Row
from annotator.evaluation.paper import PaperRow, PaperTable
from annotator.pipeline.evaluate.benchmark import Evaluation, Place, Request, absent, evaluate, load_benchmark
from annotator.pipeline.evaluate.variants import Variant, open_variants
from annotator.pipeline.watch import SILENT, Watch
from annotator.protocols.catalogue import Benchmark, find_benchmark
from annotator.settings import Settings


@dataclass(slots=True)
class TableResult:
    """A table with its measured rows and the reasons for the missing ones, both by the row's number."""

    table: PaperTable
    measured: dict[int, Row] = field(default_factory=dict)
    missing: dict[int, list[str]] = field(default_factory=dict)
    evaluations: list[Evaluation] = field(default_factory=list)

    @property
    def partial(self) -> bool:
        """Whether a benchmark was run on a part of its people."""
        return any(one.loaded.partial for one in self.evaluations)


def run_table(table: PaperTable, request: Request, settings: Settings, *, watch: Watch = SILENT) -> TableResult:
    """Runs what the table needs, benchmark by benchmark, each in one pass over its images."""
    result = TableResult(table)
    for name in table.benchmarks:
        rows = {n: row for n, row in enumerate(table.rows) if row.published.benchmark == name and row.predictors}
        if rows:
            _run_benchmark(find_benchmark(name), rows, request, settings, result, watch)
    return result


def place_of(benchmark: Benchmark, settings: Settings) -> Place:
    """Where a benchmark's folder is expected."""
    return Place(settings.path(settings.benchmarks_dir) / benchmark.place)


def _run_benchmark(
    benchmark: Benchmark,
    rows: dict[int, PaperRow],
    request: Request,
    settings: Settings,
    result: TableResult,
    watch: Watch,
) -> None:
    place = place_of(benchmark, settings)
    variants, chosen = _variants(rows, request, settings, result)
    problem = absent(benchmark, place.folder)
    if problem:
        for number in rows:
            result.missing[number] = [problem, *result.missing.get(number, [])]
        return
    if not variants:
        return
    try:
        found = evaluate(load_benchmark(benchmark, place, request), variants, request, settings, watch=watch)
    except AnnotatorError as error:
        result.missing |= {number: [str(error)] for number in chosen}
        return
    result.evaluations.append(found)
    for number, variant in chosen.items():
        row = next(row for row in found.rows if (row.predictor, row.inputs) == (variant.name, variant.inputs))
        if row.n:
            result.measured[number] = row
        else:
            states = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in row.dropped.items())
            result.missing[number] = [f"{row.predictor} had no answer for anybody: {states}"]


def _variants(
    rows: dict[int, PaperRow], request: Request, settings: Settings, result: TableResult
) -> tuple[list[Variant], dict[int, Variant]]:
    """Each row's variant, those of one predictor sharing weights; a row whose predictor is not here is missing.

    Of several predictors that stand for one model the first that is here counts.
    """
    opened: dict[tuple[str, str], Variant] = {}
    chosen = {}
    for number, row in rows.items():
        reasons = []
        for name in row.predictors:
            try:
                chosen[number] = _variant(opened, name, row.inputs, rows, request, settings)
                break
            except AnnotatorError as error:
                reasons.append(str(error))
        else:
            result.missing[number] = reasons[:1]
    return list({(one.name, one.inputs): one for one in chosen.values()}.values()), chosen


def _variant(
    opened: dict[tuple[str, str], Variant],
    name: str,
    inputs: str,
    rows: dict[int, PaperRow],
    request: Request,
    settings: Settings,
) -> Variant:
    """The variant of a predictor, opened with all inputs that the table wants of it.

    Raises:
        UnknownName, WeightsMissing, ConfigurationError: as `open_variants`.
    """
    if (name, inputs) not in opened:
        wanted = list(dict.fromkeys(row.inputs for row in rows.values() if name in row.predictors))
        found = open_variants([name], wanted, settings, crops=request.crops, answer=request.answer)
        opened |= {(one.name, one.inputs): one for one in found}
    return opened[name, inputs]
