"""LLaVA-NeXT: what transformers' own processor and plain forward passes give, for crops of every shape in one batch."""

import re

import numpy as np
import pytest
import torch
from safetensors import safe_open

from annotator.domain import Box, PredictionStatus
from annotator.errors import UnknownName, WeightsInvalid
from annotator.predictors.base import PersonView
from annotator.predictors.llava.checkpoint import load_llava, load_tokenizer, save_llava
from annotator.predictors.llava.predictor import LlavaPredictor
from annotator.predictors.llava.prompt import (
    QUESTION,
    answer_text,
    build_prompt,
    end_tokens,
    find_template,
    usual_template,
)
from annotator.predictors.llava.scoring import MAX_NEW_TOKENS, TreeScorer
from annotator.predictors.llava.tree import ANSWERS, answer_tree
from annotator.predictors.llava.vision import TiledVision, vision_of

SIDE, PATCH = 56, 14
GRIDS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE], [3 * SIDE, SIDE], [SIDE, 3 * SIDE]]
SHAPES = [(113, 300), (300, 113), (200, 200), (400, 60), (150, 118)]
"""Height and width of crops: one of each kind of grid, none a multiple of anything."""
PIECES = {"plain": r" \[|male|f|em|ale|[0-9;\-\] \[]|\n|[^ \n]+", "merging": r"assistant\n\[|ASSISTANT: \["}


