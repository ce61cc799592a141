"""Folders in the llava-hf layout: what is saved loads, what does not fit is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from annotator.errors import WeightsInvalid, WeightsMissing
from annotator.predictors.llava.checkpoint import disk_name, load_llava, load_tokenizer, save_llava, write_shards


@pytest.fixture
def saved(trained, tmp_path):
    """A copy of a good folder, to be spoilt."""
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def spoil(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_what_was_saved_is_loaded(trained, tmp_path):
    model = load_llava(trained)
    save_llava(model, load_tokenizer(trained), tmp_path)
    again = load_llava(tmp_path)
    assert not again.training
    for (name, one), (other_name, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other_name
        assert torch.equal(one, other)


def test_names_on_disk_are_the_published_ones(trained):
    names = set(load_file(trained / "model.safetensors"))
    assert "language_model.lm_head.weight" in names
    assert "language_model.model.layers.1.mlp.up_proj.weight" in names
    assert "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight" in names
    assert "multi_modal_projector.linear_1.weight" in names
    assert not [name for name in names if name.startswith("model.")]
    with pytest.raises(WeightsInvalid, match=r"'model.other' is no parameter"):
        disk_name("model.other")


def test_precision_on_disk_can_be_chosen(trained, tmp_path):
    save_llava(load_llava(trained), load_tokenizer(trained), tmp_path, dtype=torch.float16)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    assert load_llava(tmp_path).dtype == torch.float32


def test_tied_embeddings_are_written_once(tmp_path, trained, make_llava):
    model = make_llava(160, 3)
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = True
    model.tie_weights()
    save_llava(model, load_tokenizer(trained), tmp_path)
    assert "language_model.lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    again = load_llava(tmp_path)
    assert torch.equal(again.lm_head.weight, model.model.language_model.embed_tokens.weight)


def test_a_missing_tensor_is_refused(saved):
    spoil(saved, lambda tensors: tensors.pop("vision_tower.vision_model.pre_layrnorm.bias"))
    with pytest.raises(WeightsInvalid, match=r"1 missing keys, the first is model.vision_tower.pre_layrnorm.bias"):
        load_llava(saved)


def test_an_unexpected_tensor_is_refused(saved):
    spoil(saved, lambda tensors: tensors.update({"language_model.model.adapter": torch.ones(2)}))
    with pytest.raises(WeightsInvalid, match="1 unexpected keys"):
        load_llava(saved)


def test_another_shape_is_refused(saved):
    spoil(saved, lambda tensors: tensors.update({"language_model.model.norm.weight": torch.ones(2)}))
    with pytest.raises(WeightsInvalid, match=r"norm\.weight|mismatch"):
        load_llava(saved)


def test_a_broken_file_is_refused(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsInvalid, match="does not load as a LLaVA model"):
        load_llava(saved)


def test_another_kind_of_model_is_refused(saved):
    (saved / "config.json").write_text(json.dumps({"model_type": "share4v"}))
    with pytest.raises(WeightsInvalid, match="a model of type 'share4v', not llava or llava_next"):
        load_llava(saved)


def test_no_weights_and_no_tokenizer(tmp_path):
    with pytest.raises(WeightsMissing):
        load_llava(tmp_path / "nowhere")
    with pytest.raises(WeightsInvalid, match="no usable tokenizer"):
        load_tokenizer(tmp_path)


def test_shards_are_filled_in_order_and_indexed(tmp_path):
    tensors = {f"t{number}": torch.full((10,), float(number)) for number in range(5)}
    write_shards(tensors.items(), tmp_path, shard_bytes=100)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 200
    assert index["weight_map"]["t1"] == "model-00001-of-00003.safetensors"
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)
    ]
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], tensors[name])


def test_a_sharded_folder_loads(saved):
    tensors = load_file(saved / "model.safetensors")
    (saved / "model.safetensors").unlink()
    write_shards(tensors.items(), saved, shard_bytes=100_000)
    assert len(list(saved.glob("*.safetensors"))) > 1
    load_llava(saved)


def test_saving_again_leaves_no_stale_shards(saved):
    write_shards(load_file(saved / "model.safetensors").items(), saved, shard_bytes=100_000)
    (saved / "model.safetensors").unlink()
    model = load_llava(saved)
    save_llava(model, load_tokenizer(saved), saved)
    assert [path.name for path in saved.glob("*.safetensors*")] == ["model.safetensors"]


def test_tensors_that_share_memory_are_written_apart(tmp_path):
    whole = torch.arange(10.0)
    write_shards([("a", whole[:5]), ("b", whole[2:7])], tmp_path)
    assert torch.equal(load_file(tmp_path / "model.safetensors")["b"], whole[2:7])
