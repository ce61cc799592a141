"""A trained model takes a predictor's place only where it is not worse, and is then what the project uses."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from annotator.demo import weights_dir
from annotator.demo.figures import write_pictures
from annotator.errors import AnnotatorError, ConfigurationError, InputError, UnknownName
from annotator.export.dataset import Options
from annotator.export.manifest import read_manifest
from annotator.export.reading import image_splits
from annotator.pipeline.export import export
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.promote import promote, register
from annotator.pipeline.retrain import NotYet, Plan, retrain
from annotator.pipeline.settle import settle
from annotator.pipeline.watch import Silent
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


def noisy(folder: Path) -> Path:
    """The demo's MiVOLO with so little noise in its head that few people cannot tell which is better."""
    model = load_model(weights_dir("demo-mivolo"), accelerated=False)
    torch.manual_seed(4)
    with torch.no_grad():
        model.head.weight.add_(2e-4 * torch.randn_like(model.head.weight))
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


def test_a_model_is_not_judged_by_people_it_learnt_from(
    known: Store, dataset: Path, settings: Settings, tmp_path: Path
) -> None:
    export(known, settings, tmp_path / "other", options=Options(split={"train": 0.5, "test": 0.5}, seed=5))
    manifest = read_manifest(tmp_path / "other")
    assert manifest
    twin = shutil.copytree(weights_dir("demo-mivolo"), tmp_path / "twin")
    model = Trained("twin", "mivolo", str(twin), "", manifest["id"], "demo-mivolo")
    register(known, settings, replace(model, learnt_from=str(tmp_path / "other")))
    with pytest.raises(InputError, match=r"'twin' learnt from \d+ of the \d+ images .* --parent .*other"):
        promote(known, settings, "twin", dataset)
    export(
        known,
        settings,
        tmp_path / "next",
        options=Options(split={"train": 0.5, "test": 0.5}),
        parent=tmp_path / "other",
    )
    shutil.rmtree(dataset)
    assert promote(known, settings, "twin", tmp_path / "next").unknown == ()
    register(known, settings, replace(model, dataset="of another day", learnt_from=str(tmp_path / "gone")))
    assert promote(known, settings, "twin", tmp_path / "next").unknown == ("twin",)


def test_what_is_a_little_worse_is_not_used_though_no_interval_tells(
    known: Store, dataset: Path, settings: Settings, tmp_path: Path
) -> None:
    """Else a chain of models, each a little worse than the last, would come to be used."""
    listed(known, settings, "noisy", noisy(tmp_path / "noisy"), dataset)
    refused = promote(known, settings, "noisy", dataset)
    assert refused.age.difference.low < 0 < refused.age.difference.value
    assert not refused.accepted
    assert "worse on balance by 0.02" in refused.why
    assert names(settings) == ["demo-mivolo", "demo-mllm"]


def test_what_cannot_be_compared_is_said(known: Store, dataset: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="trained model 'nobody'"):
        promote(known, settings, "nobody", dataset)
    listed(known, settings, "twin", shutil.copytree(weights_dir("demo-mivolo"), tmp_path / "twin"), dataset)
    export(known, settings, tmp_path / "small", options=Options(split={"train": 0.95, "test": 0.05}))
    with pytest.raises(InputError, match="30 or more"):
        promote(known, settings, "twin", tmp_path / "small")
    with pytest.raises(UnknownName):
        register(known, settings, Trained("x", "mivolo", "y", "", "z", "no-such-predictor"))


def test_only_weights_that_load_are_listed(known: Store, settings: Settings, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.pth.tar").write_bytes(b"of a training")
    mllm = weights_dir("demo-mllm")
    for family, place, says in (
        ("mivolo", run, "model.pth.tar"),
        ("mivolo", tmp_path / "gone.pth.tar", "gone.pth.tar"),
        ("llava", mllm / "model.safetensors", f"llava:{mllm}"),
        ("llava", weights_dir("demo-mivolo"), "mivolo"),
    ):
        with pytest.raises(AnnotatorError, match=re.escape(says)):
            register(known, settings, Trained("x", family, str(place), "", "z", "demo-mivolo"))
    assert read_trained(settings) == {}


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


def prelabelled(store: Store, settings: Settings) -> None:
    prelabel(store, settings, open_models(settings))
    settle(store, settings)


def numbers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Notes(Silent):
    """Keeps what is said, and is interrupted at what begins like that."""

    def __init__(self, interrupted_at: str | None = None) -> None:
        self.heard: list[str] = []
        self._at = interrupted_at

    def note(self, text: str) -> None:
        self.heard.append(text)
        if self._at is not None and text.startswith(self._at):
            raise KeyboardInterrupt


def test_nothing_is_trained_twice(known: Store, settings: Settings, tmp_path: Path) -> None:
    weak = weakened(tmp_path / "weak")
    own = settings.model_copy(update={"predictors": [f"mivolo:{weak}"]})
    recipe = {"steps": 40, "batch": 16, "rate": 3e-4, "evaluate_every": 40, "drop": 0.0}
    plan = Plan(f"mivolo:{weak}", "settled", recipe, "cpu", {"train": 0.5, "val": 0.1, "test": 0.4})
    prelabelled(known, own)
    assert retrain(known, own, plan).accepted
    datasets, models = (own.path(own.data_dir) / name for name in ("datasets", "models"))
    listed_then = (own.path(own.data_dir) / "trained.json").read_bytes()
    with pytest.raises(NotYet, match="no label is new since weak-0001"):
        retrain(known, own, plan)
    prelabelled(known, own)  # by the new model: its predictions are in the provenance of a dataset, but teach nothing
    with pytest.raises(NotYet, match="no label is new since weak-0001"):
        retrain(known, own, plan)
    assert (numbers(datasets), numbers(models)) == (["0001"], ["weak-0001"])
    assert (own.path(own.data_dir) / "trained.json").read_bytes() == listed_then
    ingest(known, own, [str(write_pictures(tmp_path / "more", 2, 9))])
    found = retrain(known, own, plan)
    assert (found.name, found.incumbent) == ("weak-0002", "weak-0001")
    first, second = (dict(image_splits(datasets / number)) for number in ("0001", "0002"))
    assert first.items() < second.items()  # who was held out still is


def test_a_training_that_was_killed_is_gone_on_with(known: Store, settings: Settings) -> None:
    recipe = {"steps": 4, "batch": 8, "evaluate_every": 2}
    plan = Plan("demo-mivolo", "settled", recipe, "cpu", {"train": 0.5, "val": 0.1, "test": 0.4})
    with pytest.raises(KeyboardInterrupt):
        retrain(known, settings, plan, Notes("step 4"))
    prelabelled(known, settings)
    notes = Notes()
    assert retrain(known, settings, plan, notes).name == "demo-mivolo-0001"
    assert "going on after step 2" in notes.heard
    assert numbers(settings.path(settings.data_dir) / "datasets") == ["0001"]


def test_too_few_held_out_people_are_said_before_anything_is_trained(known: Store, settings: Settings) -> None:
    plan = Plan("demo-mivolo", split={"train": 0.9, "val": 0.05, "test": 0.05})
    with pytest.raises(NotYet, match="30 or more"):
        retrain(known, settings, plan)
    assert not (settings.path(settings.data_dir) / "models").exists()


def test_a_recipe_has_no_other_fields(known: Store, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="'stepz'"):
        retrain(
            known, settings, Plan("demo-mivolo", recipe={"stepz": 3}, split={"train": 0.5, "val": 0.1, "test": 0.4})
        )
