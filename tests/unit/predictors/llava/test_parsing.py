"""Every form of answer that was seen or is to be feared, and any text at all."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annotator.domain import Gender, PredictionStatus
from annotator.predictors.llava.parsing import parse_answer

OK, RANGE = PredictionStatus.OK, PredictionStatus.RANGE
F, M = Gender.FEMALE, Gender.MALE

VALUES = [
    ("[female; 40]", OK, 40, F, "strict"),
    ("[male;7]", OK, 7, M, "strict"),
    (" [ female ; 0 ]\n", OK, 0, F, "strict"),
    ("[male; 130]", OK, 130, M, "strict"),
    ("[Female; 40]", OK, 40, F, "bracketed"),
    ("['female'; '40']", OK, 40, F, "bracketed"),
    ("'[female; 40]'", OK, 40, F, "bracketed"),
    ("**[male; 33]**", OK, 33, M, "bracketed"),
    ("[male, 33]", OK, 33, M, "bracketed"),
    ("[33; male]", OK, 33, M, "bracketed"),
    ("[M; 33]", OK, 33, M, "bracketed"),
    ("[female; 40 years old]", OK, 40, F, "bracketed"),
    ("[gender: female; age: 40]", OK, 40, F, "bracketed"),
    ("[male; 32.5]", OK, 32.5, M, "bracketed"),
    ("Based on the photo, my answer is [female; 28]. I hope this helps in 2024!", OK, 28, F, "bracketed"),
    ("I cannot be certain, but: [female; 28]", OK, 28, F, "bracketed"),
    ("[male; 30] [male; 30]", OK, 30, M, "bracketed"),
    ("[gender; age]: female, 40", OK, 40, F, "pair"),
    ("female; 40", OK, 40, F, "pair"),
    ("Female, 40", OK, 40, F, "pair"),
    ("40, female", OK, 40, F, "pair"),
    ("male: 40", OK, 40, M, "pair"),
    ("male and 40", OK, 40, M, "pair"),
    ("male - 40", OK, 40, M, "pair"),
    ("male-40", OK, 40, M, "pair"),
    ("female; 40]", OK, 40, F, "pair"),
    ("**Gender:** Female\n**Age:** 34", OK, 34, F, "pair"),
    ("a 40-year-old woman", OK, 40, F, "pair"),
    ("The perceived gender is female and the estimated age of this individual is 40 years.", OK, 40, F, "sentence"),
    ("The person seems to be a male of 35 (between 0 and 130), judging by what can be seen.", OK, 35, M, "sentence"),
    ("[female; 6 months]", OK, 0.5, F, "bracketed"),
    ("male, 18-month old", OK, 1.5, M, "pair"),
    ("[male; thirty]", OK, 30, M, "words"),
    ("female, thirty-five", OK, 35, F, "words"),
    ("female, seventeen", OK, 17, F, "words"),
    ("[male; five]", OK, 5, M, "words"),
    ("A girl of about five years, one of many children.", OK, 5, F, "words"),
    ("[female; 20-25]", RANGE, 22.5, F, "range"),
    ("[female; 20 \u2013 25]", RANGE, 22.5, F, "range"),
    ("[female; 20 to 25]", RANGE, 22.5, F, "range"),
    ("[male; between 20 and 25]", RANGE, 22.5, M, "range"),
    ("male, 20\u201430", RANGE, 25, M, "range"),
    ("He looks male and between 20 and 25 years old to me in this photo.", RANGE, 22.5, M, "range"),
    ("The individual is a woman, from 60 to 70 years old, in a green coat.", RANGE, 65, F, "range"),
    ("[male; 0-3]", RANGE, 1.5, M, "range"),
    ("[male; 30-30]", RANGE, 30, M, "range"),
]

REFUSED = [
    "I'm sorry, but I can't help with identifying people.",
    "I\u2019m sorry, I can\u2019t assist with that request.",
    "As an AI, I do not estimate the age of real people.",
    "Sorry, I am unable to provide the age of the male individual in photo 1 of this album.",
    "It is not possible to tell.",
    "N/A",
    "[N/A; N/A]",
    "[female; N/A]",
    "[N/A; 40]",
    "[male; unknown]",
    "unknown",
    "There is no person in the image.",
    "It would be inappropriate to guess.",
]

INVALID = [
    ("", "empty"),
    ("  \n ", "empty"),
    ("***", "empty"),
    ("child", "no_gender"),
    ("40", "no_gender"),
    ("[40]", "no_gender"),
    ("[child; 4]", "no_gender"),
    ("male or female, 40", "several_genders"),
    ("[male/female; 40]", "several_genders"),
    ("male", "no_age"),
    ("[male; ]", "no_age"),
    ("[male; child]", "no_age"),
    ("[female; 131]", "age_out_of_range"),
    ("[female; 999]", "age_out_of_range"),
    ("[female; 1985]", "age_out_of_range"),
    ("[male; 120-140]", "age_out_of_range"),
    ("[male; 25-20]", "age_out_of_range"),
    ("[male; -5]", "negative_age"),
    ("[female; 4", "truncated"),
    ("[female; 40", "truncated"),
    ("[", "truncated"),
    ("[male; 40] and [female; 35]", "several_answers"),
    ("male 40, 42", "several_ages"),
    ("male, 20-25 or 30", "several_ages"),
    ("Two males of 40", "several_people"),
    ("[female; 20s]", "decade"),
    ("a woman in her early 30's", "decade"),
    ("female, one hundred", "no_age"),
    ("tomato; 12", "no_gender"),
]


@pytest.mark.parametrize("text, status, age, gender, rule", VALUES)
def test_values(text, status, age, gender, rule):
    found = parse_answer(text)
    assert (found.status, found.age, found.gender, found.rule) == (status, pytest.approx(age), gender, rule)


@pytest.mark.parametrize("text", REFUSED)
def test_refusals(text):
    found = parse_answer(text)
    assert (found.status, found.age, found.gender, found.rule) == (PredictionStatus.REFUSED, None, None, "refusal")


@pytest.mark.parametrize("text, rule", INVALID)
def test_what_says_no_single_age_and_gender(text, rule):
    found = parse_answer(text)
    assert (found.status, found.age, found.gender, found.rule) == (PredictionStatus.INVALID, None, None, rule)


@given(st.sampled_from([F, M]), st.integers(0, 130))
def test_every_answer_in_the_format_is_read_back(gender, age):
    found = parse_answer(f"[{gender.value}; {age}]")
    assert (found.status, found.age, found.gender, found.rule) == (OK, age, gender, "strict")


@given(st.sampled_from([F, M]), st.integers(0, 130), st.integers(0, 130))
def test_every_range_is_its_midpoint(gender, one, other):
    low, high = sorted((one, other))
    found = parse_answer(f"{gender.value.title()}, {low} to {high}")
    assert (found.status, found.age, found.gender) == (RANGE, (low + high) / 2, gender)


SNIPPETS = [
    "male", "female", "[", "]", ";", "-", " to ", "between ", " and ", "40", "7", "131", "0", "20s", "months", "sorry",
    "n/a", "thirty", "five years", " ", "\n", "**", ".", "\u2013", "1e9", "\u0664\u0660", "\x00", "\u00bd",
]  # fmt: skip


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(SNIPPETS), max_size=15).map("".join)))
@example("[male; \u0664\u0660]")
@example("\u0130 female 40")
@example("[" * 5000)
@example("0" * 5000 + " male")
@example("male " + "1-" * 5000)
def test_any_text_gives_a_state_and_never_an_age_outside_0_to_130(text):
    found = parse_answer(text)
    if found.status in (OK, RANGE):
        assert 0 <= found.age <= 130
        assert found.gender in (F, M)
    else:
        assert found.status in (PredictionStatus.REFUSED, PredictionStatus.INVALID)
        assert found.age is None
        assert found.gender is None
    assert found.rule
