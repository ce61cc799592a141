"""A tiny MiVOLO learns drawn figures, is resumed exactly, and loads where the published weights load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from annotator.demo.figures import draw_image, encode_jpeg
from annotator.errors import InputError, WeightsMissing
from annotator.export.manifest import Recipe as Made
from annotator.predictors.mivolo.architecture import ModelMeta
from annotator.predictors.mivolo.checkpoint import load_model
from annotator.predictors.mivolo.predictor import MiVOLOPredictor
from annotator.training.crops import store_crops
from annotator.training.logs import RunLog
from annotator.training.mivolo import train
from annotator.training.mivolo.learner import Targets, multitask_loss
from annotator.training.mivolo.recipe import Recipe, usual
from annotator.training.mivolo.start import SIZES, TINY, start, two_stems
from annotator.training.mivolo.train import Place, train_stage
from annotator.training.people import Dataset, read_dataset
from tests.helpers.export_rows import figure_rows, image_of, row_of, write_rows


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty drawn pictures as an exported dataset."""
    folder = tmp_path_factory.mktemp("figures")
    rows = figure_rows(folder, 5, 40)
    write_rows(folder / "dataset", rows, recipe=Made({}, None, {}), split={"train": 0.7, "val": 0.3})
    return folder / "dataset"


@pytest.fixture(scope="module")
def people(dataset: Path) -> Dataset:
    return read_dataset(dataset)


def recipe(**changes: object) -> Recipe:
    base = replace(usual(2, "tiny"), steps=6, batch=8, evaluate_every=3)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_killed_run_ends_in_the_same_weights(
    people: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = recipe(accumulate=2)
    train_stage(people, plan, Place(tmp_path / "whole", "cpu"))
    learn = train._Run._learn

    def dies(self: train._Run, step: int, batches: list[object]) -> float:
        if step == 4:
            raise KeyboardInterrupt
        return learn(self, step, batches)

    monkeypatch.setattr(train._Run, "_learn", dies)
    with pytest.raises(KeyboardInterrupt):
        train_stage(people, plan, Place(tmp_path / "killed", "cpu"))
    monkeypatch.undo()
    said: list[str] = []
    train_stage(people, plan, Place(tmp_path / "killed", "cpu", say=said.append))
    assert said[0] == "going on after step 3"
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "killed"))
    for part in ("learner", "average"):
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part])
    assert (tmp_path / "whole/log.csv").read_bytes() == (tmp_path / "killed/log.csv").read_bytes()
    facts = (tmp_path / "killed/run.json").read_bytes()
    train_stage(people, plan, Place(tmp_path / "killed", "cpu"))
    assert (tmp_path / "killed/run.json").read_bytes() == facts, "a finished run told other things"
    other = replace(plan, rate=plan.rate / 2)
    with pytest.raises(InputError, match="another dataset or recipe"):
        train_stage(people, other, Place(tmp_path / "killed", "cpu"))


def test_stage_two_begins_with_the_stem_of_stage_one(people: Dataset, tmp_path: Path) -> None:
    first = train_stage(people, replace(recipe(), stage=1), Place(tmp_path / "one", "cpu"))
    assert set(first.scores) == {"face/mae", "face/gender_accuracy"}
    model = start(replace(TINY, in_chans=6), str(first.model), 0)
    taught = load_model(first.model, accelerated=False).state_dict()
    own = model.state_dict()
    for stem in ("conv1", "conv2"):
        assert torch.equal(own[f"patch_embed.{stem}.0.weight"], taught["patch_embed.conv.0.weight"])
    assert torch.equal(own["network.2.0.mlp.fc1.weight"], taught["network.2.0.mlp.fc1.weight"])
    second = train_stage(people, recipe(init=str(first.model), steps=3), Place(tmp_path / "two", "cpu"))
    assert set(second.scores) == {
        f"{what}/{name}" for what in ("body+face", "face", "body") for name in ("mae", "gender_accuracy")
    }
    predictor = MiVOLOPredictor(second.model, name="mine", device="cpu")
    assert (predictor.meta.min_age, predictor.meta.max_age, predictor.meta.channels) == (0.0, 122.0, 6)
    content = torch.load(second.model, weights_only=True)
    assert {"state_dict", "state_dict_ema", "min_age", "max_age", "avg_age", "no_gender", "with_persons_model"} <= set(
        content
    )
    assert (tmp_path / "two/curves.png").stat().st_size > 5000


def test_it_learns(people: Dataset, tmp_path: Path) -> None:
    """The loss on the people it is trained on falls."""
    plan = replace(recipe(steps=60, batch=24, evaluate_every=20, drop=0.0), stage=1)
    train_stage(people, plan, Place(tmp_path, "cpu"), validation="train")
    losses = [row["training"] for row in RunLog(tmp_path, 60).rows]
    assert losses[2] < 0.6 * losses[0]


