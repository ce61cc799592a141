"""The shipped weights: small, loadable, and as good as said on pictures that they never saw."""

import subprocess
import sys

import pytest
import torch

from annotator.demo import DEMO_MODELS, DEMO_NOTICE, weights_dir
from annotator.demo.evaluate import ENSEMBLE, evaluate, load_models, match
from annotator.demo.train.samples import TRAINING_SEEDS
from annotator.domain import Box
from annotator.errors import UnknownName

LIMIT = 15_000_000


def test_all_weights_together_are_small():
    files = [path for name in DEMO_MODELS for path in weights_dir(name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT
    for name in DEMO_MODELS:
        assert {"config.json", "model.safetensors"} <= {path.name for path in weights_dir(name).iterdir()}


def test_names_and_notice_need_no_torch():
    code = "import sys, annotator.demo as d; d.weights_dir('demo-mllm'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "drawn figures only" in DEMO_NOTICE
    with pytest.raises(UnknownName, match="demo-mivolo"):
        weights_dir("demo-unknown")


def test_matching_takes_each_drawn_box_once():
    drawn = [Box(0, 0, 10, 10), Box(100, 0, 110, 10)]
    assert match([Box(0, 0, 10, 9), Box(1, 0, 11, 10), Box(100, 1, 110, 10)], drawn) == [0, None, 1]
    assert match([Box(0, 0, 10, 10)], []) == [None]


@pytest.fixture(scope="module")
def scores():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    detector, predictors = load_models()
    yield evaluate(detector, predictors, pictures=40, seed=40_404)
    torch.set_num_threads(before)


def test_the_measured_pictures_are_unseen():
    assert TRAINING_SEEDS > 40_404


def test_people_and_faces_are_found(scores):
    assert scores.person.drawn > 60
    for kind in (scores.person, scores.face):
        assert kind.recall >= 0.94
        assert kind.precision >= 0.88


def test_ages_and_genders_come_from_the_picture(scores):
    mivolo, mllm = scores.predictors["demo-mivolo"], scores.predictors["demo-mllm"]
    assert mivolo.mae <= 6.5
    assert mllm.mae <= 7.5
    assert mivolo.gender_accuracy >= 0.9
    assert mllm.gender_accuracy >= 0.9
    assert mllm.silent == 0


def test_the_ensemble_is_at_least_as_good_as_either(scores):
    mivolo, mllm = scores.predictors["demo-mivolo"], scores.predictors["demo-mllm"]
    fused = scores.predictors[ENSEMBLE]
    assert fused.mae < max(mivolo.mae, mllm.mae)
    assert fused.people >= max(mivolo.people, mllm.people)


def test_the_table_names_what_was_measured(scores):
    text = scores.table()
    assert text.startswith("40 unseen drawn pictures")
    assert f"MAE {scores.predictors[ENSEMBLE].mae:.2f}" in text
