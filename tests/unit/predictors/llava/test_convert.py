"""Reference checkpoints become llava-hf folders that give the reference's own numbers."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from annotator.errors import InputError, StorageError, WeightsInvalid, WeightsMissing
from annotator.predictors.llava.checkpoint import load_llava, load_tokenizer
from annotator.predictors.llava.convert import convert
from annotator.predictors.llava.prompt import QUESTION, build_prompt_ids, find_template


def disk_tensors(folder):
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def reference_logits(folder, recipe):
    model = load_llava(folder)
    case = recipe.CASES["single"]
    ids = recipe.expand_image_token(recipe.prompt(**case), model.config.image_token_index)
    with torch.inference_mode():
        output = model(input_ids=torch.from_numpy(ids)[None], pixel_values=torch.from_numpy(recipe.pixel_values(2)[:1]))
    return output.logits[..., :384].numpy()


def test_golden_vision_projection_and_logits(converted, recipe, data):
    golden = np.load(data / "golden.npz")
    model = load_llava(converted)
    pixels = torch.from_numpy(recipe.pixel_values(2))
    with torch.inference_mode():
        hidden = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        projected = model.model.multi_modal_projector(hidden)
    assert np.abs(hidden.numpy() - golden["vision_selected"]).max() <= 1e-5
    assert np.abs(projected.numpy() - golden["projected"]).max() <= 1e-5
    assert np.abs(reference_logits(converted, recipe) - golden["single_logits"]).max() <= 1e-5


def test_every_name_and_value_is_where_llava_hf_has_it(converted, recipe):
    tensors = disk_tensors(converted)
    reference = recipe.reference_state()
    assert set(tensors) == {recipe.map_key_llava_hf_disk(name) for name in reference}
    for name, value in reference.items():
        assert np.array_equal(tensors[recipe.map_key_llava_hf_disk(name)][: len(value)].numpy(), value)


def test_new_rows_are_mean_rows_up_to_a_multiple_of_64(converted):
    embeddings = disk_tensors(converted)["language_model.model.embed_tokens.weight"]
    assert embeddings.shape[0] == 448
    torch.testing.assert_close(embeddings[384:], embeddings[:384].mean(0).expand(64, -1))


def test_image_and_pad_tokens_follow_the_vocabulary(converted):
    tokenizer = load_tokenizer(converted)
    config = json.loads((converted / "config.json").read_text())
    assert tokenizer.convert_tokens_to_ids(["<image>", "<pad>"]) == [384, 385]
    assert config["image_token_index"] == 384
    assert config["text_config"]["pad_token_id"] == tokenizer.pad_token_id == 385
    assert config["vision_feature_layer"] == -2
    assert config["image_seq_length"] == 36


def test_processor_makes_the_same_prompt_from_one_text(converted):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(converted)
    picture = torch.zeros(3, 90, 50, dtype=torch.uint8)
    expected = build_prompt_ids(load_tokenizer(converted), "vicuna_v1", QUESTION, 384, 36)
    text = find_template("vicuna_v1").render(QUESTION)
    assert processor(text=text, images=picture).input_ids[0] == expected
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    chat = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert chat == "<s>" + text
    assert processor.image_processor.do_pad


def test_tower_folder_of_a_finished_run(tmp_path, write_reference, write_tower, recipe, data):
    source = write_reference(tmp_path / "source", tower_inside=False)
    write_tower(source / "vision_tower")
    report = convert(source, tmp_path / "out")
    assert report.vision_tower == str(source / "vision_tower")
    golden = np.load(data / "golden.npz")["single_logits"]
    assert np.abs(reference_logits(tmp_path / "out", recipe) - golden).max() <= 1e-5


def test_tower_inside_a_training_checkpoint_wins_over_the_one_named(
    tmp_path, write_reference, write_tower, recipe, data
):
    source = write_reference(tmp_path / "source")
    other = write_tower(tmp_path / "tower", scale=2.0)
    report = convert(source, tmp_path / "out", vision_tower=other)
    assert report.vision_tower == "the checkpoint itself"
    golden = np.load(data / "golden.npz")["single_logits"]
    assert np.abs(reference_logits(tmp_path / "out", recipe) - golden).max() <= 1e-5


def test_tower_inside_without_any_configuration_is_measured(tmp_path, write_reference):
    source = write_reference(tmp_path / "source")
    convert(source, tmp_path / "out")
    vision = json.loads((tmp_path / "out" / "config.json").read_text())["vision_config"]
    assert [vision[key] for key in ("hidden_size", "num_hidden_layers", "image_size", "patch_size")] == [48, 3, 84, 14]
    load_llava(tmp_path / "out")


def test_whole_clip_gives_its_vision_half(tmp_path, write_reference, write_tower, recipe, data):
    source = write_reference(tmp_path / "source", tower_inside=False)
    convert(source, tmp_path / "out", vision_tower=write_tower(tmp_path / "clip", whole_clip=True))
    golden = np.load(data / "golden.npz")["single_logits"]
    assert np.abs(reference_logits(tmp_path / "out", recipe) - golden).max() <= 1e-5


def test_tensors_keep_their_precision(tmp_path, write_reference):
    def halve(state):
        state["model.norm.weight"] = state["model.norm.weight"].half()

    convert(write_reference(tmp_path / "source", change=halve), tmp_path / "out")
    tensors = disk_tensors(tmp_path / "out")
    assert tensors["language_model.model.norm.weight"].dtype == torch.float16
    assert tensors["language_model.lm_head.weight"].dtype == torch.float32


def remove(name):
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    "change, words",
    [
        (remove("model.norm.weight"), "lacks 1 tensors, the first is language_model.model.norm.weight"),
        (remove("model.mm_projector.2.bias"), "multi_modal_projector.linear_2.bias"),
        (lambda state: state.update({"model.adapter.weight": torch.ones(1)}), "'model.adapter.weight' is no parameter"),
        (lambda state: state.update({"model.layers.7.mlp.up_proj.weight": torch.ones(1)}), "unexpected tensor"),
        (lambda state: state.update({"model.norm.weight": torch.ones(3)}), "has shape \\(3,\\)"),
    ],
)
def test_what_does_not_fit_is_named_and_leaves_nothing(tmp_path, write_reference, change, words):
    source = write_reference(tmp_path / "source", change=change)
    with pytest.raises(WeightsInvalid, match=words):
        convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_missing_tower_says_what_to_name(tmp_path, write_reference):
    source = write_reference(tmp_path / "source", tower_inside=False)
    with pytest.raises(InputError, match="ShareGPT4V-7B_Pretrained_vit-large336-l12' with --vision-tower"):
        convert(source, tmp_path / "out")
    with pytest.raises(InputError, match=r"no config.json"):
        convert(source, tmp_path / "out", vision_tower=tmp_path)


def test_a_missing_file_of_the_index_is_named(tmp_path, write_reference):
    source = write_reference(tmp_path / "source")
    (source / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(WeightsMissing, match=r"pytorch_model-00002-of-00002.bin is not there"):
        convert(source, tmp_path / "out")
    with pytest.raises(WeightsMissing, match=r"config.json is not there"):
        convert(tmp_path / "nowhere", tmp_path / "out")


def test_other_projectors_are_refused(tmp_path, write_reference):
    source = write_reference(tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "mm_projector_type": "linear"}))
    with pytest.raises(WeightsInvalid, match="projector 'linear'"):
        convert(source, tmp_path / "out")


def test_a_full_target_is_not_touched(tmp_path, write_reference):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("x")
    with pytest.raises(StorageError, match="is there already"):
        convert(write_reference(tmp_path / "source"), out)
    assert [path.name for path in out.iterdir()] == ["mine"]


class Trap:
    """What a hostile pickle would do."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle ran code",))


def test_a_pickle_runs_no_code(tmp_path, write_reference):
    source = write_reference(tmp_path / "source")
    (source / "pytorch_model-00001-of-00002.bin").write_bytes(pickle.dumps({"a": Trap()}, protocol=2))
    with pytest.raises(WeightsInvalid, match="not read"):
        convert(source, tmp_path / "out")


def test_a_broken_file_is_named(tmp_path, write_reference):
    source = write_reference(tmp_path / "source")
    path = source / "pytorch_model-00001-of-00002.bin"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsInvalid, match=r"pytorch_model-00001-of-00002.bin cannot be read"):
        convert(source, tmp_path / "out")
