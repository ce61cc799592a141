"""From a folder to rows, files, a page and a table of the paper."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import InputError, StorageError
from annotator.evaluation.paper import paper_table
from annotator.pipeline.evaluate.benchmark import Evaluation, Place, Request, evaluate, load_benchmark
from annotator.pipeline.evaluate.ensembles import FITTED
from annotator.pipeline.evaluate.files import NANO_LIST, write_evaluation, write_table
from annotator.pipeline.evaluate.page import benchmark_page
from annotator.pipeline.evaluate.tables import run_table
from annotator.pipeline.evaluate.variants import Variant
from annotator.protocols.catalogue import BENCHMARKS, find_benchmark
from annotator.settings import Settings
from tests.helpers.benchmark_folders import HEADER, LAYOUTS, write_csv
from tests.helpers.models import MeanPredictor

Make = Callable[..., Variant]
PARTIAL = Request(partial=True)


def run(name: str, place: Place, variants: list[Variant], settings: Settings, request: Request = PARTIAL) -> Evaluation:
    return evaluate(load_benchmark(find_benchmark(name), place, request), variants, request, settings)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_layout_goes_the_same_way(
    layout: str, tmp_path: Path, variant: Make, settings: Settings
) -> None:
    name, make = LAYOUTS[layout]
    make(tmp_path / name)
    models = [variant(MeanPredictor()), variant(MeanPredictor("other", shift=8.0))]
    result = run(name, Place(tmp_path / name), models, settings)
    assert result.loaded.partial == bool(find_benchmark(name).counts)  # nobody published the size of CACD's split
    assert [row.predictor for row in result.rows] == ["mean", "other", "ensemble"]
    assert all(row.n == len(result.run.truths) - sum(row.dropped.values()) for row in result.rows)
    metric = "class_accuracy" if find_benchmark(name).classes else "mae"
    assert result.rows[0].metrics[metric].n > 0
    if name in ("adience", "agedb"):
        assert result.rows[0].groups["fold"]
    written = write_evaluation(result, tmp_path / "out", benchmark_page(result, settings))
    assert {path.name for path in written.folder.iterdir()} == set(written.names)


def test_a_folder_that_is_not_whole_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"lagenda: 67,159 images were published, .* hold 10 \(1 more counts differ\)"):
        load_benchmark(find_benchmark("lagenda"), Place(folder), Request())
    (folder / "lag_benchmark" / "0003.jpg").unlink()
    with pytest.raises(InputError, match=r"image lag_benchmark/0003\.jpg is not in .* \(1 of 10 are missing\)"):
        load_benchmark(find_benchmark("lagenda"), Place(folder), Request())
    loaded = load_benchmark(find_benchmark("lagenda"), Place(folder), PARTIAL)
    assert (loaded.partial, int(loaded.people.known.sum())) == (True, 18)
    with pytest.raises(InputError, match="none of the images is in"):
        load_benchmark(find_benchmark("lagenda"), Place(folder, images=folder / "lag_benchmark"), PARTIAL)
    with pytest.raises(StorageError, match=r"LAGENDA test set is not in .*nowhere; `annotator evaluate --list` says"):
        load_benchmark(find_benchmark("lagenda"), Place(folder / "nowhere"), PARTIAL)


def test_own_data_need_no_folder_and_nobody_without_truth(folder: Path, tmp_path: Path) -> None:
    place = Place(tmp_path, folder / "lagenda_annotation.csv")
    loaded = load_benchmark(find_benchmark("custom"), place, Request())
    assert not loaded.partial
    empty = write_csv(tmp_path / "e.csv", HEADER, [("a.jpg", -1, -1, 1, 2, 3, 4, 5, 6, 7, 8)])
    with pytest.raises(InputError, match="nobody in the annotations has an age or a gender"):
        load_benchmark(find_benchmark("custom"), Place(tmp_path, empty), Request())


def test_a_limit_keeps_neighbours_to_be_blanked(folder: Path) -> None:
    loaded = load_benchmark(find_benchmark("lagenda"), Place(folder), Request(partial=True, limit=5))
    assert (int(loaded.people.known.sum()), len(loaded.people)) == (5, 40)


def test_files_hold_what_was_measured(folder: Path, tmp_path: Path, variant: Make, settings: Settings) -> None:
    result = run("nanolagenda", Place(folder), [variant(MeanPredictor()), variant(MeanPredictor("other"))], settings)
    out = tmp_path / "out"
    write_evaluation(result, out, benchmark_page(result, settings))
    data = json.loads((out / "results.json").read_text())
    assert data["rows"][0]["mae"] == pytest.approx(result.rows[0].metrics["mae"].value)
    assert {row["source"] for row in data["rows"]} == {"measured"}
    assert {row["source"] for row in data["published"]} == {"published"}
    with (out / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    measured = [line for line in lines if line["source"] == "measured" and line["group"] == "all"]
    assert float(next(line["value"] for line in measured if line["metric"] == "mae")) == pytest.approx(
        data["rows"][0]["mae"], abs=1e-6
    )
    assert all(line["low"] == "" for line in lines if line["source"] == "published")
    with (out / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 20
    assert (out / NANO_LIST).read_text() == result.loaded.drawn
    text = (out / "results.md").read_text()
    assert text.count("| measured on a part |") == 3
    assert "## mean, body+face, by age" in text


def test_the_page_is_whole_and_needs_no_network(folder: Path, variant: Make, settings: Settings) -> None:
    result = run(
        "lagenda", Place(folder), [variant(MeanPredictor("<b>mean")), variant(MeanPredictor("other"))], settings
    )
    page = benchmark_page(result, settings)
    for title in (
        "Measured beside published",
        "MAE by true age",
        "Risk and coverage",
        "Confusion of ages",
        "worst people",
    ):
        assert title in page
    assert page.count("<svg") == 4
    assert page.count("data:image/jpeg;base64,") == 20
    assert "<b>mean" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    published = [line for line in re.findall(r'<tr class="(\w+)">', page) if line == "published"]
    assert len(published) > 5


def test_the_ensemble_is_fitted_where_there_are_enough(folder: Path, variant: Make, settings: Settings) -> None:
    models = [variant(MeanPredictor()), variant(MeanPredictor("other", shift=8))]
    few = run("lagenda", Place(folder), models, settings, Request(partial=True, cross_fit=True))
    assert [row.predictor for row in few.rows] == ["mean", "other", "ensemble"]
    assert any(note.startswith("the ensemble was not cross-fitted: 20 people") for note in few.notes)


def test_a_large_set_is_cross_fitted(tmp_path: Path, variant: Make, settings: Settings) -> None:
    from tests.helpers.benchmark_folders import annotation

    rows = [(f"images/{n:03d}.jpg", int(30 + n % 40), "FM"[n % 2]) for n in range(80)]
    path = annotation(tmp_path / "own" / "annotations.csv", tmp_path / "own", rows)
    models = [variant(MeanPredictor()), variant(MeanPredictor("other", shift=8))]
    request = Request(cross_fit=True)
    result = run("custom", Place(tmp_path, path), models, settings, request)
    assert [row.predictor for row in result.rows][-1] == FITTED
    by_name = {row.predictor: row.metrics["mae"].value for row in result.rows}
    assert by_name[FITTED] < min(by_name["mean"], by_name["other"])  # noise predicts nothing: the fit learns the mean
    assert np.isfinite(result.answers[-1].doubt).all()


def test_a_table_runs_what_is_here_and_names_the_rest(tmp_path: Path, folder: Path, settings: Settings) -> None:
    settings = settings.model_copy(update={"benchmarks_dir": tmp_path, "models_dir": tmp_path / "none"})
    table = paper_table(8, {"MiVOLO_384": "demo-mivolo", "ShareGPT4V 7B FT": "demo-mllm"})
    result = run_table(table, Request(partial=True, answer="greedy"), settings)
    measured = {(table.rows[n].published.model, table.rows[n].inputs): row for n, row in result.measured.items()}
    assert {key: (row.predictor, row.sees) for key, row in measured.items()} == {
        ("MiVOLO_384", "body+face"): ("demo-mivolo", "body+face"),
        ("MiVOLO_384", "no-face"): ("demo-mivolo", "no-face"),
        ("ShareGPT4V 7B FT", "body"): ("demo-mllm", "body"),
        ("ShareGPT4V 7B FT", "no-face"): ("demo-mllm", "no-face"),
    }
    assert len(result.evaluations) == 1  # one pass over the images
    assert len(result.missing) == 12
    assert any("llava-1.5-7b" in reason for reasons in result.missing.values() for reason in reasons)
    written = write_table(result, tmp_path / "out", settings)
    data = json.loads(written.json_text)
    assert sum(row["measured"] is not None for row in data["rows"]) == 4
    assert all(row["measured"] or row["not_measured"] for row in data["rows"])
    assert (tmp_path / "out" / "nanolagenda" / "report.html").exists()


def test_data_that_are_not_there_and_private_sets_are_named(tmp_path: Path, settings: Settings) -> None:
    settings = settings.model_copy(update={"benchmarks_dir": tmp_path})
    ours = run_table(paper_table(10, {"MiVOLO_384": "demo-mivolo"}), Request(), settings)
    assert ours.measured == {}
    assert all("Wild104 is a private set of the paper" in reasons[0] for reasons in ours.missing.values())
    cacd = run_table(paper_table(4, {"MiVOLO_384": "demo-mivolo"}), Request(), settings)
    assert all(reasons[0].startswith(f"CACD test split is not in {tmp_path}/cacd") for reasons in cacd.missing.values())
    wrong = tmp_path / "cacd"
    wrong.mkdir()
    (wrong / "CACD2000.json").write_text("[]")
    broken = run_table(paper_table(4, {"MiVOLO_384": "demo-mivolo"}), Request(), settings)
    assert any("no images of the wanted folders" in r for reasons in broken.missing.values() for r in reasons)


def test_every_benchmark_says_what_to_get() -> None:
    for benchmark in BENCHMARKS:
        assert benchmark.get
        assert benchmark.layout
