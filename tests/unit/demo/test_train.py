"""The training scripts run, and give the same weights from the same seed."""

import hashlib
import itertools

import numpy as np
import pytest
import torch

from annotator.demo.looks import OLDEST
from annotator.demo.train.__main__ import main
from annotator.demo.train.loop import Run
from annotator.demo.train.mllm import Script, make_tokenizer, mllm_config
from annotator.demo.train.samples import TRAINING_SEEDS, Sizes, cached, detection_samples, people_samples
from annotator.domain import Gender


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def train(what, folder, *more):
    main([what, "--seed", "3", "--steps", "2", "--pictures", "30", "--out", str(folder), *more])
    return hashlib.sha256((folder / f"demo-{what}" / "model.safetensors").read_bytes()).hexdigest()


def test_the_detector_trains_and_loads(tmp_path):
    from annotator.detection.huggingface import HuggingFaceDetector

    train("detector", tmp_path)
    detector = HuggingFaceDetector(tmp_path / "demo-detector", name="fresh", device="cpu")
    assert detector.kinds == {"person", "face"}
    assert len(detector.detect([np.zeros((60, 80, 3), np.uint8)])) == 1


def test_mivolo_trains_loads_and_is_reproducible(tmp_path):
    from annotator.predictors.mivolo import load_model

    first = train("mivolo", tmp_path / "a", "--cache", str(tmp_path / "cache"))
    again = train("mivolo", tmp_path / "b", "--cache", str(tmp_path / "cache"))
    assert first == again
    model = load_model(tmp_path / "a" / "demo-mivolo")
    assert (model.meta.min_age, model.meta.max_age, model.meta.channels) == (0, OLDEST, 6)


def test_the_mllm_trains_and_answers_in_years(tmp_path):
    from annotator.predictors.base import PersonView
    from annotator.predictors.llava.predictor import LlavaPredictor

    train("mllm", tmp_path)
    predictor = LlavaPredictor(tmp_path / "demo-mllm", name="fresh", device="cpu")
    view = PersonView("p", np.full((90, 60, 3), 99, np.uint8), None, None)
    assert len(predictor.predict([predictor.prepare(view)])) == 1


def test_tokenizer_is_reproducible_and_keeps_digits_apart():
    first, second = make_tokenizer(), make_tokenizer()
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()
    pieces = first.convert_ids_to_tokens(first.encode(" [female; 40]", add_special_tokens=False))
    assert pieces[-3:] == ["4", "0", "]"]
    assert first.decode(first.encode(" [male; 130]", add_special_tokens=False)).strip() == "[male; 130]"


def test_script_rows_spell_the_answer_they_are_for():
    tokenizer = make_tokenizer()
    script = Script(tokenizer, mllm_config(tokenizer, Sizes().mllm))
    row = int(script.row(np.array([True]), np.array([73]))[0])
    spelled = [int(token) for token in script.labels[row] if token >= 0]
    assert tokenizer.decode(spelled, skip_special_tokens=True).strip() == f"[{Gender.FEMALE.value}; 73]"
    assert spelled[-1] == tokenizer.eos_token_id
    assert script.inputs[row, -script.length :].tolist()[: len(spelled)] == spelled


def test_samples_are_what_was_drawn(tmp_path):
    from annotator.demo.figures import draw_image

    people = [person for index in range(4) for person in draw_image(TRAINING_SEEDS + 6, index)[1]]
    sizes = Sizes()
    data = cached(tmp_path, "people", lambda: people_samples(6, 4, sizes))
    again = cached(tmp_path, "people", lambda: pytest.fail("drawn twice"))
    assert np.array_equal(data["age"], [person.age for person in people])
    assert np.array_equal(again["body"], data["body"])
    assert data["whole"].shape == (len(people), sizes.mllm, sizes.mllm, 3)
    assert not data["face"][~np.asarray(data["has_face"])].any()
    boxes = detection_samples(6, 4, sizes.detector)
    assert (boxes["classes"] == 0).sum() == len(people)
    assert (boxes["classes"] == 1).sum() == sum(person.face is not None for person in people)
    assert boxes["boxes"].min() >= 0
    assert boxes["boxes"].max() <= 1


def test_learning_rate_warms_up_and_falls():
    run = Run(seed=0, steps=100, batch=1, pictures=1, rate=1.0)
    rates = [run.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.02
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[4:]))
