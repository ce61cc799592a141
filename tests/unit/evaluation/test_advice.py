"""The sentence at the end of `annotator evaluate --recommend`, on losses whose order is known."""

from __future__ import annotations

import numpy as np
import pytest

from annotator.evaluation.advice import Candidate, Ensemble, Speed, advice_grid, advise, together
from annotator.evaluation.answers import Answers, Truths
from annotator.evaluation.measuring import age_loss, measure
from tests.unit.evaluation.test_measuring import answers, truths

KNOWN = truths()


def candidate(known: Truths, said: Answers, speed: Speed | None) -> Candidate:
    return Candidate(measure(known, [said], grouped=False)[0], age_loss(known, said), known.image, speed)


def ensemble(said: Answers) -> Ensemble:
    return Ensemble(measure(KNOWN, [said], grouped=False)[0], age_loss(KNOWN, said))


def a_little_off(said: Answers) -> Answers:
    said.age[:] += np.random.default_rng(9).normal(0, 0.3, len(said.age))
    return said


GOOD = candidate(KNOWN, answers(KNOWN, "good", 4.0, seed=1), Speed(10, 900))
SAME = candidate(KNOWN, a_little_off(answers(KNOWN, "same", 4.0, seed=1)), Speed(500, 300))
BAD = candidate(KNOWN, answers(KNOWN, "bad", 9.0, seed=3), Speed(5000, 100))
FAR = candidate(KNOWN, answers(KNOWN, "far", 4.0, seed=4), None)


def test_of_equals_the_fastest() -> None:
    sentence = advise([GOOD, SAME, BAD], None)
    assert sentence.startswith("Use same on body: on your ")
    assert "good is not shown to be better and not faster" in sentence
    assert sentence.endswith(".")
    assert sentence.count(".") == 2  # one sentence, and the point of the MAE


def test_a_clear_winner_is_said_to_be_one() -> None:
    assert "it is shown to be better than every other predictor" in advise([GOOD, BAD], None)


def test_the_ensemble_only_where_it_is_shown_to_help() -> None:
    helping, useless = answers(KNOWN, "ensemble", 1.5, seed=5), answers(KNOWN, "ensemble", 4.0, seed=6)
    sentence = advise([GOOD, SAME], ensemble(helping))
    assert sentence.startswith("Use the ensemble of good and same: on your ")
    assert "years less than same alone (95 % interval " in sentence
    assert sentence.endswith("at 9.8 people a second on this machine.")
    assert "the ensemble is not shown to help" in advise([GOOD, SAME], ensemble(useless))


def test_nobody_answered() -> None:
    silent = answers(KNOWN, "silent", refused=1.0)
    assert advise([Candidate(BAD.row, np.full(400, np.nan), KNOWN.image, None)], None).startswith(
        "No predictor gave an age"
    )
    assert np.isnan(age_loss(KNOWN, silent)).all()


def test_the_table_has_a_line_each_and_one_for_all_together() -> None:
    grid = advice_grid([GOOD, SAME], ensemble(answers(KNOWN, "ensemble", 1.5, seed=5)))
    assert [line[0] for line in grid] == ["predictor", "good", "same", "ensemble"]
    assert {len(line) for line in grid} == {len(grid[0])}
    assert grid[1][-1].startswith("+")
    assert together([GOOD, SAME]) == Speed(pytest.approx(1 / (1 / 10 + 1 / 500)), 1200)
    assert together([GOOD, FAR]) is None
    assert advice_grid([FAR], None)[1][-4:] == ["elsewhere", "-", "-", "-"]
