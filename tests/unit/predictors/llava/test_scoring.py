"""One pass over the tree equals scoring each answer by itself; free answers equal plain generation."""

import numpy as np
import pytest
import torch

from annotator.predictors.llava import prompt as paper
from annotator.predictors.llava.checkpoint import load_llava, load_tokenizer
from annotator.predictors.llava.preprocess import normalise, preprocess
from annotator.predictors.llava.prompt import answer_ids, answer_text, build_prompt
from annotator.predictors.llava.scoring import MAX_NEW_TOKENS, TreeScorer
from annotator.predictors.llava.tree import ANSWERS, answer_tree
from annotator.predictors.llava.vision import Sights

QUESTION = "How old?"


@pytest.fixture(scope="module")
def model(make_llava, pieces):
    return make_llava(pieces.vocab_size, pieces.image_id)


@pytest.fixture(scope="module")
def prompt(pieces):
    return build_prompt(pieces, "vicuna_v1", QUESTION, pieces.image_id).ids(4)


@pytest.fixture(scope="module")
def pixels(noise):
    return normalise(torch.from_numpy(noise(5, 28, 28, 3)), torch.float32)


class FourTokens(TreeScorer):
    """Each picture takes four tokens."""

    def score(self, pixels):
        return super().score(Sights({"pixel_values": pixels}, (4,) * len(pixels)))


def scorer(model, pieces, *, full):
    tree = answer_tree(pieces, "vicuna_v1", QUESTION, full=full)
    prompt = build_prompt(pieces, "vicuna_v1", QUESTION, pieces.image_id)
    return FourTokens(model, prompt, tree, ends=[pieces.eos_token_id])


@torch.inference_mode()
def one_by_one(model, prompt, pixels, paths):
    """log P of each path: the whole prompt and the whole answer again for every one."""
    result = []
    for path in paths:
        ids = torch.tensor([[*prompt, *path]])
        logits = model(input_ids=ids, pixel_values=pixels, use_cache=False).logits[0]
        logp = logits[len(prompt) - 1 : -1].double().log_softmax(-1)
        result.append(float(logp.gather(-1, torch.tensor(path)[:, None]).sum()))
    return np.array(result)


def paths_of(pieces):
    return answer_ids(pieces, "vicuna_v1", QUESTION, [answer_text(*answer) for answer in ANSWERS])


def test_full_tree_equals_262_single_answers(model, prompt, pieces, pixels):
    expected = one_by_one(model, prompt, pixels[:1], paths_of(pieces))
    found = scorer(model, pieces, full=True).score(pixels[:1])[0].log_probabilities
    assert np.abs(found - expected).max() <= 1e-4
    assert expected.std() > 0.5  # the model does tell answers apart


def test_short_tree_equals_the_beginnings_of_single_answers(model, prompt, pieces, pixels):
    paths = [
        path[:-1] if age >= 10 and age not in (10, 11, 12, 13) else path
        for path, (_, age) in zip(paths_of(pieces), ANSWERS, strict=True)
    ]
    expected = one_by_one(model, prompt, pixels[1:2], paths)
    found = scorer(model, pieces, full=False).score(pixels[1:2])[0].log_probabilities
    assert np.abs(found - expected).max() <= 1e-4


def test_eager_attention_gives_the_same(make_llava, pieces, pixels):
    scores = [
        scorer(make_llava(pieces.vocab_size, pieces.image_id, attention=kind), pieces, full=False).score(pixels)
        for kind in ("sdpa", "eager")
    ]
    for one, other in zip(*scores, strict=True):
        assert np.abs(one.log_probabilities - other.log_probabilities).max() <= 1e-4


@pytest.mark.parametrize("full", [False, True])
def test_a_batch_gives_what_each_picture_alone_gives(model, pieces, pixels, full):
    pass_ = scorer(model, pieces, full=full)
    together = pass_.score(pixels)
    for row, found in enumerate(together):
        alone = pass_.score(pixels[row : row + 1])[0]
        assert np.abs(found.log_probabilities - alone.log_probabilities).max() <= 1e-4
        assert (found.greedy, found.generated) == (alone.greedy, alone.generated)


def test_greedy_answer_is_that_of_constrained_generation(model, prompt, pieces, pixels):
    pass_ = scorer(model, pieces, full=True)
    children = pass_.tree.children

    def allowed(_, sequence):
        row = 0
        for token in sequence[len(prompt) :].tolist():
            row = children[row].get(token) if row is not None else None
        return [pieces.eos_token_id] if row is None else list(children[row])

    ids = torch.tensor([prompt] * len(pixels))
    output = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, do_sample=False, max_new_tokens=12,
        prefix_allowed_tokens_fn=allowed,
    )  # fmt: skip
    texts = [pieces.decode([i for i in row if i > 2]) for row in output[:, len(prompt) :].tolist()]
    assert texts == [f" {answer_text(*score.greedy)}" for score in pass_.score(pixels)]


def plain(model, prompt, pixels, end):
    ids = torch.tensor([prompt])
    output = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS, eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    text = output[0, len(prompt) :].tolist()
    return text[: text.index(end)] if end in text else text


def test_free_answers_are_those_of_plain_generation(model, prompt, pieces, noise):
    pixels = normalise(torch.from_numpy(noise(6, 28, 28, 3, seed=5)), torch.float32) * 3
    for row, score in enumerate(scorer(model, pieces, full=True).score(pixels)):
        assert score.generated == plain(model, prompt, pixels[row : row + 1], pieces.eos_token_id)


@pytest.mark.parametrize("full", [False, True])
def test_only_answers_that_leave_the_format_are_generated(trained, colour, full):
    model, tokenizer = load_llava(trained), load_tokenizer(trained)
    prompt = build_prompt(tokenizer, "vicuna_v1", paper.QUESTION, 3)
    pass_ = FourTokens(model, prompt, answer_tree(tokenizer, "vicuna_v1", paper.QUESTION, full=full), ends=[2])
    names = ["blue", "red", "white", "green", "yellow", "white"]
    seen = np.stack([preprocess(colour(name, seed=500 + place), 28) for place, name in enumerate(names)])
    pixels = normalise(torch.from_numpy(seen), torch.float32)
    scores = pass_.score(pixels)
    assert [score.generated is not None for score in scores] == [True, False, True, False, False, True]
    for row, score in enumerate(scores):
        text = tokenizer.decode(plain(model, prompt.ids(4), pixels[row : row + 1], 2))
        assert text == (
            f" {answer_text(*score.greedy)}" if score.generated is None else tokenizer.decode(score.generated)
        )


def test_a_batch_that_keeps_to_the_format_generates_nothing(trained, colour, monkeypatch):
    model, tokenizer = load_llava(trained), load_tokenizer(trained)
    prompt = build_prompt(tokenizer, "vicuna_v1", paper.QUESTION, 3)
    pass_ = FourTokens(model, prompt, answer_tree(tokenizer, "vicuna_v1", paper.QUESTION), ends=[2])
    monkeypatch.setattr(model, "generate", lambda **_: pytest.fail("generated"))
    seen = np.stack([preprocess(colour(name), 28) for name in ("red", "green")])
    scores = pass_.score(normalise(torch.from_numpy(seen), torch.float32))
    assert [(gender.value, age) for gender, age in (score.greedy for score in scores)] == [
        ("male", 42),
        ("female", 107),
    ]
