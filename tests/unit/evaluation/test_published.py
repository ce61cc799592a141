"""The paper's tables: complete, in our units, under our benchmark names."""

from __future__ import annotations

from collections import Counter

from annotator.evaluation.published import published, published_rows


def test_every_row_has_a_benchmark_and_a_plausible_figure() -> None:
    rows = published_rows()
    assert Counter(row.table for row in rows) == {1: 5, 2: 4, 3: 4, 4: 3, 5: 2, 6: 5, 7: 6, 8: 16, 9: 6, 10: 6}
    assert {row.benchmark for row in rows} == {
        "lagenda", "nanolagenda", "imdb-clean", "adience", "fairface", "cacd", "wild104"
    }  # fmt: skip
    for row in rows:
        figures = (row.mae, row.cs5, row.mape, row.gender_accuracy, row.age_accuracy, row.mae_classes)
        assert any(figure is not None for figure in figures)
        shares = (row.cs5, row.mape, row.gender_accuracy, row.age_accuracy)
        assert all(0 < share < 1 for share in shares if share is not None)
        assert row.inputs in ("body+face", "body", "face", "no-face", None)


def test_rows_are_found_by_benchmark_model_and_input() -> None:
    (row,) = published("nanolagenda", "ShareGPT4V 7B FT", "no-face")
    assert (row.table, row.mae, row.cs5, row.mape, row.gender_accuracy) == (8, 7.64, 0.4995, 0.2053, 0.9748)
    (row,) = published("adience", "MiVOLO_384")
    assert (row.inputs, row.age_accuracy, row.mae_classes) == ("body+face", 0.6943, 0.333)
    assert published("megaage") == []
