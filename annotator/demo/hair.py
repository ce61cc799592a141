"""Draws hair in front of and behind heads, hats and bows. Units are head heights; y grows downwards."""

from __future__ import annotations

import numpy as np

from annotator.demo.head import Head
from annotator.demo.looks import Look
from annotator.demo.pen import Color, Pen, mix, oval, shade, smooth

_WHITE: Color = (250, 250, 248)


def draw_hair_behind(pen: Pen, look: Look, head: Head) -> None:
    """The hair that hangs behind neck and shoulders."""
    hair, style = look.hair, look.hair.style
    dark = shade(hair.color, 0.82)
    wide = head.half * (1.28 if style == "perm" else 1.16)
    if style in ("long", "bob"):
        low = 0.42 + hair.length
        points = [
            (wide * 0.9, -0.45),
            (wide * 1.02, 0.1),
            (wide * 1.05, low),
            (-wide * 1.05, low),
            (-wide * 1.02, 0.1),
            (-wide * 0.9, -0.45),
        ]
        pen.fill(smooth([(head.x + x, head.y + y) for x, y in points]), dark)
    if style == "ponytail":
        side = 1.0 if head.yaw <= 0 else -1.0
        points = [(0.4, -0.4), (1.25, -0.35), (1.55, 0.25), (1.3, 0.95), (1.05, 0.3)]
        pen.fill(smooth([head.at(side * u, v) for u, v in points]), dark)
    if style == "bun":
        pen.fill(oval(head.x, head.y - 0.58, 0.2, 0.17), dark)
    if style in ("perm", "curly"):
        _curls(pen, head, hair.color, low=0.45 if style == "perm" else 0.0)


def _curls(pen: Pen, head: Head, color: Color, low: float) -> None:
    for angle in np.linspace(-0.25 * np.pi - low, 1.25 * np.pi + low, 13):
        x = head.x + 1.0 * head.half * float(np.cos(angle))
        y = head.y - 0.04 - 0.48 * float(np.sin(angle))
        pen.fill(oval(x, y, 0.15, 0.15), color)


def draw_back_of_head(pen: Pen, look: Look, head: Head) -> None:
    """A head that looks away: hair, and skin where it is bald."""
    hair = look.hair
    for side in (-1, 1):
        ex, ey = head.at(side * 1.0, 0.1)
        pen.fill(oval(ex, ey, 0.5 * look.face.ear, look.face.ear), shade(look.skin, 0.9))
    pen.fill(head.outline, look.skin)
    bald = hair.bald if hair.style != "tuft" else 0.75
    top = -1.06 if bald < 0.45 else -0.1 - 0.9 * (1 - bald)
    points = [
        (-1.05, top + 0.35),
        (-0.6, top),
        (0.6, top),
        (1.05, top + 0.35),
        (1.06, 0.3),
        (0.6, 0.72),
        (-0.6, 0.72),
        (-1.06, 0.3),
    ]
    pen.fill(smooth([head.at(u, v) for u, v in points]), hair.color)
    for u in (-0.4, 0.0, 0.4):
        pen.stroke(head.line((u, max(top + 0.3, -0.6)), (1.1 * u, 0.5)), 0.015, shade(hair.color, 0.85))
    if hair.style in ("long", "bob"):
        low = 1.0 + 2.0 * hair.length
        points = [(-1.1, -0.4), (1.1, -0.4), (1.2, 0.9), (1.1, low), (-1.1, low), (-1.2, 0.9)]
        pen.fill(smooth([head.at(u, v) for u, v in points]), hair.color)
    _hat(pen, look, head)


def hair_level(look: Look) -> float:
    """How high up the skin of the forehead shows: -1 crown, 1 chin."""
    if look.hair.bald > 0.45 or look.hair.style == "tuft":
        return -0.95
    return -1.0 + 2.0 * look.hair.hairline


def draw_cap(pen: Pen, look: Look, head: Head) -> None:
    """The hair on top, down to the hairline; what is left of it when balding."""
    hair = look.hair
    if hair.style == "tuft":
        pen.fill(
            smooth([head.at(u, v) for u, v in [(-0.3, -0.85), (0.0, -1.2), (0.25, -0.9), (0.0, -0.8)]]), hair.color
        )
        return
    level = -1.0 + 2.0 * hair.hairline
    if hair.bald > 0.45:
        for side in (-1, 1):
            points = [(0.82, -0.75 + 0.5 * (hair.bald - 0.45)), (1.14, -0.5), (1.14, 0.12), (0.92, 0.12), (0.9, -0.2)]
            pen.fill(smooth([head.at(side * u, v) for u, v in points]), hair.color)
        return
    temple = level - 0.9 * hair.bald
    part = {"side": -0.55, "short": 0.0}.get(hair.style, 0.25)
    outer = [(-1.12, 0.05), (-1.14, -0.5), (-0.75, -1.06), (0.0, -1.2), (0.75, -1.06), (1.14, -0.5), (1.12, 0.05)]
    inner = [
        (0.93, 0.02),
        (0.86, temple + 0.25),
        (0.5, temple + 0.02),
        (part, level + 0.04),
        (-0.5, temple + 0.02),
        (-0.86, temple + 0.25),
        (-0.93, 0.02),
    ]
    pen.fill(smooth([head.at(u, v) for u, v in outer + inner]), hair.color)
    light = mix(hair.color, _WHITE, 0.18)
    pen.stroke(head.line((-0.6, -0.78), (-0.2, -0.98), (0.25, -0.98)), 0.025, light)


def draw_hat_and_bow(pen: Pen, look: Look, head: Head) -> None:
    """What is worn on the head, if anything."""
    if look.hair.bow is not None:
        x, y = head.at(0.55, -0.92)
        for side in (-1, 1):
            pen.fill(smooth([(x, y), (x + side * 0.2, y - 0.12), (x + side * 0.2, y + 0.12)], 1), look.hair.bow)
        pen.fill(oval(x, y, 0.045, 0.045), shade(look.hair.bow, 0.8))
    _hat(pen, look, head)


def _hat(pen: Pen, look: Look, head: Head) -> None:
    color = look.hair.hat
    if color is None:
        return
    crown = [(-1.1, -0.62), (-0.95, -1.2), (-0.3, -1.42), (0.3, -1.42), (0.95, -1.2), (1.1, -0.62)]
    pen.fill(smooth([head.at(u, v) for u, v in crown]), color)
    brim = [(-1.22, -0.74), (1.22, -0.74), (1.22, -0.56), (-1.22, -0.56)]
    pen.fill(smooth([head.at(u, v) for u, v in brim]), shade(color, 0.75))