def test_large_errors_of_ages_count_linearly_where_wanted() -> None:
    meta = ModelMeta.of(TINY, 0.0, 122.0)
    years = torch.tensor([1.0, 30.0])
    targets = Targets(torch.full((2,), meta.avg_age), torch.full((2,), -1))
    output = torch.stack([torch.zeros(2), torch.zeros(2), years / 122], dim=1)
    even = torch.ones(131)
    squared = multitask_loss(output, targets, meta, even, 122.0**2)
    assert squared.item() == pytest.approx((1 + 30**2) / 2)
    assert multitask_loss(output, targets, meta, even, 122.0**2, 3.0).item() == pytest.approx((1 + 3 * (60 - 3)) / 2)


def test_both_stems_of_the_published_size_come_from_one() -> None:
    source = start(replace(SIZES["mivolo_d1_224"], in_chans=3), "random", 1).state_dict()
    six = two_stems(dict(source))
    model = start(SIZES["mivolo_d1_224"], "random", 0)
    left = set(model.state_dict()) - set(six)
    assert all(name.startswith("patch_embed.map.") for name in left)
    assert not set(six) - set(model.state_dict())


def test_missing_weights_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*args: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", nowhere)
    with pytest.raises(WeightsMissing, match=r"no route to host.*--init FILE"):
        start(replace(SIZES["mivolo_d1_384"], in_chans=3), "imagenet", 0)
    with pytest.raises(InputError, match="--init random"):
        start(TINY, "imagenet", 0)


def test_datasets_that_cannot_be_trained_from(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="annotator export"):
        read_dataset(tmp_path)
    pixels, _ = draw_image(5, 0)
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(pixels))
    rows = [row_of(image_of(tmp_path / "a.jpg"), 0, draw_image(5, 0)[1][0].body, truth=(30.0, None))]
    for options, says in (
        ({}, "no split"),
        ({"split": {"train": 1.0}, "images": "none"}, "no pictures"),
        ({"split": {"train": 1.0}, "kind": "llava", "images": "none"}, "--format lagenda"),
    ):
        write_rows(tmp_path / "out", rows, recipe=Made({}, None, {}), **options)
        with pytest.raises(InputError, match=says):
            read_dataset(tmp_path / "out")
    write_rows(tmp_path / "out", rows, recipe=Made({}, None, {}), split={"train": 1.0})
    with pytest.raises(InputError, match="split 'val'"):
        train_stage(read_dataset(tmp_path / "out"), recipe(), Place(tmp_path / "run", "cpu"))


def test_where_crops_are_kept_changes_nothing(people: Dataset, tmp_path: Path) -> None:
    """Somebody whom the others hide is found out without a file of crops too."""
    everybody = [person for part in people.splits.values() for person in part]
    boxed = sum((person.face is not None) + (person.body is not None) for person in everybody)
    shown = sum(
        int(store_crops(part, 64, tmp_path / "all", name, people.id, max_bytes=1e9).seen.sum())
        for name, part in people.splits.items()
    )
    assert shown < boxed, "the pictures have somebody who is hidden"
    for name, room in (("kept", 8e9), ("cut", 0.0)):
        train_stage(people, recipe(), Place(tmp_path / name, "cpu", cache_bytes=room))
    assert not list((tmp_path / "cut" / "crops").glob("*[0-9a-f].npy"))
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("kept", "cut"))
    assert all(torch.equal(one["learner"][name], two["learner"][name]) for name in one["learner"])
    assert one["best"] == two["best"]


def test_crops_of_all_splits_and_stages_share_their_room(people: Dataset, tmp_path: Path) -> None:
    train_bytes = len(people.splits["train"]) * 2 * 64 * 64 * 3
    place = Place(tmp_path / "one", "cpu", cache_bytes=train_bytes + 1, crops=tmp_path / "crops")
    train_stage(people, recipe(stage=1, steps=1), place)
    kept = {path.name.partition("-")[0] for path in place.crops.glob("*.npy") if ".seen" not in path.name}
    assert kept == {"train"}, "both would take more"
    before = {path: path.stat().st_mtime_ns for path in place.crops.iterdir()}
    train_stage(people, recipe(steps=1), replace(place, out=tmp_path / "two"))
    assert {path: path.stat().st_mtime_ns for path in place.crops.iterdir()} == before


def test_a_training_that_diverged_says_so_and_keeps_the_last_good_weights(
    people: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = train._Run._learn

    def breaks(self: train._Run, step: int, batches: list[object]) -> float:
        if step == 4:
            for weights in self.average.model.parameters():
                weights.data.fill_(float("nan"))
        return learn(self, step, batches)

    monkeypatch.setattr(train._Run, "_learn", breaks)
    with pytest.raises(InputError, match=r"diverged before step 6.*Remove .*run.* lower rate"):
        train_stage(people, recipe(), Place(tmp_path / "run", "cpu"))
    kept = load_model(tmp_path / "run" / "model.pth.tar", accelerated=False)
    assert all(bool(weights.isfinite().all()) for weights in kept.parameters())
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 3
