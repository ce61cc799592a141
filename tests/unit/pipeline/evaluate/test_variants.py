"""Inputs of each kind of predictor, what it then sees, and weights that are in memory once."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator.endpoint import Endpoint
from annotator.errors import UnknownName, WeightsMissing
from annotator.model_options import ModelOptions
from annotator.pipeline.evaluate.variants import open_variants, usual_predictors
from annotator.predictors.registry import open_predictor
from annotator.settings import Settings

ALL = ["body+face", "body", "face", "no-face"]


def test_mivolo_sees_what_was_asked_for_by_the_evaluation_rule(settings: Settings) -> None:
    variants = open_variants(["demo-mivolo"], ALL, settings, crops="dataset")
    assert [one.sees for one in variants] == ALL
    usual = open_predictor("demo-mivolo", settings).version
    versions = [one.model.version.removeprefix(usual) for one in variants]
    assert versions == ["+dataset-crops", "+body+dataset-crops", "+face+dataset-crops", "+body+dataset-crops"]
    inference = open_variants(["demo-mivolo"], ["body+face"], settings, crops="inference")
    assert inference[0].model.version == usual


def test_a_multimodal_model_sees_the_whole_body_where_both_are_asked_for(settings: Settings) -> None:
    variants = open_variants(["demo-mllm"], ALL, settings, crops="dataset", answer="greedy")
    assert [one.sees for one in variants] == ["body", "body", "face", "no-face"]
    usual = open_predictor("demo-mllm", settings).version
    versions = [one.model.version.removeprefix(usual) for one in variants]
    assert versions == ["+greedy", "+greedy", "+greedy+face", "+greedy+no-face"]


@pytest.mark.parametrize("name", ["demo-mivolo", "demo-mllm"])
def test_variants_share_their_weights_and_are_what_their_version_says(name: str, settings: Settings) -> None:
    variants = open_variants([name], ["body+face", "no-face", "face"], settings, crops="dataset")
    models = [one.model.get() for one in variants]  # a model that is not what its version says is refused here
    inner = [getattr(model, "model", None) or model._model for model in models]  # type: ignore[attr-defined]
    assert all(one is inner[0] for one in inner)
    assert [model.version for model in models] == [one.model.version for one in variants]


def test_options_of_the_settings_stay(settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"models": {"mine": ModelOptions(weights="demo-mllm", tree="full")}})
    found = open_variants(["mine"], ["no-face"], own, crops="dataset")[0]
    assert found.model.version.endswith("+no-face+full-tree")
    assert found.name == "mine"


def test_an_endpoint_is_shown_the_crop_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    chat = {"gpt": Endpoint(base_url="http://127.0.0.1:9/v1", model="gpt-x")}
    asked = settings.model_copy(update={"chat": chat})
    body, without = open_variants(["gpt"], ["body+face", "no-face"], asked, crops="dataset", answer="greedy")
    assert (body.sees, without.sees, body.remote) == ("body", "no-face", True)
    assert body.model.version != without.model.version


def test_names_that_are_wrong(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown inputs 'legs'"):
        open_variants(["demo-mivolo"], ["legs"], settings, crops="dataset")
    with pytest.raises(UnknownName, match="unknown predictor 'nobody'"):
        open_variants(["nobody"], ["body"], settings, crops="dataset")
    away = settings.model_copy(update={"models_dir": tmp_path / "none"})
    with pytest.raises(WeightsMissing, match="mivolo-v2-384"):
        open_variants(["mivolo-v2-384"], ["body"], away, crops="dataset")


def test_usual_predictors_are_the_profiles(settings: Settings) -> None:
    assert usual_predictors(settings) == ("demo-mivolo", "demo-mllm")
    assert usual_predictors(settings.model_copy(update={"predictors": ["demo-mllm"]})) == ("demo-mllm",)
    with pytest.raises(UnknownName, match="profile"):
        usual_predictors(settings.model_copy(update={"profile": "papers"}))
