"""Ages and genders of people on images: the reference's end-to-end results, inputs that are missing, odd boxes."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annotator.domain import Box, Gender, PredictionStatus
from annotator.errors import ConfigurationError
from annotator.predictors.base import PersonView
from annotator.predictors.mivolo.architecture import MiVOLO, MiVOLOConfig, ModelMeta
from annotator.predictors.mivolo.predictor import MEAN, STD, Crops, MiVOLOPredictor, PreparedPerson
from annotator.predictors.mivolo.saving import save_pretrained
from annotator.predictors.weights import weights_digest

IMAGE = np.random.default_rng(3).integers(1, 255, (200, 160, 3), dtype=np.uint8)
BODY, FACE = Box(20, 10, 120, 190), Box(50, 20, 90, 70)


def view(body: Box | None = BODY, face: Box | None = FACE, **kwargs: Any) -> PersonView:
    return PersonView("p", IMAGE, body, face, **kwargs)


@pytest.fixture
def make_predictor(
    make_model: Callable[..., MiVOLO], small: MiVOLOConfig, tmp_path: Path
) -> Callable[..., MiVOLOPredictor]:
    def make(changes: dict[str, Any] | None = None, **kwargs: Any) -> MiVOLOPredictor:
        model = make_model(replace(small, **(changes or {})))
        save_pretrained(tmp_path, model, model.meta)
        return MiVOLOPredictor(tmp_path, name="small", device="cpu", **kwargs)

    return make


@pytest.mark.parametrize(
    "model, inputs, mode, cases",
    [
        ("d1_384", "body+face", "faces+persons", ("face_only", "person_only", "small_person", "two_overlapping")),
        ("d1_384", "face", "faces_only", ("two_overlapping",)),
        ("d1_384", "body", "persons_only", ("small_person", "two_overlapping")),
        ("d1_224_face", "body+face", "faces_only", ("face_only", "person_only", "small_person", "two_overlapping")),
    ],
)
def test_people_get_the_references_ages(
    golden_weights: Callable[[str], Path],
    recipe: ModuleType,
    data: Path,
    model: str,
    inputs: Any,
    mode: str,
    cases: tuple[str, ...],
) -> None:
    predictor = MiVOLOPredictor(golden_weights(model), name="golden", device="cpu", inputs=inputs)
    layouts = json.loads((data / "preprocess.json").read_text())["cases"]
    golden = json.loads((data / "end_to_end.json").read_text())["results"]
    views, expected = [], []
    for case in cases:
        people = _people(layouts[case], recipe)
        results = golden[f"{model}/{mode}/{case}"]
        for person, members in people:
            views.append(person)
            expected.append({results["ages"][m]: (results["genders"][m], results["gender_scores"][m]) for m in members})
    predictions = predictor.predict([predictor.prepare(person) for person in views])
    seen = 0
    for prediction, results in zip(predictions, expected, strict=True):
        results.pop(None, None)
        if prediction.status is PredictionStatus.NO_EVIDENCE:
            # the reference answers from a wholly black input where a body is too small
            assert set(results) <= {126.23}
            continue
        seen += 1
        ((age, (gender, score)),) = results.items()
        assert prediction.details["raw_age"] == pytest.approx(age, abs=0.011)
        assert prediction.age == pytest.approx(min(max(age, 0), 122), abs=0.011)
        assert prediction.gender is Gender(gender)
        female = prediction.female_probability
        assert max(female, 1 - female) == pytest.approx(score, abs=1e-5)
    assert seen == {"faces+persons": 6, "faces_only": 4 if model == "d1_224_face" else 2, "persons_only": 3}[mode]


def _people(layout: dict[str, Any], recipe: ModuleType) -> list[tuple[PersonView, list[int]]]:
    """Everybody on a golden layout, with the places of their boxes."""
    image = np.ascontiguousarray(recipe.synthetic_image(*layout["image"])[:, :, ::-1])
    boxes = [Box(*box[:4]) for box in layout["boxes"]]
    faces = {index for index, box in enumerate(layout["boxes"]) if box[5] == 1}
    rows = [(row["body"], row["face"]) for row in layout["modes"]["faces+persons"]["rows"]]
    people = []
    for body, face in rows:
        own = [index for index in (body, face) if index is not None]
        others = [index for index in range(len(boxes)) if index not in own]
        person = PersonView(
            "p",
            image,
            None if body is None else boxes[body],
            None if face is None else boxes[face],
            tuple(boxes[index] for index in others),
            tuple(boxes[index] for index in others if index in faces),
        )
        people.append((person, own))
    return people


def test_a_missing_input_is_the_normalised_black_image(make_predictor: Callable[..., MiVOLOPredictor]) -> None:
    predictor = make_predictor()
    seen = _watch(predictor)
    predictor.predict([predictor.prepare(view(face=None)), predictor.prepare(view(body=None))])
    black = torch.tensor([-2.1179, -2.0357, -1.8044]).view(3, 1, 1).expand(3, 64, 64)
    torch.testing.assert_close(seen[0][0, :3], black, rtol=0, atol=5e-5)
    torch.testing.assert_close(seen[0][1, 3:], black, rtol=0, atol=5e-5)
    assert seen[0][0, 3:].std() > 0.5


def test_pixels_are_normalised_face_first(make_predictor: Callable[..., MiVOLOPredictor]) -> None:
    predictor = make_predictor()
    seen = _watch(predictor)
    face, body = (np.random.default_rng(s).integers(0, 255, (64, 64, 3), dtype=np.uint8) for s in (1, 2))
    predictor.predict([PreparedPerson(face, body, "")])
    expected = (np.concatenate([face, body], axis=2) / 255 - np.tile(MEAN, 2)) / np.tile(STD, 2)
    np.testing.assert_allclose(seen[0][0].numpy(), expected.transpose(2, 0, 1), atol=1e-6)


def _watch(predictor: MiVOLOPredictor) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    predictor.model.register_forward_pre_hook(lambda _model, inputs: seen.append(inputs[0].clone()))
    return seen


@pytest.mark.parametrize(
    "changes, inputs, used",
    [
        ({}, "body+face", ["face", "body"]),
        ({}, "face", ["face"]),
        ({}, "body", ["body"]),
        ({}, "no-face", ["body"]),
        ({"in_chans": 3}, "body+face", ["face"]),
        ({"in_chans": 3}, "face", ["face"]),
    ],
)
def test_modes_use_what_they_say(
    make_predictor: Callable[..., MiVOLOPredictor], changes: dict[str, Any], inputs: str, used: list[str]
) -> None:
    predictor = make_predictor(changes, inputs=inputs)
    (prediction,) = predictor.predict([predictor.prepare(view())])
    assert prediction.status is PredictionStatus.OK
    assert prediction.details["inputs"] == used
    assert 0 <= prediction.age <= 122
    assert prediction.age_sd is None


@pytest.mark.parametrize("inputs", ["body", "no-face"])
def test_a_face_model_refuses_body_modes(make_predictor: Callable[..., MiVOLOPredictor], inputs: str) -> None:
    with pytest.raises(ConfigurationError, match="faces only"):
        make_predictor({"in_chans": 3}, inputs=inputs)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"inputs": "hands"}, "unknown inputs 'hands'"),
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
    ],
)
def test_unknown_settings_are_named(
    make_predictor: Callable[..., MiVOLOPredictor], settings: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make_predictor(**settings)


@pytest.mark.parametrize("device", ["gpu", "cuda:77"])
def test_unknown_devices_are_named(tmp_path: Path, device: str) -> None:
    with pytest.raises(ConfigurationError, match=f"device '{device}'"):
        MiVOLOPredictor(tmp_path, name="x", device=device)


@pytest.mark.parametrize(
    "person, words",
    [
        (view(None, None), "no face box; no body box"),
        (view(Box(0, 0, 49, 190), None), "too small or covered"),
        (view(BODY, None, others=(Box(0, 0, 150, 190),)), "too small or covered"),
        (view(None, Box(500, 500, 600, 600)), "holds no pixel"),
        (view(None, Box(30, 30, 30, 60)), "holds no pixel"),
        (view(Box(math.nan, 0, 100, 100), Box(0, 0, math.inf, 20)), "holds no pixel.*too small"),
    ],
)
def test_no_number_without_evidence(
    make_predictor: Callable[..., MiVOLOPredictor], person: PersonView, words: str
) -> None:
    predictor = make_predictor()
    calls = _watch(predictor)
    (prediction,) = predictor.predict([predictor.prepare(person)])
    assert prediction.status is PredictionStatus.NO_EVIDENCE
    assert not prediction.has_value
    assert prediction.details == {"inputs": []}
    assert calls == []
    assert re.search(words, prediction.reason)


def test_batches_keep_order_and_answers(make_predictor: Callable[..., MiVOLOPredictor]) -> None:
    predictor = make_predictor(batch_size=2)
    views = [view(), view(None, None), view(face=None), view(body=None), view(None, None), view(others=(BODY,))]
    prepared = [predictor.prepare(person) for person in views]
    together = predictor.predict(prepared)
    alone = [predictor.predict([person])[0] for person in prepared]
    assert [one.status for one in together] == [one.status for one in alone]
    for one, other in zip(together, alone, strict=True):
        if one.status is PredictionStatus.OK:
            assert one.age == pytest.approx(other.age, abs=1e-3)
            assert one.female_probability == pytest.approx(other.female_probability, abs=1e-5)
    assert [one.details["inputs"] for one in together] == [["face", "body"], [], ["body"], ["face"], [], ["face"]]
    assert predictor.predict([]) == []


def outputs_of(predictor: MiVOLOPredictor, monkeypatch: pytest.MonkeyPatch, row: list[float]) -> Any:
    monkeypatch.setattr(predictor, "_forward", lambda x: torch.tensor([row] * len(x)))
    (prediction,) = predictor.predict([predictor.prepare(view())])
    return prediction


@pytest.mark.parametrize("raw, age", [(-0.6, 0.0), (-0.5, 0.0), (0.25, 91.5), (0.5, 122.0), (9.0, 122.0)])
def test_ages_are_clamped(
    make_predictor: Callable[..., MiVOLOPredictor], monkeypatch: pytest.MonkeyPatch, raw: float, age: float
) -> None:
    prediction = outputs_of(make_predictor(), monkeypatch, [0.0, math.log(3), raw])
    assert prediction.age == pytest.approx(age)
    assert prediction.details["raw_age"] == pytest.approx(raw * 122 + 61, rel=1e-6)
    assert prediction.female_probability == pytest.approx(0.75)
    assert prediction.gender is Gender.FEMALE


@pytest.mark.parametrize("row", [[math.nan, 0.0, 0.1], [0.0, math.inf, 0.1], [0.0, 0.0, -math.inf]])
def test_a_broken_output_is_a_failure(
    make_predictor: Callable[..., MiVOLOPredictor], monkeypatch: pytest.MonkeyPatch, row: list[float]
) -> None:
    prediction = outputs_of(make_predictor(), monkeypatch, row)
    assert (prediction.status, prediction.age) == (PredictionStatus.FAILED, None)
    assert "not a number" in prediction.reason


def test_an_age_only_model_knows_no_gender(make_predictor: Callable[..., MiVOLOPredictor]) -> None:
    predictor = make_predictor({"num_classes": 1})
    (prediction,) = predictor.predict([predictor.prepare(view())])
    assert prediction.age is not None
    assert prediction.female_probability is None


def test_version_names_weights_and_settings(make_predictor: Callable[..., MiVOLOPredictor], tmp_path: Path) -> None:
    predictor = make_predictor(notice="only a test")
    digest = weights_digest(tmp_path)
    assert predictor.version == f"small@{digest[:12]}"
    (prediction,) = predictor.predict([predictor.prepare(view())])
    assert (prediction.predictor, prediction.version) == ("small", predictor.version)
    assert predictor.notice == "only a test"
    assert make_predictor(inputs="face", dtype="bfloat16").version == f"small@{digest[:12]}+face+bfloat16"


def test_a_compiled_model_sees_one_batch_size(
    make_predictor: Callable[..., MiVOLOPredictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def compile_(model: MiVOLO) -> Callable[[torch.Tensor], torch.Tensor]:
        model.register_forward_pre_hook(lambda _model, inputs: sizes.append(len(inputs[0])))
        return model

    monkeypatch.setattr(torch, "compile", compile_)
    predictor = make_predictor(batch_size=4, compiled=True)
    predictions = predictor.predict([predictor.prepare(view())] * 5)
    assert sizes == [4, 4]
    assert len({prediction.age for prediction in predictions}) <= 2
    assert all(prediction.status is PredictionStatus.OK for prediction in predictions)


coordinates = st.one_of(st.floats(-1e9, 1e9), st.floats(-50, 250), st.sampled_from([math.nan, math.inf, -math.inf]))
boxes = st.none() | st.builds(Box, coordinates, coordinates, coordinates, coordinates)


@given(boxes, boxes, st.lists(st.builds(Box, *[coordinates] * 4), max_size=3))
def test_any_boxes_can_be_prepared(body: Box | None, face: Box | None, others: list[Box]) -> None:
    for crops in get_args(Crops):
        prepared = _bare(crops).prepare(view(body, face, others=tuple(others)))
        for crop in (prepared.face, prepared.body):
            assert crop is None or (crop.shape, crop.dtype) == ((64, 64, 3), np.uint8)
        assert prepared.inputs or prepared.reason


def _bare(crops: Crops) -> MiVOLOPredictor:
    """A predictor without a model: `prepare` needs none."""
    predictor = object.__new__(MiVOLOPredictor)
    predictor.inputs, predictor.crops = "body+face", crops
    predictor.meta = ModelMeta(0, 122, 61.0, 64, 6)
    return predictor


def test_other_crops_share_the_weights_and_have_versions_of_their_own(
    make_predictor: Callable[..., MiVOLOPredictor],
) -> None:
    usual = make_predictor()
    dataset = usual.showing("body+face", "dataset")
    assert dataset.model is usual.model
    assert dataset.version == make_predictor(crops="dataset").version == f"{usual.version}+dataset-crops"
    assert usual.showing("body", "inference").version == make_predictor(inputs="body").version
    assert (usual.inputs, usual.crops) == ("body+face", "inference")
    with pytest.raises(ConfigurationError, match="crops"):
        usual.showing("body", "tight")  # type: ignore[arg-type]


def test_the_dataset_rule_wants_bodies_of_a_hundred_pixels(make_predictor: Callable[..., MiVOLOPredictor]) -> None:
    inference = make_predictor()
    dataset = inference.showing("body+face", "dataset")
    small = view(Box(20, 10, 119, 190))
    assert (inference.prepare(small).inputs, dataset.prepare(small).inputs) == (["face", "body"], ["face"])
    near = view(other_faces=(Box(100, 20, 118, 60),), others=(Box(100, 20, 118, 60),))
    prepared = dataset.prepare(near).body
    assert prepared is not None
    assert not np.array_equal(prepared, dataset.prepare(view()).body)
