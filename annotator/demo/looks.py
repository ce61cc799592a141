"""What a drawn person looks like: many noisy signs of age and of perceived gender, drawn at random.

No single sign tells the age; together they do, to a few years. A small share of people is drawn against convention, so
that perceived gender is truly uncertain for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.demo.pen import Color, hsv, mix
from annotator.domain import Gender

OLDEST = 90


@dataclass(frozen=True, slots=True)
class Signs:
    """How plainly figures show their gender.

    ``ambiguous`` is the share of people whose signs are drawn with coin flips; pairs are the chances of a sign for
    women and for men; ``hue`` is the share of tops in a colour of the gender, and how widely that colour spreads.
    """

    ambiguous: float
    style: tuple[float, float]
    lashes: tuple[float, float]
    earrings: tuple[float, float]
    dress: tuple[float, float]
    hue: tuple[float, float]


SUBTLE = Signs(0.03, (0.95, 0.04), (0.96, 0.02), (0.6, 0.03), (0.55, 0.006), (0.8, 0.08))
"""What the models learn on: harder than what they are shown later."""
CLEAR = Signs(0.015, (0.98, 0.02), (0.99, 0.01), (0.75, 0.02), (0.7, 0.004), (0.92, 0.07))
"""What the demo shows and the evaluation measures."""

_SKINS: tuple[Color, ...] = (
    (255, 224, 196), (246, 205, 172), (233, 184, 145), (214, 160, 118), (188, 132, 92), (156, 104, 70),
    (122, 80, 54), (94, 62, 44),
)  # fmt: skip
_HAIRS: tuple[Color, ...] = ((34, 28, 28), (58, 40, 30), (92, 60, 38), (134, 88, 48), (176, 128, 64), (152, 70, 36))
_GREY: Color = (226, 226, 230)


@dataclass(frozen=True, slots=True)
class Build:
    """Proportions in head heights; ``stoop`` is the angle by which the shoulders lean forward, in radians."""

    heads: float
    legs: float
    shoulder: float
    waist: float
    hip: float
    neck: float
    limb: float
    stoop: float
    meters: float
    seated: bool


@dataclass(frozen=True, slots=True)
class Face:
    """Signs of age and gender in the face; shares are in ``[0, 1]``."""

    width: float
    eye_size: float
    eye_level: float
    lid: float
    wrinkles: float
    folds: float
    crow: float
    bags: float
    spots: int
    nose: float
    ear: float
    lips: float
    blush: float
    lashes: bool
    beard: float
    glasses: bool
    earrings: bool
    smile: float


@dataclass(frozen=True, slots=True)
class Hair:
    """Colour, style and hairline; ``length`` in heads below the chin, ``hairline`` as a share of the head's height."""

    color: Color
    brow: Color
    style: str
    length: float
    hairline: float
    bald: float
    bow: Color | None
    hat: Color | None


@dataclass(frozen=True, slots=True)
class Outfit:
    """Clothes; ``sleeve``, ``hem`` are shares of arm and leg that are covered."""

    kind: str
    top: Color
    bottom: Color
    shoes: Color
    pattern: str
    accent: Color
    sleeve: float
    hem: float
    cane: bool


@dataclass(frozen=True, slots=True)
class Look:
    """Everything about one drawn person except where it stands."""

    age: int
    gender: Gender
    skin: Color
    build: Build
    face: Face
    hair: Hair
    outfit: Outfit


def draw_look(rng: np.random.Generator, signs: Signs = CLEAR) -> Look:
    """A person of any age and either gender, with signs that fit up to noise."""
    age = int(rng.integers(0, OLDEST + 1)) if rng.random() < 0.85 else int(rng.integers(0, 18))
    gender = Gender.FEMALE if rng.random() < 0.5 else Gender.MALE
    ambiguous = rng.random() < signs.ambiguous
    feminine = float(rng.random() < 0.5) if ambiguous else float(gender is Gender.FEMALE)
    years = max(0.0, age + rng.normal(0.0, 0.25 + 0.016 * age))
    skin = _SKINS[int(rng.integers(len(_SKINS)))]
    hair = _hair(rng, years, feminine, signs)
    return Look(
        age,
        gender,
        skin,
        _build(rng, years, feminine),
        _face(rng, years, feminine, signs),
        hair,
        _outfit(rng, years, feminine, signs),
    )


def _noisy(rng: np.random.Generator, value: float, sd: float, low: float = 0.0, high: float = 1.0) -> float:
    return float(np.clip(value + rng.normal(0.0, sd), low, high))


