"""Both layouts in and out, and every way in which a file can be wrong."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from annotator.errors import StorageError, WeightsInvalid, WeightsMissing
from annotator.predictors.mivolo import load_model
from annotator.predictors.mivolo.architecture import NAMED_CONFIGS, MiVOLO, MiVOLOConfig, ModelMeta
from annotator.predictors.mivolo.checkpoint import PREFIX
from annotator.predictors.mivolo.saving import save_checkpoint, save_pretrained

Make = Callable[..., MiVOLO]
VARIANTS = [{}, {"in_chans": 3}, {"num_classes": 1}, {"in_chans": 3, "num_classes": 1}, {"stem_stride": 4}]


def same(one: MiVOLO, other: MiVOLO) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def checkpoint(make_model: Make, tmp_path: Path) -> Callable[..., Path]:
    """A reference checkpoint of a small model, with entries changed or (``None``) left out."""

    def write(change: Callable[[dict[str, Any]], object] = lambda content: None, **entries: object) -> Path:
        model = make_model()
        save_checkpoint(tmp_path / "small.pth.tar", model, model.meta)
        content = torch.load(tmp_path / "small.pth.tar", weights_only=True)
        content = {name: value for name, value in {**content, **entries}.items() if value is not None}
        change(content)
        torch.save(content, tmp_path / "small.pth.tar")
        return tmp_path / "small.pth.tar"

    return write


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("layout", ["pth.tar", "folder", "safetensors"])
def test_what_is_written_is_read(
    make_model: Make, small: MiVOLOConfig, tmp_path: Path, changes: dict[str, Any], layout: str
) -> None:
    model = make_model(replace(small, **changes))
    meta = ModelMeta.of(model.config, 1, 95)
    if layout == "pth.tar":
        path = tmp_path / "model.pth.tar"
        save_checkpoint(path, model, meta)
    else:
        save_pretrained(tmp_path / "v2", model, meta)
        path = tmp_path / "v2" / ("model.safetensors" if layout == "safetensors" else "")
    loaded = load_model(path)
    assert same(loaded, model)
    assert (loaded.config, loaded.meta) == (model.config, meta)
    assert not loaded.training
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_published_weights_in_the_folder_layout(recipe: ModuleType, tmp_path: Path) -> None:
    config = {"model_name": "mivolo_d1_224", "num_classes": 3, "in_chans": 3, "input_size": 224, "min_age": 0}
    config |= {"max_age": 122, "avg_age": 61.0, "only_age": False, "with_persons_model": False, "use_persons": False}
    recipe.write_safetensors("d1_224_face", tmp_path / "model.safetensors")
    state = {n: t for n, t in load_file(tmp_path / "model.safetensors").items() if not n.endswith("batches_tracked")}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load_model(tmp_path, accelerated=False)
    assert model.config == replace(NAMED_CONFIGS["mivolo_d1_224"], in_chans=3)
    assert model.meta == ModelMeta(0, 122, 61.0, 224, 3)
    assert len(state) == len(model.state_dict()) - 3
    assert all(torch.equal(model.state_dict()[name.removeprefix(PREFIX)], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("changes", [{}, {"in_chans": 3}, {"num_classes": 1, "in_chans": 3}], ids=str)
def test_published_sizes_are_written_without_an_architecture(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = MiVOLO(replace(NAMED_CONFIGS["mivolo_d1_224"], drop_rate=0.1, **changes))
    save_pretrained(tmp_path, model, ModelMeta.of(model.config, 0, 122))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_name"] == "mivolo_d1_224"
    assert "architecture" not in config
    assert load_model(tmp_path, accelerated=False).config == replace(model.config, drop_rate=0.0)


def test_the_same_model_gives_the_same_bytes(make_model: Make, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        model = make_model()
        save_pretrained(tmp_path / folder, model, model.meta)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_averaged_weights_are_preferred(make_model: Make, tmp_path: Path) -> None:
    model, average = make_model(seed=1), make_model(seed=2)
    save_checkpoint(tmp_path / "both.pth.tar", model, model.meta, ema=average.state_dict())
    assert same(load_model(tmp_path / "both.pth.tar"), average)


@pytest.mark.parametrize("key", ["model_ema", "state_dict_ema"])
def test_traces_of_training_are_dropped(checkpoint: Callable[..., Path], make_model: Make, key: str) -> None:
    def training(content: dict[str, Any]) -> None:
        state = content.pop("state_dict")
        content[key] = {f"module.{name}": tensor for name, tensor in state.items() if "batches_tracked" not in name}
        content[key]["module.fds.running_mean"] = torch.zeros(3)
        content["args"] = argparse.Namespace(lr=0.1)

    assert same(load_model(checkpoint(training)), make_model())


def test_half_precision_weights_become_float32(checkpoint: Callable[..., Path]) -> None:
    def halve(content: dict[str, Any]) -> None:
        content["state_dict"] = {n: t.half() if t.is_floating_point() else t for n, t in content["state_dict"].items()}

    assert {tensor.dtype for tensor in load_model(checkpoint(halve)).parameters()} == {torch.float32}


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["state_dict"].pop(name)


def put(name: str, tensor: torch.Tensor) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["state_dict"].update({name: tensor})


@pytest.mark.parametrize(
    "change, words",
    [
        (drop("norm.bias"), r"1 missing \(norm.bias\)"),
        (drop("pos_embed"), r"1 missing \(pos_embed\)"),
        (put("head2.weight", torch.zeros(3)), r"1 unexpected \(head2.weight\)"),
        (put("head.bias", torch.zeros(4)), r"head.bias \(4,\) instead of \(3,\)"),
        (put("norm.bias", torch.full((40,), torch.nan)), r"1 not finite \(norm.bias\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(checkpoint: Callable[..., Path], change: Any, words: str) -> None:
    with pytest.raises(WeightsInvalid, match=words) as caught:
        load_model(checkpoint(change))
    assert "small.pth.tar" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pos_embed", "head.weight", "network.0.0.norm1.weight", "patch_embed.proj1.weight"])
def test_a_variant_that_cannot_be_read_is_refused(checkpoint: Callable[..., Path], name: str) -> None:
    with pytest.raises(WeightsInvalid, match=f"has no tensor {name}"):
        load_model(checkpoint(drop(name), architecture=None))


@pytest.mark.parametrize(
    "entries, words",
    [
        ({"max_age": None}, "needs a number 'max_age'"),
        ({"avg_age": "48"}, "needs a number 'avg_age' .* has '48'"),
        ({"min_age": float("nan")}, "needs a number 'min_age'"),
        ({"max_age": 0}, "max_age 0 is not above min_age 0"),
        ({"with_persons_model": False}, "with_persons_model is False, its tensors show True"),
        ({"no_gender": True}, "no_gender is True, its tensors show False"),
        ({"architecture": {"depth": 3}}, "'architecture' cannot be used: .*depth"),
        ({"architecture": 7}, "'architecture' cannot be used"),
        ({"state_dict": None}, "holds no state dict"),
        ({"state_dict": {"a": 1}}, "holds no state dict"),
    ],
    ids=str,
)
def test_entries_that_do_not_fit_are_named(
    checkpoint: Callable[..., Path], entries: dict[str, Any], words: str
) -> None:
    with pytest.raises(WeightsInvalid, match=words):
        load_model(checkpoint(**entries))


@pytest.mark.parametrize("entry, value", [("input_size", 224), ("in_chans", 3), ("num_classes", 1), ("only_age", True)])
def test_a_config_that_contradicts_its_tensors_is_refused(
    make_model: Make, tmp_path: Path, entry: str, value: object
) -> None:
    model = make_model()
    save_pretrained(tmp_path, model, model.meta)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, entry: value}))
    with pytest.raises(WeightsInvalid, match=f"entry {entry} is {value!r}"):
        load_model(tmp_path)


def test_files_that_are_not_there(make_model: Make, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="models pull"):
        load_model(tmp_path / "none.pth.tar")
    with pytest.raises(WeightsMissing, match=r"no model\.safetensors"):
        load_model(tmp_path)
    model = make_model()
    save_pretrained(tmp_path, model, model.meta)
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsMissing, match=r"no config\.json"):
        load_model(tmp_path / "model.safetensors")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("ran",)


def test_a_pickle_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Harmful()}, tmp_path / "bad.pth.tar")
    with pytest.raises(WeightsInvalid, match="not a checkpoint of tensors and numbers"):
        load_model(tmp_path / "bad.pth.tar")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("keep", [0, 4, 3000])
@pytest.mark.parametrize("name", ["small.pth.tar", "model.safetensors", "config.json"])
def test_a_truncated_file_is_refused(make_model: Make, tmp_path: Path, name: str, keep: int) -> None:
    model = make_model()
    save_checkpoint(tmp_path / "small.pth.tar", model, model.meta)
    save_pretrained(tmp_path, model, model.meta)
    damaged = tmp_path / name
    damaged.write_bytes(damaged.read_bytes()[: min(keep, damaged.stat().st_size - 10)])
    with pytest.raises(WeightsInvalid, match="fetch it again"):
        load_model(damaged if name != "config.json" else tmp_path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3)])
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "list.pth.tar")
    with pytest.raises(WeightsInvalid, match="no dict"):
        load_model(tmp_path / "list.pth.tar")
    (tmp_path / "config.json").write_text("[]")
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsInvalid, match="no JSON object"):
        load_model(tmp_path)


def test_a_place_that_cannot_be_written(make_model: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = make_model()
    with pytest.raises(StorageError, match="cannot write"):
        save_pretrained(tmp_path / "file" / "below", model, model.meta)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
