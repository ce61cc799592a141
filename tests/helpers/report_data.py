"""A report's data, drawn at random."""

from __future__ import annotations

import numpy as np

from annotator.evaluation.report.data import AnnotatorRow, HardPerson, PeopleColumns, Progress, ReportData
from annotator.images.convert import to_jpeg

PICTURE = to_jpeg(np.full((90, 60, 3), 128, np.uint8))


def people(count: int, known_share: float = 0.5, seed: int = 0) -> PeopleColumns:
    rng = np.random.default_rng(seed)
    truth, difficulty = rng.uniform(0, 90, count), rng.uniform(1, 8, count)
    shared = rng.normal(0, 1, count) * difficulty
    ages = {name: np.clip(truth + 0.7 * shared + rng.normal(0, 2, count), 0, 120) for name in ("one", "two")}
    fused = (ages["one"] + ages["two"]) / 2
    known = rng.random(count) < known_share
    female = rng.integers(0, 2, count).astype(np.float64)
    return PeopleColumns(
        age=fused,
        age_low=fused - 2 * difficulty,
        age_high=fused + 2 * difficulty,
        female_probability=np.clip(female + rng.normal(0, 0.2, count), 0, 1),
        expected_error=difficulty,
        large_error_probability=difficulty / 10,
        priority=difficulty,
        review=difficulty > 6.5,
        settled=known,
        truth_age=np.where(known, truth, np.nan),
        truth_female=np.where(known, female, np.nan),
        trusted=known,
        predictions=ages,
    )


def report(columns: PeopleColumns) -> ReportData:
    progress = Progress(
        300, 298, len(columns), len(columns), 40, 12, 150, 8, 500, 90, 7.5, failures=[("ingest", "truncated", 2)]
    )
    nan = float("nan")
    rows = [
        AnnotatorRow("ann@example.org", 120, 30, 3.1, 0.4, 3.9, 0.97, 1.2, 6.5),
        AnnotatorRow("<script>alert(1)</script>", 80, 0, nan, nan, nan, nan, 0.5, None, ("constant answers",)),
    ]
    hard = [HardPerson("0123456789abcdef-00", PICTURE, "female 33 (21-48)", ["one: 28"], ["no_face"], "http://ls/1")]
    return ReportData("A report", "v1", "uncalibrated", "2026-01-02", progress, columns, rows, hard, ["only figures"])
