"""Names, options and profiles, against the demo weights."""

import numpy as np
import pytest

from annotator.demo import weights_dir
from annotator.endpoint import Endpoint
from annotator.errors import ConfigurationError, UnknownName, WeightsMissing
from annotator.model_options import ModelOptions
from annotator.predictors.catalogue import CATALOGUE, PROFILES
from annotator.predictors.places import model_options
from annotator.predictors.registry import check_predictor, open_detector, open_models, open_predictor
from annotator.settings import Settings, load_settings


def settings_with(tmp_path, **changes):
    return Settings(models_dir=tmp_path, device="cpu", **changes)


@pytest.mark.parametrize(
    "options, suffix",
    [
        ({}, ""),
        ({"inputs": "face"}, "+face"),
        ({"dtype": "bfloat16", "batch_size": 2, "compiled": False}, "+bfloat16"),
    ],
)
def test_mivolo_is_run_as_the_settings_say(tmp_path, options, suffix):
    settings = settings_with(tmp_path, models={"mine": ModelOptions(weights="demo-mivolo", **options)})
    lazy = open_predictor("mine", settings)
    assert lazy.version == open_predictor("demo-mivolo", settings).version.replace("demo-mivolo", "mine") + suffix
    loaded = lazy.get()
    assert loaded.version == lazy.version
    assert loaded.batch_size == options.get("batch_size", 8)


def test_llava_is_run_as_the_settings_say(tmp_path):
    options = ModelOptions(answer="greedy", crop="face", tree="full", batch_size=3)
    settings = settings_with(tmp_path, models={"demo-mllm": options})
    lazy = open_predictor("demo-mllm", settings)
    assert lazy.version.endswith("+greedy+face+full-tree")
    loaded = lazy.get()
    assert (loaded.version, loaded.answer, loaded.crop, loaded.batch_size) == (lazy.version, "greedy", "face", 3)


def test_an_option_that_a_model_lacks_is_refused(tmp_path):
    settings = settings_with(tmp_path, models={"demo-mivolo": ModelOptions(quantisation="4bit")})
    with pytest.raises(ConfigurationError, match=r"\[models.demo-mivolo\] sets quantisation"):
        open_predictor("demo-mivolo", settings)


def test_options_come_from_the_settings_file(tmp_path):
    text = 'profile = "small-gpu"\n[models.sharegpt4v-7b]\nbatch_size = 2\n[models.x]\nweights = "demo-mllm"\n'
    (tmp_path / "annotator.toml").write_text(text)
    settings = load_settings(tmp_path)
    assert model_options("sharegpt4v-7b", settings) == ModelOptions(quantisation="4bit", batch_size=2)
    check_predictor("x", settings)
    (tmp_path / "annotator.toml").write_text("[models.x]\ntreee = 1\n")
    with pytest.raises(ConfigurationError, match=r"models\.x\.treee"):
        load_settings(tmp_path)


def test_every_profile_names_what_exists():
    for profile in PROFILES.values():
        for name in (*profile.predictors, *profile.options):
            assert CATALOGUE[name].kind == "predictor"
        for name in profile.detector.split("+"):
            assert CATALOGUE[name].kind == "detector"


def test_a_profile_without_its_weights_says_what_to_run(tmp_path):
    with pytest.raises(WeightsMissing, match="annotator models pull dfine-s"):
        open_models(settings_with(tmp_path, profile="cpu"))
    with pytest.raises(WeightsMissing, match="annotator models pull dfine-m"):
        open_models(settings_with(tmp_path, profile="paper"))


def test_remote_takes_the_settings_endpoints(tmp_path):
    with pytest.raises(ConfigurationError, match=r"\[chat.NAME\] with base_url"):
        open_models(settings_with(tmp_path, profile="remote"))
    with pytest.raises(ConfigurationError, match=r"\[chat.gpt-4o\] with base_url"):
        check_predictor("gpt-4o", settings_with(tmp_path))
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model="gpt-4o", kind="self-hosted")
    check_predictor("gpt-4o", settings_with(tmp_path, chat={"gpt-4o": endpoint}))
    with pytest.raises(UnknownName):
        check_predictor("nobody", settings_with(tmp_path))


def test_two_detectors_are_one(tmp_path):
    folder = weights_dir("demo-detector")
    settings = settings_with(tmp_path)
    lazy = open_detector(f"demo-detector+huggingface:{folder}", settings)
    both = lazy.get()
    assert both.version == lazy.version
    assert lazy.version.startswith("demo-detector+demo-detector:demo-detector@")
    image = np.random.default_rng(0).integers(0, 255, (200, 160, 3), np.uint8)
    alone = open_detector("demo-detector", settings).get().detect([image])
    assert both.detect([image]) == alone


def test_each_entry_says_what_of_its_origin_is_fixed():
    assert {name: entry.known for name, entry in CATALOGUE.items() if entry.repository} == {
        "mivolo-v2-384": "commit and sha256",
        "sharegpt4v-7b": "name",
        "sharegpt4v-13b": "name",
        "llava-1.5-7b": "commit and sha256",
        "llava-next-34b": "commit",
        "llava-next-mistral-7b": "commit",
        "llava-next-vicuna-7b": "commit",
        "llava-next-vicuna-13b": "name",
        "dfine-s": "commit and sha256",
        "dfine-m": "commit",
        "dfine-l": "commit",
        "dfine-x": "commit",
        "yunet": "commit and sha256",
        "yolo-face-person": "name",
    }
    for entry in CATALOGUE.values():
        assert all(len(digest) == 64 and int(digest, 16) for digest in entry.sha256.values())
        assert not entry.is_pinned or (len(entry.revision) == 40 and int(entry.revision, 16))


@pytest.mark.parametrize("device", ["toaster", "cuda:99", "mps"])
def test_every_family_refuses_the_same_devices(tmp_path, device):
    settings = Settings(models_dir=tmp_path, device=device)
    for lazy in (
        open_detector("demo-detector", settings),
        open_predictor("demo-mivolo", settings),
        open_predictor("demo-mllm", settings),
    ):
        with pytest.raises(ConfigurationError, match=f"device '{device}'"):
            lazy.get()