def _ramp(years: float, start: float, end: float) -> float:
    return float(np.clip((years - start) / (end - start), 0.0, 1.0))


def _chance(rng: np.random.Generator, feminine: float, chances: tuple[float, float]) -> bool:
    return bool(rng.random() < chances[0 if feminine else 1])


def _build(rng: np.random.Generator, years: float, feminine: float) -> Build:
    grown = _ramp(years, 1.0, 19.0)
    heads = np.interp(years, [0, 1, 3, 6, 10, 14, 19, 50, 90], [2.5, 2.8, 3.3, 3.9, 4.6, 5.2, 5.8, 5.75, 5.2])
    meters = np.interp(years, [0, 1, 3, 6, 10, 14, 19, 60, 90], [0.6, 0.75, 0.95, 1.17, 1.4, 1.62, 1.75, 1.73, 1.63])
    adult = _ramp(years, 10.0, 18.0)
    shoulder = 0.56 + 0.16 * grown + (0.15 - 0.23 * feminine) * adult * 0.8
    girth = 0.30 * _ramp(years, 20.0, 72.0) + 0.14 * (1.0 - _ramp(years, 0.0, 7.0))
    waist = 0.40 + 0.04 * grown + girth - 0.06 * feminine * adult
    hip = 0.42 + 0.05 * grown + 0.6 * girth + 0.08 * feminine * adult
    return Build(
        heads=_noisy(rng, float(heads), 0.07, 2.2, 6.2),
        legs=_noisy(rng, 0.42 + 0.13 * grown - 0.06 * _ramp(years, 55.0, 90.0), 0.012),
        shoulder=_noisy(rng, shoulder, 0.025, 0.4, 1.2),
        waist=_noisy(rng, waist, 0.035, 0.3, 1.2),
        hip=_noisy(rng, hip, 0.025, 0.3, 1.2),
        neck=_noisy(rng, 0.03 + 0.13 * grown, 0.012),
        limb=_noisy(rng, 0.17 - 0.02 * grown + 0.02 * (1 - feminine) * adult, 0.01, 0.1, 0.25),
        stoop=_noisy(rng, 0.72 * _ramp(years, 40.0, 90.0) ** 1.2, 0.03, -0.05, 0.9),
        meters=float(meters) * (1.0 - 0.05 * feminine * adult) * float(rng.normal(1.0, 0.03)),
        seated=bool(years < 1.6 and rng.random() < 0.75),
    )


def _face(rng: np.random.Generator, years: float, feminine: float, signs: Signs) -> Face:
    child = 1.0 - _ramp(years, 0.0, 18.0)
    return Face(
        width=_noisy(rng, 0.395 + 0.065 * child + 0.012 * (1 - feminine), 0.008, 0.3, 0.5),
        eye_size=_noisy(rng, 0.085 + 0.06 * child, 0.005, 0.05, 0.2),
        eye_level=_noisy(rng, 0.02 + 0.26 * child, 0.015, -0.1, 0.35),
        lid=_noisy(rng, 0.62 * _ramp(years, 22.0, 90.0), 0.05),
        wrinkles=_noisy(rng, _ramp(years, 22.0, 88.0), 0.06),
        folds=_noisy(rng, _ramp(years, 26.0, 80.0), 0.06),
        crow=_noisy(rng, _ramp(years, 30.0, 84.0), 0.06),
        bags=_noisy(rng, _ramp(years, 34.0, 90.0), 0.07),
        spots=int(rng.poisson(7.0 * _ramp(years, 52.0, 90.0))),
        nose=_noisy(rng, 0.5 + 0.5 * _ramp(years, 0.0, 80.0), 0.05, 0.3, 1.2),
        ear=_noisy(rng, 0.085 + 0.05 * _ramp(years, 20.0, 90.0), 0.006, 0.06, 0.2),
        lips=_noisy(rng, (0.55 + 0.55 * feminine) * (1.0 - 0.5 * _ramp(years, 30.0, 90.0)), 0.06, 0.15, 1.2),
        blush=_noisy(rng, 0.55 * child + 0.15 * feminine, 0.08),
        lashes=years > 0.4 and _chance(rng, feminine, signs.lashes),
        beard=float(rng.uniform(0.35, 1.0)) if years > 19 and _chance(rng, feminine, (0.004, 0.42)) else 0.0,
        glasses=bool(rng.random() < 0.08 + 0.40 * _ramp(years, 30.0, 75.0)),
        earrings=years > 3 and _chance(rng, feminine, signs.earrings),
        smile=float(rng.uniform(0.0, 1.1)),
    )


