import numpy as np
import pytest

from annotator.demo.votes import ANNOTATORS, SOURCE, simulate_votes
from annotator.domain import Gender, Truth

PEOPLE = [(f"{number:016x}-00", Truth(float(number % 80), Gender.FEMALE)) for number in range(400)]


def test_votes_are_named_simulated_and_unique():
    votes = simulate_votes(PEOPLE, seed=3)
    assert len(votes) == 3 * len(PEOPLE)
    assert {vote.source for vote in votes} == {SOURCE} == {"simulated"}
    assert len({vote.annotation_id for vote in votes}) == len(votes)
    assert all(vote.annotator_id.startswith("simulated-") for vote in votes)


def test_a_persons_votes_do_not_depend_on_the_others():
    everybody = simulate_votes(PEOPLE, seed=3)
    backwards = simulate_votes(PEOPLE[::-1], seed=3)
    assert sorted(everybody, key=repr) == sorted(backwards, key=repr)
    assert simulate_votes(PEOPLE[5:6], seed=3) == [vote for vote in everybody if vote.person_id == PEOPLE[5][0]]
    assert simulate_votes(PEOPLE, seed=4) != everybody


def test_nobody_votes_twice_on_a_person():
    votes = simulate_votes(PEOPLE[:50], seed=1, votes_per_person=len(ANNOTATORS))
    assert len({(vote.person_id, vote.annotator_id) for vote in votes}) == 50 * len(ANNOTATORS)
    with pytest.raises(ValueError, match="votes_per_person"):
        simulate_votes(PEOPLE, seed=1, votes_per_person=len(ANNOTATORS) + 1)


def test_skill_shows_in_the_errors():
    truth = dict(PEOPLE)
    votes = simulate_votes(PEOPLE, seed=5, votes_per_person=len(ANNOTATORS))
    error = {
        who.name: np.mean([abs(v.age - truth[v.person_id].age) for v in votes if v.annotator_id == who.name])
        for who in ANNOTATORS
    }
    assert min(error, key=error.get) == "simulated-ada"
    assert max(error, key=error.get) == "simulated-eve"
    right = {
        who.name: np.mean([v.gender is Gender.FEMALE for v in votes if v.annotator_id == who.name])
        for who in ANNOTATORS
    }
    assert right["simulated-ada"] > 0.95 > right["simulated-eve"]


def test_a_missing_truth_stays_missing():
    votes = simulate_votes([("a", Truth(None, Gender.MALE)), ("b", Truth(4.0, None))], seed=0)
    assert all(vote.age is None and vote.gender is not None for vote in votes if vote.person_id == "a")
    assert all(vote.age is not None and vote.gender is None for vote in votes if vote.person_id == "b")
