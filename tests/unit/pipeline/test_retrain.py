"""A trained model takes a predictor's place only where it is not worse, and is then what the project uses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from annotator.demo import weights_dir
from annotator.demo.figures import write_pictures
from annotator.errors import InputError, UnknownName
from annotator.export.dataset import Options
from annotator.export.manifest import read_manifest
from annotator.pipeline.export import export
from annotator.pipeline.ingest import ingest
from annotator.pipeline.promote import promote, register
from annotator.pipeline.retrain import Plan, retrain
from annotator.predictors.mivolo.checkpoint import load_model
from annotator.predictors.mivolo.saving import save_pretrained
from annotator.predictors.registry import open_models
from annotator.predictors.trained import Trained, read_trained
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import EventRow


@pytest.fixture
def known(corridor: Store, settings: Settings, tmp_path: Path) -> Store:
    """Sixty drawn pictures whose people are known."""
    truth = write_pictures(tmp_path / "in", 60, 3)
    ingest(corridor, settings, [str(truth)])
    return corridor


@pytest.fixture
def dataset(known: Store, settings: Settings, tmp_path: Path) -> Path:
    export(known, settings, tmp_path / "dataset", options=Options(split={"train": 0.4, "test": 0.6}))
    return tmp_path / "dataset"


def weakened(folder: Path) -> Path:
    """The demo's MiVOLO with noise in its head."""
    model = load_model(weights_dir("demo-mivolo"), accelerated=False)
    torch.manual_seed(0)
    with torch.no_grad():
        model.head.weight.add_(0.05 * torch.randn_like(model.head.weight))
        model.head.bias[-1] += 0.15
    save_pretrained(folder, model, model.meta)
    return folder


def listed(store: Store, settings: Settings, name: str, folder: Path, dataset: Path) -> None:
    manifest = read_manifest(dataset)
    assert manifest
    register(store, settings, Trained(name, "mivolo", str(folder), "", manifest["id"], "demo-mivolo"))


def names(settings: Settings) -> list[str]:
    return [model.name for model in open_models(settings).predictors]


def test_only_what_is_not_worse_is_used(known: Store, dataset: Path, settings: Settings, tmp_path: Path) -> None:
    listed(known, settings, "weak", weakened(tmp_path / "weak"), dataset)
    refused = promote(known, settings, "weak", dataset)
    assert not refused.accepted
    assert refused.age.difference.low > 0
    assert refused.scores["mae"] > refused.before["mae"]
    assert "worse in age" in refused.why
    assert names(settings) == ["demo-mivolo", "demo-mllm"]
    twin = shutil.copytree(weights_dir("demo-mivolo"), tmp_path / "twin")
    listed(known, settings, "twin", twin, dataset)
    accepted = promote(known, settings, "twin", dataset)
    assert accepted.accepted
    assert accepted.age.difference.value == 0
    assert names(settings) == ["twin", "demo-mllm"]
    assert open_models(settings).predictors[0].version.startswith("twin@")
    again = promote(known, settings, "weak", dataset)
    assert (again.incumbent, again.accepted) == ("twin", False)
    kinds = ["model_registered", "model_refused", "model_promoted"]
    with known.read() as session:
        told = [row.kind for row in session.query(EventRow).filter(EventRow.kind.in_(kinds)).order_by(EventRow.id)]
    assert told == ["model_registered", "model_refused", "model_registered", "model_promoted", "model_refused"]


def test_what_cannot_be_compared_is_said(known: Store, dataset: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="trained model 'nobody'"):
        promote(known, settings, "nobody", dataset)
    listed(known, settings, "twin", shutil.copytree(weights_dir("demo-mivolo"), tmp_path / "twin"), dataset)
    export(known, settings, tmp_path / "small", options=Options(split={"train": 0.95, "test": 0.05}))
    with pytest.raises(InputError, match="30 or more"):
        promote(known, settings, "twin", tmp_path / "small")
    with pytest.raises(UnknownName):
        register(known, settings, Trained("x", "mivolo", "y", "", "z", "no-such-predictor"))


def test_a_weak_model_is_retrained_and_replaced(known: Store, settings: Settings, tmp_path: Path) -> None:
    weak = weakened(tmp_path / "weak")
    own = settings.model_copy(update={"predictors": [f"mivolo:{weak}"]})
    recipe = {"steps": 40, "batch": 16, "rate": 3e-4, "evaluate_every": 40, "drop": 0.0}
    plan = Plan(f"mivolo:{weak}", "settled", recipe, "cpu", {"train": 0.5, "val": 0.1, "test": 0.4})
    found = retrain(known, own, plan)
    assert found.accepted
    assert found.scores["mae"] < found.before["mae"]
    assert names(own) == [found.name]
    (model,) = read_trained(own).values()
    manifest = read_manifest(own.path(own.data_dir) / "datasets" / "0001")
    assert manifest
    assert (model.dataset, model.promoted, model.scores) == (manifest["id"], True, found.scores)
    assert replace(model, promoted=False).options.weights == f"mivolo:{model.weights}"
