"""`annotator triage` as a user calls it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from annotator.cli.triage import triage
from annotator.ensemble.files import read_evidence
from annotator.errors import AnnotatorError, InputError, StorageError

HEADER = "person_id,age,age_low,age_high,gender,female_probability,expected_error,priority,review,reasons"
PREDICTIONS = """person_id,predictor,age,gender
p1,mivolo,30,female
p1,sharegpt4v,32,female
p2,mivolo,20,male
p2,sharegpt4v,60,female
p3,mivolo,,
p4,sharegpt4v,41,
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text(PREDICTIONS)
    return tmp_path


@pytest.fixture
def simulated(folder: Path, known: Any) -> Path:
    rows = [
        f"{person.person_id},{one.predictor},{'' if one.age is None else one.age},{one.gender or ''},"
        f"{'' if one.female_probability is None else one.female_probability},{int(person.face_height is not None)}"
        for person in known.people[:1500]
        for one in person.predictions
    ]
    header = "person_id,predictor,age,gender,female_probability,face"
    (folder / "s.csv").write_text("\n".join([header, *rows]))
    truth = [f"{name},{one.age},{one.gender}" for name, one in list(known.truth.items())[:800]]
    (folder / "t.csv").write_text("\n".join(["person_id,age,gender", *truth, "stranger,3,male"]))
    return folder


def call(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(triage)
    return CliRunner().invoke(app, list(arguments))


def failure(*arguments: str) -> AnnotatorError:
    result = call(*arguments)
    assert isinstance(result.exception, AnnotatorError), result.output
    assert result.output == ""
    assert "\n" not in str(result.exception)
    return result.exception


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_truth(folder: Path) -> None:
    result = call("p.csv", "-o", "v.csv", "--review-rate", "0.5", "--audit-rate", "0")
    assert result.exit_code == 0, result.output
    assert (folder / "v.csv").read_text().splitlines()[0] == HEADER
    first, second, third, fourth = rows(folder / "v.csv")
    assert [row["person_id"] for row in (first, second, third, fourth)] == ["p1", "p2", "p3", "p4"]
    assert first["gender"] == "female"
    assert 30 < float(first["age"]) < 32
    assert (first["review"], second["review"], third["review"]) == ("false", "true", "true")
    assert second["reasons"].split(";")[:2] == ["age_disagreement", "gender_disagreement"]
    assert (third["age"], third["gender"], third["reasons"]) == ("", "", "refused")
    assert (float(fourth["age"]), fourth["gender"], fourth["female_probability"]) == (41.0, "", "")
    assert "uncalibrated" in result.output
    assert result.output.splitlines()[-1].startswith("  review  50%, catch ")


def test_with_truth_it_calibrates_and_prints_the_curve_last(simulated: Path) -> None:
    result = call("s.csv", "-o", "v.csv", "--truth", "t.csv", "--review-rate", "0.25")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "note: 1 people have a truth but no prediction; they are left out"
    assert "uncalibrated" not in result.output
    assert lines[-7].startswith("measured on 800 people, ")
    assert [line.split("%")[0].split()[-1] for line in lines[-6:]] == ["5", "10", "20", "25", "30", "50"]
    assert sum(row["review"] == "true" and row["reasons"] != "audit" for row in rows(simulated / "v.csv")) == 375


def test_json_says_the_same(simulated: Path) -> None:
    summary = json.loads(call("s.csv", "-o", "v.csv", "--truth", "t.csv", "--json").output)
    assert summary["people"] == 1500
    assert summary["review"] == 300
    assert summary["fit"].startswith("ensemble-")
    assert summary["calibrated_on"] == {"people": 800, "ages": 800, "genders": 800}
    assert summary["scores"]["fused_mae"] < summary["scores"]["best_predictor_mae"]
    assert summary["curve"]["measured"]


def test_too_little_truth_is_said(folder: Path) -> None:
    (folder / "t.csv").write_text("person_id,age,gender\np1,31,female\np2,45,\n")
    result = call("p.csv", "-o", "v.csv", "--truth", "t.csv")
    assert "2 people have a true age and a prediction; calibration needs at least 50" in result.output
    assert "uncalibrated" in result.output


def test_any_form_of_table_gives_the_same(folder: Path) -> None:
    call("p.csv", "-o", "v.csv")
    windows = "\ufeff" + PREDICTIONS.replace(",", ";").replace("\n", "\r\n")
    (folder / "w.csv").write_bytes(windows.encode())
    assert call("w.csv", "-o", "w_out.csv").exit_code == 0
    assert (folder / "w_out.csv").read_bytes() == (folder / "v.csv").read_bytes()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("p5,mivolo,999,female", "line 8: age 999 is not between -1 and 130"),
        ("p5,mivolo,-1,female", "line 8: age -1 is not between -1 and 130; leave it empty"),
        ("p5,mivolo,30,unknown", "line 8: unknown gender 'unknown'"),
        ("p1,mivolo,30,female", "line 8: this predictor has this person already in line 2"),
        (",mivolo,30,female", "line 8: person_id is empty"),
        ("p5,mivolo,abc,female", "line 8: age 'abc' is not a number"),
        ("p5,mivolo,30", "line 8: 3 fields where the header has 4"),
    ],
)
def test_a_bad_row_is_named_and_nothing_written(folder: Path, line: str, words: str) -> None:
    (folder / "p.csv").write_text(PREDICTIONS + line + "\n")
    assert words in str(failure("p.csv", "-o", "v.csv"))
    assert [path.name for path in folder.iterdir()] == ["p.csv"]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("age_sd", "0", "age_sd 0 is not between 0 and 130"),
        ("female_probability", "1.5", "female_probability 1.5 is not between 0 and 1"),
        ("face", "maybe", "unknown face 'maybe'; use 1 or 0"),
    ],
)
def test_optional_columns_are_checked_too(folder: Path, column: str, value: str, words: str) -> None:
    (folder / "p.csv").write_text(f"person_id,predictor,age,gender,{column}\na,m,30,male,\nb,m,30,male,{value}\n")
    error = failure("p.csv", "-o", "v.csv")
    assert isinstance(error, InputError)
    assert f"line 3: {words}" in str(error)


