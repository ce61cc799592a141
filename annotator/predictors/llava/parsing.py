"""From the words of a model to an age and a gender, or to the reason why there is none.

Any text gives a :class:`ParsedAnswer`: a value (``ok``), the midpoint of a range (``range``), a refusal (``refused``)
or something that says no single age and gender (``invalid``). ``rule`` names what fired. No value is ever made up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from annotator.domain import MAX_AGE, Gender, PredictionStatus


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """``age`` in years within 0..130 and ``gender``: both are set for ``ok`` and ``range``, neither otherwise."""

    status: PredictionStatus
    age: float | None
    gender: Gender | None
    rule: str


_STRICT = re.compile(r"\[\s*(male|female)\s*;\s*([0-9]{1,3})\s*\]")
_BRACKETED = re.compile(r"\[[^\[\]]*\]")
_TRUNCATED = re.compile(r"\[[^\]]*$")
_FILLER = re.compile(r"[*_`'\"<>|]")
_ECHO = re.compile(r"(?<![a-z])between 0 and 130(?![0-9])")
_PLAIN_SIGNS = {ord(sign): "-" for sign in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"} | {
    ord(sign): "'" for sign in "\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"
}

_GENDER = re.compile(r"(?<![a-z])(?:(female|woman|girl|lady)|(male|man|boy|gentleman))(?![a-z])")
_SHORT_GENDER = re.compile(r"(?<![a-z])(?:(f)|(m))(?![a-z])")
_MANY = re.compile(r"(?<![a-z])(?:males|females|men|women|boys|girls|ladies)(?![a-z])")

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_RANGE = re.compile(rf"(?<![0-9.])({_NUMBER})\s*(?:years?(?: old)?\s*)?(?:-|~|to)\s*({_NUMBER})(?![0-9])")
_BETWEEN = re.compile(rf"between\s+({_NUMBER})\s*(?:years?(?: old)?\s*)?and\s+({_NUMBER})(?![0-9])")
_DECADE = re.compile(r"(?<![0-9])[0-9]{1,2}0\s*'?s(?![a-z])")
_MONTHS = re.compile(rf"(?<![0-9.])({_NUMBER})[\s-]*(month|week|day)s?(?![a-z])")
_PLAIN = re.compile(rf"(?<![0-9.])({_NUMBER})(?!\.?[0-9])")
_NEGATIVE = re.compile(r"(?:^|[\s\[;:,(])-[0-9]")
_PER_YEAR = {"month": 12.0, "week": 52.0, "day": 365.0}

_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_TENS_WORD = re.compile(rf"(?<![a-z])({'|'.join(_TENS)})(?:[\s-]+({'|'.join(_UNITS[1:])}))?(?![a-z])")
_TEEN_WORD = re.compile(rf"(?<![a-z])({'|'.join(_TEENS)})(?![a-z])")
_UNIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(_UNITS)})(?=[\s-]+years?(?![a-z])|\s*\])")

_REFUSAL = re.compile(
    r"(?<![a-z])(?:n/?a|none|unknown|unclear|undetermined|indeterminate|not (?:possible|able|appropriate|sure|visible)"
    r"|unable|cannot|can ?not|can'?t|couldn'?t|won'?t|sorry|apologi[sz]e|decline|as an? (?:ai|language model)"
    r"|impossible|inappropriate|unsure|do not know|don'?t know|no (?:person|people|individual|face))(?![a-z])"
)


def parse_answer(text: str) -> ParsedAnswer:
    """Read an answer, by the first rule that fits.

    Strictly ``[gender; age]``; the same with other case, quotes, markdown, separators, order, or inside a sentence;
    ranges (``20-25``, ``20 to 25``, ``between 20 and 25``) as their midpoint; numbers in words; months of infants.
    Several people or ages, decades, ages beyond 130 and answers that were cut off are ``invalid``.

    >>> parse_answer("[female; 40]")
    ParsedAnswer(status=<PredictionStatus.OK: 'ok'>, age=40.0, gender=<Gender.FEMALE: 'female'>, rule='strict')
    >>> parse_answer("He is a male between 20 and 25 years old.").age
    22.5
    >>> parse_answer("I'm sorry, I cannot help with that.").status.value
    'refused'
    """
    strict = _STRICT.fullmatch(text.strip())
    if strict and int(strict[2]) <= MAX_AGE:
        return ParsedAnswer(PredictionStatus.OK, float(strict[2]), Gender(strict[1]), "strict")
    plain = _ECHO.sub(" ", text.translate(_PLAIN_SIGNS).lower())
    answers = [answer for answer in map(_parse_bracketed, _BRACKETED.findall(plain)) if answer is not None]
    if answers:
        return answers[0] if len(set(answers)) == 1 else _invalid("several_answers")
    refused = _REFUSAL.search(plain) is not None
    found = _invalid("truncated") if _TRUNCATED.search(plain) else _parse_free(plain)
    if refused and (found.age is None or not _is_short(plain)):
        return ParsedAnswer(PredictionStatus.REFUSED, None, None, "refusal")
    return found


def _invalid(rule: str) -> ParsedAnswer:
    return ParsedAnswer(PredictionStatus.INVALID, None, None, rule)


def _is_short(text: str) -> bool:
    """Whether an answer is hardly more than a gender and a number: only there a hedge beside a value is no refusal."""
    return len(text.split()) <= 8


def _parse_bracketed(text: str) -> ParsedAnswer | None:
    """An answer between brackets, ``None`` where these hold no gender."""
    inner = _FILLER.sub("", text)
    gender = _only_gender(inner, _GENDER) or _only_gender(inner, _SHORT_GENDER)
    if gender is None or _REFUSAL.search(inner):
        return None
    return _with_age(inner, gender, "bracketed")


def _parse_free(text: str) -> ParsedAnswer:
    plain = _FILLER.sub("", text)
    if not plain.strip():
        return _invalid("empty")
    if _MANY.search(plain):
        return _invalid("several_people")
    gender = _only_gender(plain, _GENDER)
    if gender is None:
        return _invalid("several_genders" if _GENDER.search(plain) else "no_gender")
    return _with_age(plain, gender, "pair" if _is_short(plain) else "sentence")


def _only_gender(text: str, pattern: re.Pattern[str]) -> Gender | None:
    """The gender that is named, ``None`` for none and for both."""
    genders = {Gender.FEMALE if match[1] else Gender.MALE for match in pattern.finditer(text)}
    return genders.pop() if len(genders) == 1 else None


def _with_age(text: str, gender: Gender, rule: str) -> ParsedAnswer:
    """The single age in ``text`` beside a gender, or why there is none."""
    if _NEGATIVE.search(text):
        return _invalid("negative_age")
    if _DECADE.search(text):
        return _invalid("decade")
    ranges = {(float(low), float(high)) for pattern in (_RANGE, _BETWEEN) for low, high in pattern.findall(text)}
    if ranges:
        return _midpoint(ranges, _numbers(_BETWEEN.sub(" ", _RANGE.sub(" ", text))), gender)
    ages = _numbers(text)
    if not ages:
        ages, rule = _number_words(text), "words"
    if len(ages) != 1:
        return _invalid("several_ages" if ages else "no_age")
    age = ages.pop()
    return ParsedAnswer(PredictionStatus.OK, age, gender, rule) if age <= MAX_AGE else _invalid("age_out_of_range")


def _midpoint(ranges: set[tuple[float, float]], others: set[float], gender: Gender) -> ParsedAnswer:
    low, high = next(iter(ranges))
    if len(ranges) > 1 or others:
        return _invalid("several_ages")
    if not low <= high <= MAX_AGE:
        return _invalid("age_out_of_range")
    return ParsedAnswer(PredictionStatus.RANGE, (low + high) / 2, gender, "range")


def _numbers(text: str) -> set[float]:
    """Ages in figures, in years; months, weeks and days of infants are parts of a year."""
    young = {float(number) / _PER_YEAR[unit] for number, unit in _MONTHS.findall(text)}
    return young | {float(number) for number in _PLAIN.findall(_MONTHS.sub(" ", text))}


def _number_words(text: str) -> set[float]:
    """Ages in words: ten to ninety-nine anywhere, smaller ones before "years" or a closing bracket."""
    if "hundred" in text:
        return set()
    found = _TENS_WORD.findall(text)
    tens = {float((_TENS.index(ten) + 2) * 10 + (_UNITS.index(unit) if unit else 0)) for ten, unit in found}
    rest = _TENS_WORD.sub(" ", text)
    teens = {float(_TEENS.index(word) + 10) for word in _TEEN_WORD.findall(rest)}
    return tens | teens | {float(_UNITS.index(word)) for word in _UNIT_WORD.findall(rest)}
