"""The paper's tables, whole: nothing published is lost, nothing measured is mixed up with it."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from annotator.errors import InputError, UnknownName
from annotator.evaluation.beside import LEFT, benchmark_grid, merged, published_beside, table_grid
from annotator.evaluation.measuring import measure
from annotator.evaluation.paper import TABLES, UNPUBLISHED, paper_table, why_not
from annotator.predictors.catalogue import CATALOGUE, REMOTE
from tests.unit.evaluation.test_measuring import answers, truths

DOCUMENT = json.loads(files("annotator.evaluation").joinpath("paper_tables.json").read_text("utf-8"))["tables"]
FACTORS = {"cs5": 100, "mape": 100, "gender_accuracy": 100, "age_accuracy": 100, "mae": 1, "mae_classes": 1}
HEADINGS = {
    "mae": "MAE", "cs5": "CS@5 %", "mape": "MAPE %", "gender_accuracy": "gender %", "age_accuracy": "class %",
    "mae_classes": "class MAE",
}  # fmt: skip


@pytest.mark.parametrize("number", TABLES)
def test_every_published_figure_is_printed_where_it_belongs(number: int) -> None:
    table = paper_table(number)
    grid, reasons = table_grid(table, {}, {}, partial=False)
    published = [line for line in grid[1:] if line[0] == "published"]
    rows = DOCUMENT[str(number)]["rows"]
    assert len(published) == len(rows) == len(grid[1:]) / 2
    for line, row in zip(published, rows, strict=True):
        assert line[1] == row["model"]
        for name, heading in HEADINGS.items():
            if name in row:
                assert float(line[grid[0].index(heading)]) == pytest.approx(row[name])
            elif heading in grid[0]:
                assert line[grid[0].index(heading)] == "-"
    assert all(line[0] == "not measured" for line in grid[2::2])
    assert reasons


def test_a_measured_row_stands_under_its_published_one_and_is_marked() -> None:
    table = paper_table(8)
    row = measure(truths(), [answers(truths(), "mivolo-v2-384")], grouped=False)[0]
    number = next(n for n, one in enumerate(table.rows) if one.published.model == "MiVOLO_384")
    grid, _ = table_grid(table, {number: row}, {}, partial=True)
    place = [line[1] for line in grid].index("MiVOLO_384")
    assert grid[place][0] == "published"
    assert grid[place + 1][:2] == ["measured on a part", "mivolo-v2-384"]
    assert sum(line[0].startswith("measured") for line in grid) == 1


def test_what_is_missing_has_a_reason() -> None:
    by_model = {row.published.model: row for number in TABLES for row in paper_table(number).rows}
    assert why_not(by_model["ResNet-50"], []) == ["another group's model, not a predictor here"]
    tuned = by_model["ShareGPT4V 7B FT"]
    assert why_not(tuned, ["no data", "unknown predictor 'sharegpt4v-7b-ft'; known are: a, b"]) == [
        "no data",
        UNPUBLISHED.format("sharegpt4v-7b-ft"),
    ]
    assert why_not(by_model["MiVOLO_384"], ["the weights are not here"]) == ["the weights are not here"]


def test_released_models_of_the_paper_are_in_the_catalogue() -> None:
    rows = [row for number in TABLES for row in paper_table(number).rows if row.predictors and not row.fine_tuned]
    known = {*CATALOGUE, *REMOTE, "llava-next-34b"}
    assert {name for row in rows for name in row.predictors} <= known
    assert {row.inputs for row in rows} <= {"body+face", "body", "no-face", "face"}


def test_ones_own_predictor_can_stand_for_a_model() -> None:
    table = paper_table(10, {"ShareGPT4V 7B FT": "mine"})
    assert [row.predictors for row in table.rows if row.published.model == "ShareGPT4V 7B FT"] == [("mine",)]
    with pytest.raises(UnknownName, match="model of the paper 'ShareGPT5'"):
        paper_table(8, {"ShareGPT5": "mine"})
    with pytest.raises(InputError, match="tables 1 to 10, not 11"):
        paper_table(11)


def test_a_benchmark_shows_what_was_published_for_the_same_model_and_input() -> None:
    known = truths()
    mivolo = measure(known, [answers(known, "mivolo-v2-384")], grouped=False)[0]
    assert [row.mae for row in published_beside("lagenda", mivolo)] == [6.16]  # on the body, not on body and face
    mine = measure(known, [answers(known, "mine")], grouped=False)[0]
    assert [line[0] for line in benchmark_grid("lagenda", [mine], False)[1:]].count("published") == len(
        merged("lagenda")
    )
    figures = {(row.model, row.inputs): row for row in merged("lagenda")}[("MiVOLO_384", "body+face")]
    assert (figures.mae, figures.cs5, figures.mape, figures.gender_accuracy) == (3.65, 0.7448, 0.1206, 0.9799)
    assert LEFT == 3
