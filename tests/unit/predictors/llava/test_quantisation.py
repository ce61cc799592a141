"""8-bit and 4-bit language models on the CPU, with the traps of bitsandbytes and transformers."""

import numpy as np
import pytest
import torch

from annotator.errors import UnknownName, WeightsInvalid
from annotator.predictors.llava import quantisation
from annotator.predictors.llava.checkpoint import load_llava, save_llava
from annotator.predictors.llava.quantisation import quantised_layers

pytestmark = pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning", "ignore:Some weights:UserWarning")

IMAGE_ID, VOCABULARY = 3, 64


class Nothing:
    """Stands where a tokenizer would: nothing is asked of it."""

    def save_pretrained(self, folder):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose sizes 4-bit kernels can take, saved."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, image_size=28,
        patch_size=14, projection_dim=16,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, initializer_range=0.1, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_ID, image_seq_length=4)
    place = tmp_path_factory.mktemp("sizes")
    save_llava(LlavaForConditionalGeneration(config).eval(), Nothing(), place)
    return place


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    ids = torch.tensor([[1, 9, *[IMAGE_ID] * 4, 11, 12, 13, 20, 30]])
    return {"input_ids": ids, "pixel_values": torch.from_numpy(rng.normal(size=(1, 3, 28, 28))).float()}


def logits(model, inputs):
    with torch.inference_mode():
        return model(**inputs).logits.float()


@pytest.mark.parametrize("kind, least", [("8bit", 0.995), ("4bit", 0.8)])
def test_only_the_language_model_is_quantised(folder, inputs, kind, least):
    whole = logits(load_llava(folder), inputs)
    model = load_llava(folder, quantisation=kind)
    layers = quantised_layers(model)
    assert len(layers) == 2 * 7
    assert all(name.startswith("model.language_model.") for name in layers)
    kept = (model.model.vision_tower, model.model.multi_modal_projector, model.lm_head)
    assert {parameter.dtype for part in kept for parameter in part.parameters()} == {torch.float32}
    found = logits(model, inputs)
    cosine = torch.nn.functional.cosine_similarity(whole.flatten(), found.flatten(), dim=0)
    assert least < cosine < 1 - 1e-7


def test_names_that_skip_nothing_are_found_out(folder, monkeypatch):
    monkeypatch.setattr(quantisation, "SKIPPED", ("vision_tower", "multi_modal_projector"))
    with pytest.raises(WeightsInvalid, match=r"layers have the wrong precision: \S+ is quantised"):
        load_llava(folder, quantisation="4bit")


def test_a_quantised_model_saved_before_it_ran_loads_as_it_was(folder, inputs, tmp_path):
    model = load_llava(folder, quantisation="4bit")
    model.save_pretrained(tmp_path)
    again = load_llava(tmp_path)
    assert len(quantised_layers(again)) == 14
    assert torch.equal(logits(again, inputs), logits(model, inputs))


def test_a_quantised_model_is_not_saved_in_the_layout_of_whole_ones(folder, inputs, tmp_path):
    model = load_llava(folder, quantisation="4bit")
    logits(model, inputs)
    with pytest.raises(WeightsInvalid, match="save the weights it was loaded from"):
        save_llava(model, Nothing(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_device_map_gives_the_same(folder, inputs):
    assert torch.equal(logits(load_llava(folder, device_map="auto"), inputs), logits(load_llava(folder), inputs))


def test_an_unknown_kind_is_refused(folder):
    with pytest.raises(UnknownName, match="3bit"):
        load_llava(folder, quantisation="3bit")
