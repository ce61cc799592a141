"""What a fit must show on people held out, and what it must not depend on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotator.domain import Evidence, Fused, Prediction, PredictionStatus, Truth
from annotator.ensemble.codec import fit_from_dict, fit_to_dict
from annotator.ensemble.evidence import evidence_table
from annotator.ensemble.fitting import cross_fuse, fit
from annotator.ensemble.fusion import fuse
from annotator.ensemble.model import Fit
from annotator.ensemble.reasons import age_gap
from annotator.ensemble.scores import recall_at
from annotator.errors import InputError


def column(fused: list[Fused], name: str) -> np.ndarray:
    return np.array([getattr(one, name) for one in fused], dtype=float)


@pytest.fixture(scope="module")
def judged(fitted: Fit, held_out: Any) -> list[Fused]:
    return fuse(held_out.people, fitted)


def test_fused_age_is_better_than_the_best_predictor(judged: list[Fused], held_out: Any) -> None:
    table = evidence_table(held_out.people)
    both = np.isfinite(table.age).all(axis=1)
    single = np.abs(table.age - held_out.age[:, None])[both].mean(axis=0)
    fused = np.abs(column(judged, "age") - held_out.age)[both].mean()
    assert single == pytest.approx([3.65, 4.0], abs=0.15)
    assert fused < 0.95 * single.min()


def test_expected_error_finds_more_large_errors_than_the_difference(judged: list[Fused], held_out: Any) -> None:
    large = np.abs(column(judged, "age") - held_out.age) > 5
    assert 0.15 < large.mean() < 0.25
    difference = recall_at(age_gap(evidence_table(held_out.people)), large, 0.2)
    assert recall_at(column(judged, "expected_error"), large, 0.2) >= 1.1 * difference


def test_intervals_cover_what_they_promise(judged: list[Fused], held_out: Any) -> None:
    covered = (column(judged, "age_low") <= held_out.age) & (held_out.age <= column(judged, "age_high"))
    assert 0.88 <= covered.mean() <= 0.92
    group = (column(judged, "age") // 10).astype(int)
    big = [number for number in np.unique(group) if (group == number).sum() >= 300]
    assert len(big) >= 7
    for number in big:
        assert 0.85 <= covered[group == number].mean() <= 0.95, f"ages {number}0 to {number}9"


def test_probabilities_are_calibrated(judged: list[Fused], held_out: Any) -> None:
    large = np.abs(column(judged, "age") - held_out.age) > 5
    said = column(judged, "large_error_probability")
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.6)):
        inside = (said >= low) & (said < high)
        assert large[inside].mean() == pytest.approx(said[inside].mean(), abs=0.05)
    female = column(judged, "female_probability")
    uncertain = (female > 0.05) & (female < 0.95)
    assert held_out.female[uncertain].mean() == pytest.approx(female[uncertain].mean(), abs=0.08)


def test_scores_tell_what_held_out_people_show(fitted: Fit, judged: list[Fused], held_out: Any) -> None:
    error = np.abs(column(judged, "age") - held_out.age)
    assert fitted.scores.mae == pytest.approx(error.mean(), abs=0.2)
    assert fitted.scores.large_share == pytest.approx((error > 5).mean(), abs=0.03)
    assert fitted.scores.correlation == pytest.approx(0.5, abs=0.06)
    assert (fitted.people, fitted.ages, fitted.genders) == (2500, 2500, 2500)


def test_a_fit_survives_json_exactly(fitted: Fit, judged: list[Fused], held_out: Any) -> None:
    text = json.dumps(fit_to_dict(fitted), allow_nan=False)
    again = fit_from_dict(json.loads(text))
    assert fuse(held_out.people, again) == judged
    assert again.version == fitted.version
    assert len(text) < 1_000_000


def test_a_damaged_or_foreign_fit_is_refused(fitted: Fit) -> None:
    data = fit_to_dict(fitted)
    with pytest.raises(InputError, match="format 7"):
        fit_from_dict(data | {"format": 7})
    with pytest.raises(InputError, match="damaged"):
        fit_from_dict({name: value for name, value in data.items() if name != "scores"})


def test_order_does_not_matter_and_the_seed_does(known: Any) -> None:
    people = known.people[:400]
    first = fit(people, known.truth, seed=0)
    assert fit(people[::-1], known.truth, seed=0).version == first.version
    assert fit(people, known.truth, seed=1).version != first.version


def test_nobody_is_judged_by_a_model_that_saw_them(known: Any) -> None:
    people, victim = known.people[:400], known.people[7].person_id
    lie = dict(known.truth) | {victim: Truth(120.0, known.truth[victim].gender)}
    honest = {one.person_id: one for one in cross_fuse(people, known.truth, seed=0)[1]}
    fooled = {one.person_id: one for one in cross_fuse(people, lie, seed=0)[1]}
    group = known.people[7].group
    same = [person.person_id for person in people if person.group == group]
    assert all(fooled[name].age == honest[name].age for name in same)
    assert any(fooled[name].age != one.age for name, one in honest.items())


def test_people_without_truth_are_judged_by_the_fit(known: Any) -> None:
    people = known.people[:500]
    truth = {person.person_id: known.truth[person.person_id] for person in people[:400]}
    made, fused = cross_fuse(people, truth, seed=0)
    assert [one.person_id for one in fused] == [person.person_id for person in people]
    assert fused[400:] == fuse(people[400:], made)
    assert fused[:400] != fuse(people[:400], made)
    assert {one.fit for one in fused} == {made.version}


def test_unknown_predictors_fall_back(fitted: Fit, held_out: Any) -> None:
    stranger = Evidence("s", "s", (Prediction("other", "1", PredictionStatus.OK, 40.0, female_probability=0.9),))
    renewed = replace(
        held_out.people[0],
        predictions=tuple(replace(one, version="2") for one in held_out.people[0].predictions),
    )
    silent = Evidence("n", "n", ())
    results = fuse([stranger, renewed, held_out.people[1], silent], fitted)
    assert [one.fit for one in results] == ["uncalibrated", "uncalibrated", fitted.version, fitted.version]
    assert results[0].age == pytest.approx(40.0)
    assert results[3].age is None


def test_one_predictor_and_ages_alone(known: Any) -> None:
    people = [replace(person, predictions=person.predictions[:1]) for person in known.people[:400]]
    truth = {person.person_id: Truth(age=known.truth[person.person_id].age) for person in people}
    made = fit(people, truth, seed=0)
    assert made.genders == 0
    assert made.scores.gender_accuracy is None
    assert made.scores.fused_mae < 1.1 * made.scores.best_predictor_mae
    assert all(one.female_probability is not None for one in fuse(people[:5], made))


def test_few_people_are_fitted_carefully(known: Any, held_out: Any) -> None:
    truth = {person.person_id: known.truth[person.person_id] for person in known.people[:60]}
    made = fit(known.people, truth, seed=0)
    fused = fuse(held_out.people, made)
    error = np.abs(column(fused, "age") - held_out.age)
    assert error.mean() < 3.65
    covered = (column(fused, "age_low") <= held_out.age) & (held_out.age <= column(fused, "age_high"))
    assert covered.mean() > 0.8


def test_what_cannot_be_fitted_says_why(known: Any) -> None:
    few = {person.person_id: known.truth[person.person_id] for person in known.people[:49]}
    with pytest.raises(InputError, match="49 people have a true age and a prediction; a fit needs at least 50"):
        fit(known.people, few, seed=0)
    crowd = [replace(person, group="one") for person in known.people[:60]]
    with pytest.raises(InputError, match="one image"):
        fit(crowd, known.truth, seed=0)
    mixed = [replace(known.people[0], predictions=(replace(known.people[0].predictions[0], version="2"),))]
    with pytest.raises(InputError, match=r"versions '(2' and 'simulated|simulated' and '2)'"):
        fit([*mixed, *known.people[1:100]], known.truth, seed=0)
