"""The answer tree holds each answer once, and its summary is the distribution's."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.domain import Gender
from annotator.predictors.llava.prompt import QUESTION, answer_ids, answer_text
from annotator.predictors.llava.tree import ANSWERS, answer_tree, build_tree, summarise


def walk(tree):
    """All paths of a tree, found through its children."""
    open_paths, done = [(0, ())], []
    while open_paths:
        row, path = open_paths.pop()
        for token, following in tree.children[row].items():
            if following is None:
                done.append((*path, token))
            else:
                open_paths.append((following, (*path, token)))
    return done


def test_full_tree_has_every_answer_and_271_nodes(pieces):
    tree = answer_tree(pieces, "vicuna_v1", QUESTION, full=True)
    assert len(tree) == 271
    assert sorted(pieces.decode(path) for path in walk(tree)) == sorted(
        f" [{gender}; {age}]" for gender in ("male", "female") for age in range(131)
    )


def test_short_tree_has_37_nodes_and_a_path_for_every_answer(pieces):
    tree = answer_tree(pieces, "vicuna_v1", QUESTION)
    assert len(tree) == 37
    texts = {pieces.decode(path) for path in walk(tree)}
    assert len(texts) == 262
    assert " [female; 40" in texts
    assert {" [male; 7]", " [male; 13]", " [male; 130", " [male; 0]"} <= texts


def test_answers_have_the_recorded_tokens_of_the_real_tokenizer(data):
    """Shape of the tree for the ids that the Vicuna tokenizer gives, rebuilt from its recorded pieces."""
    cases = json.loads((data / "train_tokens.json").read_text())["cases"]
    recorded = {
        name.split("|")[1]: [label for label in case["labels"] if label not in (-100, 2)]
        for name, case in cases.items()
    }
    digits = [29900, 29896, 29906, 29941, 29946, 29945, 29953, 29955, 29947, 29929]
    words = {"male": [19202], "female": [29888, 331, 744]}
    paths = [
        [518, *words[gender], 29936, 29871, *(digits[int(digit)] for digit in str(age)), 29962]
        for gender, age in ANSWERS
    ]
    for text, ids in recorded.items():
        assert paths[[answer_text(*answer) for answer in ANSWERS].index(text)] == ids
    assert len(build_tree(paths, ANSWERS)) == 271


def test_numbers_as_single_tokens_make_a_flat_tree():
    class Whole:
        bos_token_id = 1

        def encode(self, text, *, add_special_tokens):
            head, _, answer = text.partition(" [")
            ids = [ord(letter) for letter in head]
            if not answer:
                return ids
            gender, age = answer[:-1].split("; ")
            return [*ids, 500, 501 if gender == "male" else 502, 600 + int(age), 503]

    assert len(answer_tree(Whole(), "vicuna_v1", "Q", full=True)) == 3 + 2 * 131
    assert len(answer_tree(Whole(), "vicuna_v1", "Q")) == 3 + 2 * 10  # only 0..9 keep their bracket


def test_rows_columns_depth_and_ancestors_describe_the_paths(pieces):
    tree = answer_tree(pieces, "vicuna_v1", QUESTION, full=True)
    paths = answer_ids(pieces, "vicuna_v1", QUESTION, [answer_text(*answer) for answer in ANSWERS])
    for answer in (0, 17, 130, 131, 261):
        length = int(tree.valid[answer].sum())
        assert tree.columns[answer, :length].tolist() == paths[answer]
        nodes = [row - 1 for row in tree.rows[answer, :length].tolist()][1:]
        assert tree.tokens[nodes].tolist() == paths[answer][:-1]
        assert tree.depth[nodes].tolist() == list(range(len(nodes)))
        assert sorted(tree.ancestors[nodes[-1]].nonzero()[:, 0].tolist()) == sorted(nodes)


@pytest.mark.parametrize("paths", [[[1, 2], [1, 2, 3]], [[1, 2, 3], [1, 2]], [[1], [1]]])
def test_an_answer_that_begins_another_is_refused(paths):
    with pytest.raises(ValueError, match="beginning of another"):
        build_tree(paths, ANSWERS[:2])


@given(st.lists(st.floats(-60, -0.001), min_size=262, max_size=262))
def test_summary_is_that_of_the_distribution(logs):
    logs = np.array(logs) - 6
    summary = summarise(logs, ANSWERS)
    joint = {answer: math.exp(log) for answer, log in zip(ANSWERS, logs, strict=True)}
    total = sum(joint.values())
    mean = sum(age * p for (_, age), p in joint.items()) / total
    assert math.isclose(summary.format_probability, min(1.0, total), rel_tol=1e-9)
    female = sum(p for (gender, _), p in joint.items() if gender is Gender.FEMALE) / total
    assert math.isclose(summary.female_probability, female, rel_tol=1e-9)
    assert math.isclose(summary.mean, mean, rel_tol=1e-9)
    variance = sum((age - mean) ** 2 * p for (_, age), p in joint.items()) / total
    assert math.isclose(summary.sd, math.sqrt(variance), rel_tol=1e-6, abs_tol=1e-6)
    below = sum(p for (_, age), p in joint.items() if age < summary.median) / total
    upto = sum(p for (_, age), p in joint.items() if age <= summary.median) / total
    assert below < 0.5 + 1e-6
    assert upto >= 0.5 - 1e-6
    assert math.isclose(summary.ages.sum(), 1)


def test_certainty_has_no_spread():
    logs = np.full(262, -np.inf)
    logs[ANSWERS.index((Gender.FEMALE, 130))] = 0.0
    summary = summarise(logs, ANSWERS)
    assert (summary.mean, summary.median, summary.sd) == (130, 130, 0)
    assert (summary.female_probability, summary.format_probability) == (1, 1)


def test_very_unlikely_answers_still_have_a_distribution():
    summary = summarise(np.full(262, -2000.0), ANSWERS)
    assert summary.format_probability == 0
    assert math.isclose(summary.mean, 65)
