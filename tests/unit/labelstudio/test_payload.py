"""Predictions as Label Studio reads them: inside the image, finite, stable, and silent about controls."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.domain import Box, Fused, Person, Prediction, PredictionStatus, PreLabel, ReviewReason
from annotator.labelstudio.controls import PERSON_VOTE, WHOLE_IMAGE, config_text, read_controls
from annotator.labelstudio.payload import (
    REVIEW_CHOICES,
    ShownImage,
    ShownPerson,
    attention_score,
    evidence_lines,
    percent_box,
    prediction,
)

CONTROLS = read_controls(config_text(WHOLE_IMAGE))
BODY, FACE = Box(20, 10, 60, 90), Box(30, 12, 50, 30)
SHA = "0123456789abcdef" * 4
NOTICE = "demo weights: they know drawn figures only"


def person(
    body: Box | None = BODY,
    face: Box | None = FACE,
    *,
    index: int = 0,
    reasons: tuple[ReviewReason, ...] = (),
    review: bool = False,
    priority: float = 0.0,
    predictions: tuple[Prediction, ...] = (),
    **fused: Any,
) -> ShownPerson:
    person_id = Person.make_id(SHA, index)
    values = {
        "age": 35.5, "age_sd": 4.0, "age_low": 28.0, "age_high": 43.0, "female_probability": 0.93,
        "expected_error": 3.3, "large_error_probability": 0.2, "fit": "uncalibrated",
    } | fused  # fmt: skip
    opinion = Fused(person_id=person_id, reasons=reasons, **values)
    found = Person(person_id, SHA, index, body, face, body_score=0.9, face_score=0.8)
    return ShownPerson(found, predictions, PreLabel(opinion, priority, review, reasons))


def result(*people: ShownPerson, width: int = 100, height: int = 100) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = prediction(ShownImage(width, height, people, {"m": NOTICE}), CONTROLS, "v")["result"]
    return items


def by_name(items: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [item for item in items if item.get("from_name") == name]


def test_one_person() -> None:
    items = result(person())
    body, face = by_name(items, "box")
    assert body["id"] == "0123456789abcdef-00"
    assert body["value"] == {
        "x": 20, "y": 10, "width": 40, "height": 80, "rotation": 0, "rectanglelabels": ["person"],
    }  # fmt: skip
    assert (body["original_width"], body["original_height"], body["score"]) == (100, 100, 0.9)
    assert face["value"]["rectanglelabels"] == ["face"]
    assert face["parentID"] == body["id"]
    relation = next(item for item in items if item["type"] == "relation")
    assert (relation["from_id"], relation["to_id"]) == (face["id"], body["id"])
    assert by_name(items, "gender")[0]["value"]["choices"] == ["female"]
    assert by_name(items, "age")[0]["value"]["number"] == 36
    assert {item["id"] for item in items if "from_name" in item} == {body["id"], face["id"]}


@pytest.mark.parametrize(("age", "shown"), [(0.5, 0), (1.5, 2), (2.5, 2), (-3.0, 0), (140.0, 130), (30.4, 30)])
def test_ages_are_whole_years_that_the_configuration_takes(age: float, shown: int) -> None:
    assert by_name(result(person(age=age)), "age")[0]["value"]["number"] == shown


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_not_known_is_left_to_the_annotator(missing: float | None) -> None:
    items = result(person(age=missing, female_probability=missing))
    assert by_name(items, "age") == by_name(items, "gender") == []
    assert len(by_name(items, "box")) == 2


def test_a_face_alone_gets_a_person_box_for_its_answers() -> None:
    body, face = by_name(result(person(body=None)), "box")
    assert body["value"]["rectanglelabels"] == ["person"]
    assert {**body["value"], "rectanglelabels": 0} == {**face["value"], "rectanglelabels": 0}


def test_a_person_outside_the_image_is_left_out() -> None:
    assert by_name(result(person(Box(200, 0, 300, 50), None)), "box") == []
    assert by_name(result(person(Box(math.nan, 0, 1, 1), Box(5, 5, 5, 9))), "box") == []


def test_nobody() -> None:
    shown = prediction(ShownImage(10, 10, ()), CONTROLS, "v")
    assert [item["value"]["choices"] for item in shown["result"]] == [["no_person"]]
    assert shown["score"] == 0.5


def test_the_doubtful_image_has_the_lower_score() -> None:
    scores = [attention_score([person(priority=one), person(priority=0.1)]) for one in (0, 1, 5, 20, math.inf)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.95
    assert scores[2] == 0.5
    assert scores[-1] == 0
    assert attention_score([person(priority=math.nan)]) == 0


def test_the_evidence_says_what_each_model_said() -> None:
    refused = Prediction("n", "n@1", PredictionStatus.REFUSED, reason="no usable age")
    said = Prediction("m", "m@1", PredictionStatus.OK, age=31.24, age_sd=4.04, female_probability=0.1)
    other = Prediction("o", "o@1", PredictionStatus.OK, age=44.0)
    reasons = (ReviewReason.AGE_DISAGREEMENT, ReviewReason.REFUSED)
    shown = person(predictions=(said, refused, other), reasons=reasons, review=True)
    lines = evidence_lines(shown, {"m": NOTICE, "o": NOTICE, "absent": "x"})
    assert lines == [
        "Please check: the models' ages differ by 13 years; a model gave no answer",
        "m: male 90 %, 31.2 years (sd 4.0)",
        "n: refused (no usable age)",
        "o: 44.0 years",
        "together: female 93 %, 35.5 years, likely 28 to 43",
        f"m, o: {NOTICE}",
    ]
    (text,) = by_name(result(shown), "evidence")[0]["value"]["text"]
    assert [line.removeprefix("• ") for line in text.split("\n")][:-1] == lines[:-1]
    assert by_name(result(shown), "review")[0]["value"]["choices"] == ["age_disagrees", "refused"]


def test_a_control_looks_like_any_other_person() -> None:
    control = result(person(reasons=(ReviewReason.CONTROL,), review=True))
    assert control == result(person())
    assert "control" not in json.dumps(control)


def test_every_reason_but_control_has_a_choice_in_the_configuration() -> None:
    assert set(ReviewReason) - set(REVIEW_CHOICES) == {ReviewReason.CONTROL}
    assert CONTROLS.review_choices == set(REVIEW_CHOICES.values())


def test_a_plainer_configuration_gets_the_evidence_in_the_regions_info() -> None:
    plain = read_controls(
        '<View><Image name="i" value="$photo"/><RectangleLabels name="b" toName="i"><Label value="Person"/>'
        '</RectangleLabels><Choices name="g" toName="i" perRegion="true"><Choice value="F"/><Choice value="M"/>'
        "</Choices>"
        '<Number name="a" toName="i" perRegion="true"/></View>'
    )
    items = prediction(ShownImage(100, 100, (person(),)), plain, "v")["result"]
    assert [item["from_name"] for item in items] == ["b", "g", "a"]
    assert items[0]["value"]["rectanglelabels"] == ["Person"]
    assert items[0]["meta"]["text"][0].startswith("together")
    assert items[1]["value"]["choices"] == ["F"]
    assert plain.data_key == "photo"


def test_the_whole_image_configuration_has_one_data_key_and_the_vote_configuration_is_no_whole_image() -> None:
    assert config_text(WHOLE_IMAGE).count('value="$') == 2  # the image, and the header without a name
    assert 'name="' not in next(line for line in config_text(WHOLE_IMAGE).splitlines() if "$review_reason" in line)
    assert 'name="age"' in config_text(PERSON_VOTE)


finite = st.floats(-500, 1500)
boxes = st.one_of(st.none(), st.builds(Box, finite, finite, finite, finite))
maybe = st.one_of(st.none(), st.floats())


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield value


@given(boxes, boxes, maybe, maybe, st.integers(1, 1000), st.integers(1, 1000), st.floats())
def test_whatever_the_models_say_the_prediction_is_drawable(
    body: Box | None,
    face: Box | None,
    age: float | None,
    female: float | None,
    width: int,
    height: int,
    priority: float,
) -> None:
    shown = person(body, face, age=age, female_probability=female, priority=priority)
    entry = prediction(ShownImage(width, height, (shown,)), CONTROLS, "v")
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert all(math.isfinite(number) for number in numbers(entry))
    assert 0 <= entry["score"] <= 1
    for item in entry["result"]:
        if item["type"] == "rectanglelabels":
            value = item["value"]
            assert value["width"] > 0
            assert value["height"] > 0
            assert min(value["x"], value["y"]) >= 0
            assert max(value["x"] + value["width"], value["y"] + value["height"]) <= 100 + 1e-9
        if item["type"] == "number":
            assert 0 <= item["value"]["number"] <= 130


@given(st.floats(0, 99), st.floats(0, 99), st.floats(1, 100), st.floats(1, 100))
def test_percent_and_pixels_agree(x0: float, y0: float, x1: float, y1: float) -> None:
    found = percent_box(Box(x0, y0, x1, y1), 100, 100)
    if found is None:
        assert x1 - x0 < 1e-4 or y1 - y0 < 1e-4
    else:
        assert found["x"] == pytest.approx(x0, abs=1e-4)
        assert found["y"] + found["height"] == pytest.approx(y1, abs=2e-4)
