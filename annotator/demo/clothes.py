"""Draws what people wear on their trunks. Units are head heights; y grows downwards, the ground is at 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.demo.looks import Look
from annotator.demo.pen import Pen, oval, shade, smooth


@dataclass(frozen=True, slots=True)
class Frame:
    """Heights of the joints above the ground, in heads (negative is up)."""

    hip: float
    waist: float
    shoulder: float
    chin: float
    head: float


def draw_torso(pen: Pen, look: Look, frame: Frame) -> None:
    """The trunk in its clothes, and the skin at the neck."""
    build, outfit = look.build, look.outfit
    s, w, h = build.shoulder, build.waist, build.hip
    half = 0.5 * (s + w)
    left = [
        (-0.28, frame.shoulder - 0.03),
        (-s, frame.shoulder + 0.1),
        (-half, 0.5 * (frame.shoulder + frame.waist)),
        (-w, frame.waist),
        (-h, frame.hip + 0.06),
    ]
    outline = smooth([*left, *[(-x, y) for x, y in reversed(left)]])
    pen.fill(outline, outfit.top)
    _pattern(pen, look, frame)
    if outfit.kind in ("dress", "skirt"):
        _skirt(pen, look, frame)
    if outfit.kind == "cardigan":
        _cardigan(pen, look, frame)
    if outfit.kind == "overalls":
        _overalls(pen, look, frame)
    collar = [(-0.2, frame.shoulder - 0.05), (0.0, frame.shoulder + 0.2), (0.2, frame.shoulder - 0.05)]
    pen.fill(smooth(collar, 1), shade(look.skin, 0.93))


def _pattern(pen: Pen, look: Look, frame: Frame) -> None:
    outfit, w = look.outfit, 0.86 * min(look.build.waist, look.build.shoulder)
    top, low = frame.shoulder + 0.32, frame.hip - 0.05
    if outfit.pattern == "stripes":
        for y in np.arange(top, low, 0.24):
            pen.stroke([(-w, float(y)), (w, float(y))], 0.07, outfit.accent)
    elif outfit.pattern == "buttons":
        for y in np.arange(top, low, 0.26):
            pen.fill(oval(0.0, float(y), 0.035, 0.035), shade(outfit.top, 0.6))
    elif outfit.pattern == "pocket":
        pen.fill(smooth([(0.12, top), (0.34, top), (0.34, top + 0.26), (0.12, top + 0.26)], 1), shade(outfit.top, 0.8))
    elif outfit.pattern == "emblem":
        pen.fill(oval(0.0, top + 0.2, 0.16, 0.16), outfit.accent)


def _cardigan(pen: Pen, look: Look, frame: Frame) -> None:
    dark = shade(look.outfit.top, 0.72)
    w, s = look.build.waist, look.build.shoulder
    for side in (-1, 1):
        outline = [
            (side * 0.16, frame.shoulder),
            (side * 0.95 * s, frame.shoulder + 0.08),
            (side * w, frame.waist),
            (side * look.build.hip, frame.hip + 0.1),
            (side * 0.14, frame.hip + 0.1),
            (side * 0.2, frame.waist),
        ]
        pen.fill(smooth(outline, 1), dark)


def _overalls(pen: Pen, look: Look, frame: Frame) -> None:
    w = 0.8 * look.build.waist
    middle = 0.5 * (frame.shoulder + frame.waist)
    pen.fill(
        np.array([(-w, frame.hip + 0.05), (-0.7 * w, middle), (0.7 * w, middle), (w, frame.hip + 0.05)]),
        look.outfit.bottom,
    )
    for side in (-1, 1):
        pen.stroke([(side * 0.6 * w, middle), (side * 0.5, frame.shoulder + 0.06)], 0.09, look.outfit.bottom)


def _skirt(pen: Pen, look: Look, frame: Frame) -> None:
    build, outfit = look.build, look.outfit
    low = frame.hip * (1.0 - outfit.hem) if not build.seated else 0.0
    flare = build.hip + 0.28 + 0.1 * outfit.hem
    points = [
        (-build.waist, frame.waist + 0.05),
        (build.waist, frame.waist + 0.05),
        (flare, low),
        (0.0, low + 0.06),
        (-flare, low),
    ]
    color = outfit.top if outfit.kind == "dress" else outfit.bottom
    pen.fill(smooth(points), color)
    for u in (-0.45, 0.0, 0.45):
        pen.stroke([(u * build.waist, frame.hip - 0.1), (u * flare, low - 0.06)], 0.02, shade(color, 0.85))
