"""`annotator vote` and `annotator score` as a user calls them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from annotator.cli.score import score
from annotator.cli.vote import vote
from annotator.errors import AnnotatorError, InputError, StorageError, UnknownName

VOTES = """person_id,annotator_id,age,gender
p1,ann,30,female
p1,bob,34,female
p1,cat,32,male
p2,ann,70,male
p2,bob,,male
p3,cat,8,
p4,ann,,
"""
TRUTH = "person_id,age,gender\np1,31,female\np2,66,male\n"
PREDICTIONS = "person_id,predictor,age,gender\np1,m,33,female\np2,m,60,female\np1,n,31,\np2,n,,male\np9,n,3,male\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "votes.csv").write_text(VOTES)
    (tmp_path / "truth.csv").write_text(TRUTH)
    (tmp_path / "predictions.csv").write_text(PREDICTIONS)
    return tmp_path


def call(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(vote)
    app.command()(score)
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


def test_votes_become_labels_and_annotators(folder: Path) -> None:
    result = call("vote", "votes.csv", "-o", "labels.csv", "--control", "truth.csv", "--method", "mean")
    assert result.exit_code == 0, result.output
    header, *_ = (folder / "labels.csv").read_text().splitlines()
    assert header == "person_id,age,age_sd,gender,gender_probability,votes"
    labels = {row["person_id"]: row for row in rows(folder / "labels.csv")}
    assert {name: row["age"] for name, row in labels.items()} == {"p1": "32", "p2": "70", "p3": "8", "p4": ""}
    assert {name: row["gender"] for name, row in labels.items()} == {"p1": "female", "p2": "male", "p3": "", "p4": ""}
    assert {name: row["votes"] for name, row in labels.items()} == {"p1": "3", "p2": "2", "p3": "1", "p4": "0"}
    assert float(labels["p1"]["gender_probability"]) == pytest.approx(2 / 3, abs=1e-6)
    assert float(labels["p1"]["age_sd"]) < float(labels["p3"]["age_sd"])
    header, *_ = (folder / "labels.annotators.csv").read_text().splitlines()
    assert header == "annotator_id,votes,controls,age_mae,age_bias,age_sd,gender_accuracy,age_weight"
    ann, bob, cat = rows(folder / "labels.annotators.csv")
    assert (ann["votes"], ann["controls"], ann["age_mae"], ann["age_bias"]) == ("2", "2", "2.5", "1.5")
    assert (bob["age_mae"], bob["age_sd"], bob["gender_accuracy"]) == ("3", "", "1")
    assert (cat["controls"], cat["age_weight"]) == ("1", "1")
    assert result.output.splitlines()[-1] == "wrote labels.csv and labels.annotators.csv"


def test_form_and_order_of_the_file_do_not_change_a_byte(folder: Path) -> None:
    head, *body = VOTES.splitlines()
    shuffled = [head, *body[::-1]]
    twisted = [";".join(["x", *line.split(",")[::-1]]) for line in shuffled]
    (folder / "twisted.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(twisted).encode())
    call("vote", "votes.csv", "-o", "one.csv", "--control", "truth.csv")
    call("vote", "twisted.csv", "-o", "two.csv", "--control", "truth.csv")
    assert (folder / "one.csv").read_bytes() == (folder / "two.csv").read_bytes()
    assert (folder / "one.annotators.csv").read_bytes() == (folder / "two.annotators.csv").read_bytes()


def test_without_controls_it_says_what_was_used(folder: Path) -> None:
    result = call("vote", "votes.csv", "-o", "labels.csv")
    assert "gtm" in result.output
    assert "no votes on control people" in result.output
    (folder / "strangers.csv").write_text("person_id,age,gender\nzz,31,female\n")
    result = call("vote", "votes.csv", "-o", "labels.csv", "--control", "strangers.csv")
    assert "no votes on control people" in result.output


def test_the_summary_as_json(folder: Path) -> None:
    result = call("vote", "votes.csv", "-o", "labels.csv", "--control", "truth.csv", "--json")
    summary = json.loads(result.output)
    assert (summary["people"], summary["annotators"], summary["votes"]) == (4, 3, 6)
    assert (summary["age_method"], summary["gender_method"]) == ("precision", "majority")
    assert summary["held_out"]["age_people"] == 2
    assert summary["written"] == ["labels.csv", "labels.annotators.csv"]


@pytest.mark.parametrize(
    ("options", "age", "gender"),
    [
        (["--method", "median"], "median", "majority"),
        (["--method", "lagenda"], "lagenda", "lagenda"),
        (["--method", "dawid-skene"], "precision", "dawid-skene"),
        (["--method", "auto"], "precision", "majority"),
        (["--method", "gtm", "--gender-method", "lagenda"], "gtm", "lagenda"),
    ],
)
def test_methods(folder: Path, options: list[str], age: str, gender: str) -> None:
    result = call("vote", "votes.csv", "-o", "labels.csv", "--control", "truth.csv", "--json", *options)
    summary = json.loads(result.output)
    assert (summary["age_method"], summary["gender_method"]) == (age, gender)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("p5,ann,999,female", "votes.csv, line 9: age 999 is not between 0 and 130"),
        ("p5,ann,30,divers", "votes.csv, line 9: unknown gender 'divers'"),
        ("p5,,30,female", "votes.csv, line 9: annotator_id is empty"),
        ("p5,ann,30", "votes.csv, line 9: 3 fields where the header has 4"),
        ("p1,bob,30,", "votes.csv, line 9: this annotator gave this person an age already in line 3"),
        ("p2,bob,,male", "votes.csv, line 9: this annotator gave this person a gender already in line 6"),
    ],
)
def test_a_bad_row_stops_with_its_line_and_nothing_written(folder: Path, row: str, problem: str) -> None:
    (folder / "votes.csv").write_text(VOTES + row + "\n")
    before = sorted(folder.iterdir())
    error = failure("vote", "votes.csv", "-o", "labels.csv", "--control", "truth.csv")
    assert isinstance(error, InputError)
    assert str(error).startswith(problem)
    assert sorted(folder.iterdir()) == before


def test_an_age_and_a_gender_may_come_in_two_rows(folder: Path) -> None:
    (folder / "votes.csv").write_text("person_id,annotator_id,age,gender\np,a,30,\np,a,,female\n")
    assert call("vote", "votes.csv", "-o", "labels.csv").exit_code == 0
    assert [(row["age"], row["gender"], row["votes"]) for row in rows(folder / "labels.csv")] == [("30", "female", "1")]


def test_other_mistakes_in_one_line(folder: Path) -> None:
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("person_id,annotator_id,age,gender\n")
    (folder / "twice.csv").write_text(TRUTH + "p1,31,female\n")
    assert "is empty" in str(failure("vote", "empty.csv", "-o", "labels.csv"))
    assert "no votes" in str(failure("vote", "header.csv", "-o", "labels.csv"))
    assert "line 4: this person has a truth already in line 2" in str(
        failure("vote", "votes.csv", "-o", "labels.csv", "--control", "twice.csv")
    )
    assert isinstance(failure("vote", "gone.csv", "-o", "labels.csv"), StorageError)
    assert isinstance(failure("vote", "votes.csv", "-o", "nowhere/labels.csv"), StorageError)
    assert isinstance(failure("vote", "votes.csv", "-o", "labels.csv", "--method", "best"), UnknownName)
    assert "is an input" in str(failure("vote", "votes.csv", "-o", "votes.csv"))
    assert (folder / "votes.csv").read_text() == VOTES
    assert not (folder / "labels.csv").exists()


def test_scores_by_predictor_as_json(folder: Path) -> None:
    result = call("score", "predictions.csv", "truth.csv", "--json", "--by-age", "--classes", "adience")
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    first, second = report["predictors"]["m"], report["predictors"]["n"]
    assert (first["n"], first["mae"], first["cs5"], first["gender_accuracy"]) == (2, 4.0, 0.5, 0.5)
    assert first["mape"] == pytest.approx((2 / 32 + 6 / 67) / 2)
    assert first["mae_interval"] == [None, None]  # two people tell nothing of how far their mean may be off
    assert first["by_age"]["65-69"]["mae"] == 6.0
    assert first["class_accuracy"] == 1.0
    assert (second["mae_n"], second["unanswered"]) == (1, 1)
    assert report["people_without_truth"] == 1
    assert (report["best"], report["best_against"]["m"]["mae_difference"]) == ("n", -2.0)


def test_scores_as_a_table(folder: Path) -> None:
    result = call("score", "predictions.csv", "truth.csv", "--by-age")
    lines = result.output.splitlines()
    assert any(line.startswith("predictor") and "MAE" in line and "CS@5" in line for line in lines)
    assert any(line.startswith("65-69") for line in lines)
    assert "predicted but without a truth: 1" in result.output
    assert "known people that n gave no age for: 1" in result.output


def test_mistakes_in_predictions(folder: Path) -> None:
    path = folder / "predictions.csv"
    for row, problem in (
        ("p1,m,33,female", "line 7: this predictor has this person already in line 2"),
        ("p3,m,-1,", "line 7: age -1 is not between"),
        ("p3,,1,", "line 7: predictor is empty"),
    ):
        path.write_text(PREDICTIONS + row + "\n")
        assert problem in str(failure("score", "predictions.csv", "truth.csv"))
    path.write_text("person_id,predictor,age,gender\nzz,m,3,\n")
    assert "same person_id" in str(failure("score", "predictions.csv", "truth.csv"))
    path.write_text("person_id,predictor,age,gender\np1,m,-0.4,\n")
    assert call("score", "predictions.csv", "truth.csv").exit_code == 0
    assert call("score", "predictions.csv", "truth.csv", "--classes", "morph").exit_code == 2