def next_tokenizer(kind: str):
    """Whole words but for answers; ``merging`` has ``assistant\\n[`` as one token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = PIECES["plain"] if kind == "plain" else f"{PIECES['merging']}|{PIECES['plain']}"
    said = [find_template(name).render(QUESTION).replace("<image>", "") for name in ("chatml", "mistral", "vicuna_v1")]
    said += ["[female; 0123456789]", " [male;", "assistant\n[male; 1]", "ASSISTANT: [male; 1]"]
    words = {
        word for text in said for kind in PIECES.values() for word in re.findall(f"{kind}|{PIECES['plain']}", text)
    }
    special = ["<unk>", "<s>", "</s>", "<image>", "<pad>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {word: number for number, word in enumerate([*special, *sorted(words - set(special))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(split), "isolated")
    tokenizer.decoder = decoders.Fuse()
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **named, additional_special_tokens=["<image>", "<|im_start|>", "<|im_end|>"]
    )


def next_model(vocabulary: int, attention: str = "sdpa", kind: str = "llama"):
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        MistralConfig,
    )

    torch.manual_seed(3)
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=SIDE,
        patch_size=PATCH, projection_dim=16,
    )  # fmt: skip
    text = {"llama": LlamaConfig, "mistral": MistralConfig}[kind](
        vocab_size=vocabulary, hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.15, bos_token_id=1, eos_token_id=2, pad_token_id=4,
    )  # fmt: skip
    config = LlavaNextConfig(
        vision_config=vision, text_config=text, image_token_index=3, image_grid_pinpoints=GRIDS, image_seq_length=16
    )
    config._attn_implementation = attention
    return LlavaNextForConditionalGeneration(config).eval()


def processor_of(tokenizer):
    from transformers import LlavaNextProcessor
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=GRIDS
    )
    return LlavaNextProcessor(
        images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )


@pytest.fixture(scope="module", params=["plain", "merging"])
def tokenizer(request):
    return next_tokenizer(request.param)


@pytest.fixture(scope="module")
def model(tokenizer):
    return next_model(len(tokenizer))


@pytest.fixture(scope="module")
def crops(noise):
    return [
        np.repeat(noise(height, width, 1, seed=height), 3, 2) // 2 + noise(1, 1, 3, seed=width) // 2
        for height, width in SHAPES
    ]


def inputs_of(tokenizer, crop, text):
    return processor_of(tokenizer)(images=[crop], text=[text], return_tensors="pt", add_special_tokens=False)


def scorer(model, tokenizer, template="chatml", *, full):
    prompt = build_prompt(tokenizer, template, QUESTION, 3)
    tree = answer_tree(tokenizer, template, QUESTION, full=full)
    return TreeScorer(model, prompt, tree, ends=end_tokens(tokenizer, find_template(template)))


def seen(model, crops):
    vision = vision_of(model.config)
    return vision.gather([vision.look(crop) for crop in crops], model.device, model.dtype)


@pytest.mark.parametrize("place", range(len(SHAPES)))
def test_pixels_and_prompt_are_those_of_the_processor(model, tokenizer, crops, place):
    wanted = inputs_of(tokenizer, crops[place], find_template("chatml").render(QUESTION))
    sights = seen(model, [crops[place]])
    assert sights.inputs["image_sizes"].tolist() == wanted["image_sizes"].tolist()
    assert sights.inputs["pixel_values"].shape == wanted["pixel_values"][0].shape
    assert (sights.inputs["pixel_values"] - wanted["pixel_values"][0]).abs().max() < 1e-5
    assert build_prompt(tokenizer, "chatml", QUESTION, 3).ids(sights.tokens[0]) == wanted["input_ids"][0].tolist()


@torch.inference_mode()
def one_by_one(model, tokenizer, crop, template, full):
    """log P of each answer after the prompt: each string tokenised whole by the processor, from where it parts."""
    chosen = find_template(template)
    texts = [chosen.render(QUESTION) + chosen.lead + answer_text(*answer) for answer in ANSWERS]
    prompt = inputs_of(tokenizer, crop, chosen.render(QUESTION))["input_ids"][0].tolist()
    whole = [inputs_of(tokenizer, crop, text) for text in texts]
    ids = [inputs["input_ids"][0] for inputs in whole]
    bare = list(zip(*[row.tolist() for row in ids], strict=False))
    start = next(i for i, column in enumerate(bare) if len({*column, prompt[i] if i < len(prompt) else -1}) > 1)
    result = []
    for row, inputs in zip(ids, whole, strict=True):
        logits = model(**inputs, use_cache=False).logits[0]
        logp = logits[start - 1 : -1].double().log_softmax(-1)
        result.append(float(logp.gather(-1, row[start:, None]).sum()))
    return np.array(result)


def test_left_padded_batch_equals_262_single_strings_of_each_picture(model, tokenizer, crops):
    pass_ = scorer(model, tokenizer, full=True)
    sights = seen(model, crops)
    assert len(set(sights.tokens)) == len(SHAPES)  # all of them of another length
    for crop, score in zip(crops[:2], pass_.score(sights)[:2], strict=True):
        expected = one_by_one(model, tokenizer, crop, "chatml", True)
        assert np.abs(score.log_probabilities - expected).max() <= 1e-4
        assert expected.std() > 0.3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("template", ["chatml", "mistral", "vicuna_v1"])
def test_a_padded_batch_gives_what_each_picture_alone_gives(model, tokenizer, crops, full, template):
    pass_ = scorer(model, tokenizer, template, full=full)
    for crop, found in zip(crops, pass_.score(seen(model, crops)), strict=True):
        alone = pass_.score(seen(model, [crop]))[0]
        assert np.abs(found.log_probabilities - alone.log_probabilities).max() <= 1e-4
        assert (found.greedy, found.generated) == (alone.greedy, alone.generated)


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_eager_attention_gives_the_same(tokenizer, crops, kind):
    models = [next_model(len(tokenizer), attention, kind) for attention in ("sdpa", "eager")]
    scores = [scorer(model, tokenizer, full=False).score(seen(model, crops)) for model in models]
    for one, other in zip(*scores, strict=True):
        assert np.abs(one.log_probabilities - other.log_probabilities).max() <= 1e-4


def test_free_answers_are_those_of_plain_generation(model, tokenizer, crops):
    ends = end_tokens(tokenizer, find_template("chatml"))
    assert ends == [2, 6]
    scores = scorer(model, tokenizer, full=True).score(seen(model, crops))
    assert all(score.generated is not None for score in scores)  # random weights never keep to the format
    for crop, score in zip(crops, scores, strict=True):
        inputs = inputs_of(tokenizer, crop, find_template("chatml").render(QUESTION))
        output = model.generate(
            **inputs, do_sample=False, max_new_tokens=MAX_NEW_TOKENS, eos_token_id=ends, pad_token_id=2
        )
        text = output[0, inputs["input_ids"].shape[1] :].tolist()
        assert score.generated == text[: min([text.index(end) for end in ends if end in text] or [len(text)])]


def test_small_tall_crops_are_not_laid_on_a_wide_canvas(model, noise):
    vision = TiledVision(model.config)
    sight = vision.look(noise(80, 33, 3))  # 233 x 97 of 336, in our size
    assert sight.size == (112, 46)
    assert len(sight.pixels) == 3  # the overview, and two tiles one above the other
    assert (sight.pixels[1:, :, 0] == 0).all()  # beside the person
    assert (sight.pixels[1:, :, SIDE // 2] != 0).any(axis=-1).mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (3, 5)])
def test_crops_of_any_shape_are_scored(model, tokenizer, noise, shape):
    score = scorer(model, tokenizer, full=False).score(seen(model, [noise(*shape, 3)]))[0]
    assert np.isfinite(score.log_probabilities).all()


@pytest.fixture
def saved(tmp_path):
    tokenizer = next_tokenizer("plain")
    save_llava(next_model(len(tokenizer)), tokenizer, tmp_path / "next", template="chatml")
    return tmp_path / "next"


def test_saved_layout_is_the_published_one(saved, crops):
    from transformers import AutoProcessor

    with safe_open(saved / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert {"image_newline", "language_model.lm_head.weight", "language_model.model.norm.weight"} <= names
    assert any(name.startswith("vision_tower.vision_model.encoder.") for name in names)
    processor = AutoProcessor.from_pretrained(saved)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert text == find_template("chatml").render(QUESTION)
    tokenizer, model = load_tokenizer(saved), load_llava(saved)
    ids = processor(images=[crops[0]], text=[text], add_special_tokens=False)["input_ids"][0]
    assert build_prompt(tokenizer, "chatml", QUESTION, 3).ids(seen(model, crops[:1]).tokens[0]) == list(ids)


@pytest.mark.parametrize("template", ["chatml", "mistral", "vicuna_v1"])
def test_the_template_is_that_of_the_folder(tmp_path, template):
    tokenizer = next_tokenizer("plain")
    save_llava(next_model(len(tokenizer)), tokenizer, tmp_path, template=template)
    assert usual_template(tmp_path) == template


def test_a_chat_template_that_is_not_known_is_refused_before_anything_is_written(tmp_path):
    tokenizer = next_tokenizer("plain")
    with pytest.raises(UnknownName, match="unknown chat template 'v2'"):
        save_llava(next_model(len(tokenizer)), tokenizer, tmp_path / "x", template="v2")
    assert not (tmp_path / "x").exists()


def test_a_missing_newline_is_refused(saved):
    from safetensors.torch import load_file, save_file

    tensors = load_file(saved / "model.safetensors")
    del tensors["image_newline"]
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsInvalid, match=r"1 missing keys, the first is model.image_newline"):
        load_llava(saved)


@pytest.mark.parametrize("quantisation", [None, "8bit", "4bit"])
def test_the_predictor_takes_people_of_all_shapes_in_one_batch(saved, crops, quantisation):
    predictor = LlavaPredictor(saved, name="next", device="cpu", quantisation=quantisation)
    assert predictor.template.name == "chatml"
    assert predictor.version.endswith("+chatml" if quantisation is None else f"+chatml+{quantisation}")
    people = [PersonView(str(i), crop, Box(0, 0, crop.shape[1], crop.shape[0]), None) for i, crop in enumerate(crops)]
    nobody = PersonView("n", crops[0], None, None)
    found = predictor.predict([predictor.prepare(person) for person in [*people, nobody]])
    assert found[-1].status is PredictionStatus.NO_EVIDENCE
    assert [one.details["crop_size"] for one in found[:-1]] == [[width, height] for height, width in SHAPES]
    alone = [predictor.predict([predictor.prepare(person)])[0] for person in people]
    if quantisation is None:
        assert [one.details["text"] for one in found[:-1]] == [one.details["text"] for one in alone]
