"""The demo's retraining, on few pictures and steps: it runs through and reports what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator.pipeline import demo_retrain
from annotator.pipeline.demo_retrain import run_retraining


@pytest.mark.slow
def test_both_models_are_weakened_retrained_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {
        "mivolo": {**demo_retrain.RECIPES["mivolo"], "steps": 30, "evaluate_every": 15},
        "llava": {**demo_retrain.RECIPES["llava"], "steps": 4, "save_steps": 2, "validation_people": 8},
    }
    monkeypatch.setattr(demo_retrain, "RECIPES", short)
    mivolo, mllm = run_retraining(tmp_path / "demo", pictures=130, unseen=20)
    for change in (mivolo, mllm):
        assert change.people > 20
        assert change.promoted == ("not worse" in change.why)
        before, after = change.mae
        assert before.low < before.value < before.high
        assert change.promoted or after.value == before.value
    assert mivolo.mae[1].value < mivolo.mae[0].value, "noise in the head is unlearnt in a few steps"