def _hair(rng: np.random.Generator, years: float, feminine: float, signs: Signs) -> Hair:
    base = _HAIRS[int(rng.integers(len(_HAIRS)))]
    grey = 0.0 if rng.random() < 0.05 else _noisy(rng, _ramp(years, 27.0, 80.0), 0.055)
    thin = _ramp(years, 0.3, 3.0)
    bald = 0.0
    if years > 24 and not feminine and rng.random() < 0.6:
        bald = _noisy(rng, _ramp(years, 24.0, 80.0), 0.08)
    hairline = _noisy(rng, 0.30 - 0.08 * _ramp(years, 25.0, 85.0), 0.02, 0.05, 0.4)
    style, length = _style(rng, years, feminine, signs)
    bow = hsv(rng.uniform(0.85, 1.05), 0.7, 0.95) if years < 9 and _chance(rng, feminine, (0.8, 0.01)) else None
    hat = hsv(rng.random(), 0.55, 0.75) if rng.random() < 0.05 else None
    return Hair(
        color=mix(base, _GREY, grey),
        brow=mix(base, _GREY, 0.55 * grey),
        style=style if thin > 0.35 else "tuft",
        length=length,
        hairline=hairline,
        bald=bald,
        bow=bow,
        hat=hat,
    )


def _style(rng: np.random.Generator, years: float, feminine: float, signs: Signs) -> tuple[str, float]:
    if not _chance(rng, feminine, signs.style):
        return str(rng.choice(["short", "side", "curly"], p=[0.5, 0.3, 0.2])), 0.0
    old = _ramp(years, 40.0, 85.0)
    longest = 1.25 - 0.95 * old
    weights = np.array([0.45 * (1 - old), 0.25 + 0.1 * old, 0.2 * (1 - old), 0.1 + 0.45 * old, 0.1 + 0.2 * old])
    style = str(rng.choice(["long", "bob", "ponytail", "bun", "perm"], p=weights / weights.sum()))
    length = {"long": float(rng.uniform(0.5, 1.0)) * longest + 0.15, "bob": 0.05, "ponytail": 0.6}.get(style, 0.0)
    return style, length


def _hue(rng: np.random.Generator, feminine: float, signs: Signs) -> float:
    center = 0.92 if feminine else 0.55
    share, spread = signs.hue
    return float(rng.normal(center, spread)) if rng.random() < share else float(rng.random())


def _outfit(rng: np.random.Generator, years: float, feminine: float, signs: Signs) -> Outfit:
    vivid = _noisy(rng, 0.74 - 0.56 * _ramp(years, 3.0, 85.0), 0.05)
    light = _noisy(rng, 0.92 - 0.42 * _ramp(years, 5.0, 80.0), 0.05)
    top = hsv(_hue(rng, feminine, signs), vivid, light)
    bottom = hsv(float(rng.normal(0.61, 0.06)), 0.75 * vivid, _noisy(rng, 0.8 * light, 0.06))
    dress = years > 1.6 and _chance(rng, feminine, signs.dress)
    kind = _kind(rng, years, dress)
    hem = _noisy(rng, (0.40 if dress else 0.55) + 0.45 * _ramp(years, 4.0, 60.0), 0.06, 0.3, 0.97)
    return Outfit(
        kind=kind,
        top=top,
        bottom=top if kind in ("dress", "romper") else bottom,
        shoes=hsv(rng.random(), 0.6 * vivid, 0.25 + 0.4 * light),
        pattern=str(rng.choice(["plain", "stripes", "buttons", "pocket", "emblem"])),
        accent=hsv(rng.random(), 0.8 * vivid, min(1.0, light + 0.1)),
        sleeve=_noisy(rng, 0.30 + 0.68 * _ramp(years, 8.0, 75.0), 0.07, 0.22, 0.97),
        hem=hem,
        cane=bool(rng.random() < 0.75 * _ramp(years, 64.0, 84.0)),
    )


def _kind(rng: np.random.Generator, years: float, dress: bool) -> str:
    if years < 1.6:
        return "romper"
    if dress:
        return "dress" if rng.random() < 0.6 else "skirt"
    old = _ramp(years, 35.0, 75.0)
    if rng.random() < 0.75 * old:
        return "cardigan"
    return "overalls" if years < 11 and rng.random() < 0.35 else "trousers"