def test_nothing_to_read_and_nowhere_to_write(folder: Path) -> None:
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("person_id,predictor,age,gender\n")
    assert "empty.csv is empty" in str(failure("empty.csv", "-o", "v.csv"))
    assert "no predictions" in str(failure("header.csv", "-o", "v.csv"))
    assert "is an input" in str(failure("p.csv", "-o", "p.csv"))
    assert isinstance(failure("p.csv", "-o", "no/such/v.csv"), StorageError)
    assert call("p.csv", "-o", "v.csv", "--review-rate", "1.5").exit_code == 2


def test_columns_become_evidence(folder: Path) -> None:
    (folder / "p.csv").write_text(
        "face,age_sd,female_probability,gender,age,predictor,person_id,comment\n"
        "1,3.5,0.2,,-0.4,m,0123456789abcdef-00,x\n"
        "0,,,F,31,n,0123456789abcdef-00,x\n"
        "0,,,male,31,n,0123456789abcdef-01,x\n"
        ",,,male,31,n,other,x\n"
    )
    first, second, other = read_evidence(folder / "p.csv")
    said, guessed = first.predictions
    assert (said.age, said.age_sd, said.female_probability) == (0.0, 3.5, 0.2)
    assert guessed.female_probability == pytest.approx(0.95)
    assert second.predictions[0].female_probability == pytest.approx(0.05)
    assert first.group == second.group != other.group
    assert first.face_height is not None
    assert second.face_height is None
    assert second.body_height is not None
    assert (other.face_height, other.body_height) == (None, None)
