"""The prompt is the paper's and the reference's, to the letter and to the token."""

import json

import pytest

from annotator.domain import Gender
from annotator.errors import UnknownName, WeightsInvalid
from annotator.predictors.llava.checkpoint import load_tokenizer
from annotator.predictors.llava.prompt import (
    QUESTION,
    TEMPLATES,
    answer_ids,
    answer_text,
    build_prompt,
    build_prompt_ids,
    find_template,
)
from annotator.predictors.llava.tree import answer_tree

IMAGE = 32000


@pytest.fixture(scope="module")
def cases(data):
    return json.loads((data / "train_tokens.json").read_text())["cases"]


class Replay:
    """Gives back the ids that the real Vicuna tokenizer gave for the texts around the image."""

    bos_token_id = 1

    def __init__(self, cases):
        before, after = find_template("vicuna_v1").render(QUESTION).split("<image>")
        self.known = {}
        for name, case in cases.items():
            answer = name.split("|")[1]
            ids, labels = case["input_ids"], case["labels"]
            image = ids.index(-200)
            first = next(place for place, label in enumerate(labels) if label != -100)
            self.known[before] = ids[1:image]
            self.known[after] = ids[image + 1 : first]
            self.known[f"{after} {answer}"] = ids[image + 1 : -1]

    def encode(self, text, *, add_special_tokens):
        assert not add_special_tokens
        return self.known[text]


def test_question_is_the_one_of_the_recorded_training_tokens(data):
    assert json.loads((data / "train_tokens.json").read_text())["prompt"] == QUESTION


def test_templates_to_the_letter():
    assert TEMPLATES["vicuna_v1"].render("Q") == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nQ ASSISTANT:"
    )
    assert TEMPLATES["share4v_v1"].render("Q") == (
        "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions. USER: <image>\nQ ASSISTANT:"
    )
    assert TEMPLATES["share4v_v0"].render("Q") == (
        "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions.###Human: <image>\nQ###Assistant:"
    )


def test_next_templates_to_the_letter():
    assert TEMPLATES["mistral"].render("Q") == "[INST] <image>\nQ [/INST]"
    assert TEMPLATES["chatml"].render("Q") == (
        "<|im_start|>system\nAnswer the questions.<|im_end|>"
        "<|im_start|>user\n<image>\nQ<|im_end|><|im_start|>assistant\n"
    )


def test_an_unknown_template_names_the_known():
    with pytest.raises(
        UnknownName, match=r"unknown prompt template 'v2'.*chatml, mistral, share4v_v0, share4v_v1, vicuna_v1"
    ):
        find_template("v2")


@pytest.mark.parametrize("answer, gender, age", [("f40", "female", 40), ("m7", "male", 7), ("m107", "male", 107)])
def test_ids_are_those_of_the_reference_with_the_real_tokenizer(cases, answer, gender, age):
    tokenizer = Replay(cases)
    prompt = build_prompt_ids(tokenizer, "vicuna_v1", QUESTION, IMAGE, 576)
    text = answer_text(Gender(gender), age)
    recorded = cases[f"legacy=True|{text}|image_first"]
    ours = [*prompt, *answer_ids(tokenizer, "vicuna_v1", QUESTION, [text])[0], 2]
    place = recorded["input_ids"].index(-200)
    assert ours == recorded["input_ids"][:place] + [IMAGE] * 576 + recorded["input_ids"][place + 1 :]
    assert len(prompt) == 712
    assert ours[712:] == [label for label in recorded["labels"] if label != -100]


def test_each_side_of_the_image_is_tokenised_alone(llama_like):
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(llama_like / "tokenizer.model"))
    before, after = find_template("vicuna_v1").render(QUESTION).split("<image>")
    expected = [1, *pieces.encode(before), *[IMAGE] * 4, *pieces.encode(after)]
    tokenizer = load_tokenizer(llama_like)
    assert build_prompt_ids(tokenizer, "vicuna_v1", QUESTION, IMAGE, 4) == expected
    assert pieces.id_to_piece(expected[expected.index(IMAGE) + 4]) == "▁"


def test_answers_continue_the_prompt(llama_like):
    tokenizer = load_tokenizer(llama_like)
    after = find_template("share4v_v1").render(QUESTION).split("<image>")[1]
    for age, ids in zip(
        (3, 99), answer_ids(tokenizer, "share4v_v1", QUESTION, ["[male; 3]", "[male; 99]"]), strict=True
    ):
        whole = tokenizer.encode(f"{after} [male; {age}]", add_special_tokens=False)
        assert whole[-len(ids) :] == ids
        assert tokenizer.decode(ids) == f"[male; {age}]"


class Merging:
    """Joins the end of the prompt with the bracket, as real tokenizers join a newline with what follows."""

    bos_token_id = None

    def __init__(self, pieces, joined):
        self.pieces, self.joined = pieces, joined

    def encode(self, text, *, add_special_tokens):
        return self.pieces.encode(text.replace(self.joined, "\x01"), add_special_tokens=add_special_tokens)


@pytest.mark.parametrize("template, joined", [("vicuna_v1", "T: ["), ("chatml", "assistant\n[")])
def test_where_a_tokenizer_merges_prompt_and_answer_the_tree_begins_before_the_merger(pieces, template, joined):
    merging = Merging(pieces, joined)
    tree = answer_tree(merging, template, QUESTION, full=True)
    prompt = build_prompt(merging, template, QUESTION, IMAGE).ids(2)
    assert tree.cut == len(joined) - joined.count("[") - joined.count(" ")  # each letter is a piece
    chosen = find_template(template)
    for answer, (gender, age) in enumerate(tree.answers):
        path = tree.columns[answer][tree.valid[answer]].tolist()
        before, after = chosen.render(QUESTION).split("<image>")
        whole = merging.encode(f"{after}{chosen.lead}{answer_text(gender, age)}", add_special_tokens=False)
        head = merging.encode(before, add_special_tokens=False)
        assert prompt[: len(prompt) - tree.cut] + path == [*head, IMAGE, IMAGE, *whole]
    with pytest.raises(WeightsInvalid, match=r"merges the end of the prompt with an answer such as '\[male; 0\]'"):
        answer_ids(merging, template, QUESTION, ["[male; 0]"])


def test_no_bos_where_the_tokenizer_has_none(pieces):
    class Bare:
        bos_token_id = None
        encode = staticmethod(pieces.encode)

    with_bos = build_prompt_ids(pieces, "vicuna_v1", "Q", 3, 2)
    assert with_bos == [1, *build_prompt_ids(Bare(), "vicuna_v1", "Q", 3, 2)]
