"""The predictor: people in, predictions out, with the words that led to them."""

import json

import pytest

from annotator.domain import Box, Gender, PredictionStatus
from annotator.errors import ConfigurationError, UnknownName, WeightsInvalid, WeightsMissing
from annotator.predictors.base import PersonView
from annotator.predictors.llava.predictor import LlavaPredictor
from annotator.predictors.weights import weights_digest


@pytest.fixture(scope="module")
def predictor(trained):
    return LlavaPredictor(trained, name="tiny", device="cpu", batch_size=3, notice="colours only")


def person(image):
    return PersonView("p", image, Box(0, 0, image.shape[1], image.shape[0]), None)


def ask(predictor, *images):
    return predictor.predict([predictor.prepare(person(image)) for image in images])


def test_answers_in_the_format(predictor, colour):
    red, green = ask(predictor, colour("red"), colour("green"))
    assert (red.status, red.age, red.gender) == (PredictionStatus.OK, 42, Gender.MALE)
    assert (green.status, green.age, green.gender) == (PredictionStatus.OK, 107, Gender.FEMALE)
    assert red.details["text"] == "[male; 42]"
    assert red.details["rule"] == "strict"
    assert 0.8 < red.format_probability <= 1
    assert red.age_sd is not None
    assert abs(red.details["mean_age"] - 42) < 5


def test_a_range_is_its_midpoint(predictor, colour):
    white = ask(predictor, colour("white"))[0]
    assert (white.status, white.age, white.gender) == (PredictionStatus.RANGE, 22.5, Gender.MALE)
    assert white.details["text"] == "[male; 20-25]"
    assert white.age_sd is None
    assert not white.details["in_format"]


def test_a_refusal_has_no_value(predictor, colour):
    blue = ask(predictor, colour("blue"))[0]
    assert blue.status is PredictionStatus.REFUSED
    assert not blue.has_value
    assert blue.reason == "refusal: I cannot tell."
    assert blue.format_probability < 0.1
    assert blue.details["text"] == "I cannot tell."


def test_nothing_to_see_keeps_its_place(predictor, colour):
    nobody = PersonView("p", colour("red"), None, None)
    batch = [predictor.prepare(view) for view in (nobody, person(colour("yellow")), nobody)]
    first, second, third = predictor.predict(batch)
    assert first == third
    assert first.status is PredictionStatus.NO_EVIDENCE
    assert first.reason == "no body or face box that holds a pixel of the image"
    assert second.age == 7
    assert predictor.predict([]) == []
    assert predictor.predict(batch[:1]) == [first]


def test_a_batch_gives_what_each_person_alone_gives(predictor, colour):
    images = [colour(name, 60, 30, seed=7) for name in ("red", "white", "blue", "yellow", "green", "red")]
    for together, image in zip(ask(predictor, *images), images, strict=True):
        alone = ask(predictor, image)[0]
        assert (together.status, together.age, together.details["text"]) == (
            alone.status,
            alone.age,
            alone.details["text"],
        )
        assert together.format_probability == pytest.approx(alone.format_probability, abs=1e-5)


def test_greedy_takes_the_age_of_the_words(trained, predictor, colour):
    greedy = LlavaPredictor(trained, name="tiny", device="cpu", answer="greedy")
    red, white = ask(greedy, colour("red"), colour("white"))
    assert (red.age, white.age) == (42, 22.5)
    assert red.details["answer"] == "greedy"
    assert ask(predictor, colour("red"))[0].details["greedy_age"] == red.age


def test_full_tree_agrees_where_ages_are_certain(trained, predictor, colour):
    full = LlavaPredictor(trained, name="tiny", device="cpu", full_tree=True)
    for one, other in zip(ask(full, colour("red")), ask(predictor, colour("red")), strict=True):
        assert (one.age, one.gender) == (other.age, other.gender)
        assert one.format_probability <= other.format_probability


def test_details_are_json(predictor, colour):
    for prediction in ask(predictor, colour("red"), colour("blue")):
        assert json.loads(json.dumps(prediction.details)) == prediction.details


def test_version_names_weights_and_settings(trained, predictor):
    digest = weights_digest(trained)[:12]
    assert predictor.version == f"tiny@{digest}"
    other = LlavaPredictor(
        trained, name="tiny", device="cpu", answer="greedy", template="share4v_v1", crop="face", full_tree=True
    )
    assert other.version == f"tiny@{digest}+greedy+share4v_v1+face+full-tree"
    assert predictor.notice == "colours only"
    assert predictor.batch_size == 3


def test_the_crop_that_was_asked_for_is_shown(trained, colour):
    image = colour("red", 80, 80)
    image[10:30, 10:30] = colour("green", 20, 20)
    view = PersonView("p", image, Box(0, 0, 80, 80), Box(10, 10, 30, 30))
    predictor = LlavaPredictor(trained, device="cpu", crop="face")
    found = predictor.predict([predictor.prepare(view)])[0]
    assert found.age == 107
    assert found.details["input"] == "face"
    assert found.details["crop_size"] == [20, 20]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"answer": "mode"}, "unknown answer 'mode'; known are: greedy, median"),
        ({"template": "v3"}, "unknown prompt template 'v3'"),
        ({"crop": "bust"}, "unknown crop 'bust'"),
        ({"dtype": "int3"}, "unknown dtype 'int3'"),
    ],
)
def test_unknown_settings_name_the_known(trained, wrong, words):
    with pytest.raises(UnknownName, match=words):
        LlavaPredictor(trained, **{"device": "cpu", **wrong})


def test_missing_weights_and_missing_devices(trained, tmp_path, monkeypatch):
    with pytest.raises(WeightsMissing):
        LlavaPredictor(tmp_path, device="cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="device 'cuda:1' is not here"):
        LlavaPredictor(trained, device="cuda:1")


def test_a_tokenizer_larger_than_the_model_is_refused(trained, tmp_path):
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["model"]["vocab"][" ["] = 5000
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(WeightsInvalid, match="the tokenizer has token 5000"):
        LlavaPredictor(tmp_path, device="cpu")


def test_half_precision_gives_the_same_words(trained, colour):
    half = LlavaPredictor(trained, device="cpu", dtype="bfloat16")
    assert [one.details["text"] for one in ask(half, colour("red"), colour("blue"))] == ["[male; 42]", "I cannot tell."]
