"""The ensemble among the annotators: weighed like anybody, but no human vote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from annotator.cli.app import app
from annotator.errors import InputError
from annotator.tables import write_tables
from annotator.voting import ControlTable, VoteTable, aggregate
from annotator.voting.machine import ENSEMBLE, human_votes, voted_by_ensemble, with_ensemble


def world(people: int = 600, controls: int = 100, *, exact: float = 1.0) -> tuple[VoteTable, ControlTable, np.ndarray]:
    """Two votes of sd 6 years on each person, and an ensemble with errors of sd ``exact`` on all but the last ten."""
    rng = np.random.default_rng(1)
    age = rng.uniform(10, 80, people)
    names = np.array([f"p{number:04d}" for number in range(people)], dtype=object)
    person = np.repeat(np.arange(people), 2)
    who = np.array([f"a{number}" for number in rng.integers(0, 10, people)], dtype=object)
    second = np.array([f"b{number}" for number in rng.integers(0, 10, people)], dtype=object)
    said = np.clip(age[person] + rng.normal(0, 6, 2 * people), 0, 120)
    votes = VoteTable.from_columns(names[person], np.stack([who, second], 1).ravel(), said, np.ones(2 * people, int))
    opinion = np.clip(age[:-10] + rng.normal(0, exact, people - 10), 0, 120)
    opinions = ControlTable.from_columns(names[:-10], opinion, np.ones(people - 10, int))
    known = ControlTable.from_columns(names[:controls], age[:controls], np.ones(controls, int))
    return with_ensemble(votes, opinions), known, age


def test_an_exact_ensemble_helps_and_is_no_vote() -> None:
    votes, controls, age = world()
    alone, both = (aggregate(part, controls, age_method="precision") for part in (human_votes(votes), votes))
    assert both.votes.tolist() == alone.votes.tolist() == [2] * 600
    rest = slice(100, 590)
    assert np.abs(both.age - age)[rest].mean() < 0.4 * np.abs(alone.age - age)[rest].mean()
    assert np.all(both.age_sd[rest] < alone.age_sd[rest])
    place = both.annotators.annotator_ids.tolist().index(ENSEMBLE)
    assert both.annotators.age_weight[place] > 5
    assert voted_by_ensemble(votes) == frozenset(range(590))
    assert voted_by_ensemble(human_votes(votes)) == frozenset()


def test_a_poor_ensemble_is_weighed_down() -> None:
    votes, controls, age = world(exact=25.0)
    alone, both = (aggregate(part, controls, age_method="precision") for part in (human_votes(votes), votes))
    assert np.abs(both.age - age).mean() < 1.1 * np.abs(alone.age - age).mean()


def test_controls_that_only_the_ensemble_answered_are_none() -> None:
    votes = world()[0]
    names = np.array(["c1", "c2", "c3"], dtype=object)
    machine = VoteTable.from_columns(names, [ENSEMBLE] * 3, [30.0, 40.0, 50.0], [1, 1, 1])
    everybody = VoteTable.from_columns(
        np.concatenate([votes.person_ids[votes.person], names]),
        np.concatenate([votes.annotator_ids[votes.annotator], machine.annotator_ids[machine.annotator]]),
        np.concatenate([votes.age, machine.age]),
        np.concatenate([votes.gender, machine.gender]),
    )
    controls = ControlTable.from_columns(names, [30.0, 40.0, 50.0], [1, 1, 1])
    assert aggregate(everybody, controls, age_method="precision").age_method == "gtm"


def test_nobody_else_may_be_called_so() -> None:
    votes = VoteTable.from_columns(["p"], [ENSEMBLE], [30.0], [1])
    with pytest.raises(InputError, match="ensemble's own name"):
        with_ensemble(votes, ControlTable.from_columns(["p"], [30.0], [1]))


def test_the_vote_command_takes_the_triages_table(tmp_path: Path) -> None:
    words = np.array(["male", "female"], dtype=object)
    tables = {
        "votes": {"person_id": ["p", "p", "q"], "annotator_id": ["a", "b", "a"], "age": [30, 34, 50]},
        "verdicts": {"person_id": ["p", "r"], "age": [40.5, 20.0], "expected_error": [1.0, 2.0]},
    }
    for name, columns in tables.items():
        arrays = {key: np.array(value) for key, value in columns.items()}
        arrays["gender"] = words[np.ones(len(columns["person_id"]), int)]
        write_tables({tmp_path / f"{name}.csv": arrays})
    output = tmp_path / "labels.csv"
    done = CliRunner().invoke(
        app,
        ["vote", str(tmp_path / "votes.csv"), "-o", str(output), "--ensemble", str(tmp_path / "verdicts.csv"),
         "--method", "mean"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert output.read_text().splitlines()[1].startswith("p,34.83")
    assert output.read_text().splitlines()[1].endswith(",2")
    assert len(output.read_text().splitlines()) == 3
