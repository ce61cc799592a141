"""Draws heads: face, wrinkles, hair, glasses, hats. Units are head heights; y grows downwards, the chin is at ``y + .5``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.demo.looks import Look
from annotator.demo.pen import Color, Pen, Points, mix, oval, shade, smooth
from annotator.domain import Box

_DARK: Color = (40, 30, 30)
_WHITE: Color = (250, 250, 248)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a head is: centre, half width, and how far its features are turned aside (``yaw`` in ``[-1, 1]``)."""

    x: float
    y: float
    half: float
    yaw: float

    def at(self, u: float, v: float) -> tuple[float, float]:
        """The figure point at ``u`` (-1 left ear, 1 right ear) and ``v`` (-1 crown, 1 chin)."""
        return self.x + u * self.half, self.y + v * 0.5

    def line(self, *points: tuple[float, float]) -> Points:
        """Several ``at`` points as an array."""
        return np.array([self.at(u, v) for u, v in points])

    @property
    def outline(self) -> Points:
        """The outline of the skull and jaw."""
        h, x, y = self.half, self.x, self.y
        jaw = [(h, 0.05), (0.9 * h, 0.28), (0.45 * h, 0.5), (-0.45 * h, 0.5), (-0.9 * h, 0.28), (-h, 0.05)]
        top = [(-h, -0.3), (-0.6 * h, -0.52), (0.6 * h, -0.52), (h, -0.3)]
        return smooth([(x + dx, y + dy) for dx, dy in jaw + top], 3)


def draw_hair_behind(pen: Pen, look: Look, head: Head) -> None:
    """The hair that hangs behind neck and shoulders."""
    hair, style = look.hair, look.hair.style
    dark = shade(hair.color, 0.82)
    wide = head.half * (1.28 if style == "perm" else 1.16)
    if style in ("long", "bob"):
        low = 0.42 + hair.length
        points = [(wide * 0.9, -0.45), (wide * 1.02, 0.1), (wide * 1.05, low), (-wide * 1.05, low), (-wide * 1.02, 0.1), (-wide * 0.9, -0.45)]
        pen.fill(smooth([(head.x + x, head.y + y) for x, y in points]), dark)
    if style == "ponytail":
        side = 1.0 if head.yaw <= 0 else -1.0
        points = [(0.4, -0.4), (1.25, -0.35), (1.55, 0.25), (1.3, 0.95), (1.05, 0.3)]
        pen.fill(smooth([head.at(side * u, v) for u, v in points]), dark)
    if style == "bun":
        pen.fill(oval(head.x, head.y - 0.58, 0.2, 0.17), dark)
    if style in ("perm", "curly"):
        _curls(pen, head, hair.color, low=0.45 if style == "perm" else 0.0)


def draw_face(pen: Pen, look: Look, head: Head) -> Box:
    """Skin and features; returns the box of the visible face (hairline to chin) in canvas pixels."""
    skin = look.skin
    for side in (-1, 1):
        ex, ey = head.at(side * 1.0, 0.08)
        pen.fill(oval(ex, ey, 0.5 * look.face.ear, look.face.ear), shade(skin, 0.92))
    pen.fill(head.outline, skin)
    _aging(pen, look, head)
    _beard(pen, look, head)
    _eyes(pen, look, head)
    _nose_and_mouth(pen, look, head)
    _cap(pen, look, head)
    _extras(pen, look, head)
    full = pen.bounds_of(head.outline)
    top = pen.bounds_of(head.line((0.0, _hair_level(look)), (0.1, _hair_level(look)))).y0
    return Box(full.x0, max(full.y0, top), full.x1, full.y1)


def draw_back_of_head(pen: Pen, look: Look, head: Head) -> None:
    """A head that looks away: hair, and skin where it is bald."""
    hair = look.hair
    for side in (-1, 1):
        ex, ey = head.at(side * 1.0, 0.1)
        pen.fill(oval(ex, ey, 0.5 * look.face.ear, look.face.ear), shade(look.skin, 0.9))
    pen.fill(head.outline, look.skin)
    bald = hair.bald if hair.style != "tuft" else 0.75
    top = -1.06 if bald < 0.45 else -0.1 - 0.9 * (1 - bald)
    points = [(-1.05, top + 0.35), (-0.6, top), (0.6, top), (1.05, top + 0.35), (1.06, 0.3), (0.6, 0.72), (-0.6, 0.72), (-1.06, 0.3)]
    pen.fill(smooth([head.at(u, v) for u, v in points]), hair.color)
    for u in (-0.4, 0.0, 0.4):
        pen.stroke(head.line((u, max(top + 0.3, -0.6)), (1.1 * u, 0.5)), 0.015, shade(hair.color, 0.85))
    if hair.style in ("long", "bob"):
        low = 1.0 + 2.0 * hair.length
        points = [(-1.1, -0.4), (1.1, -0.4), (1.2, 0.9), (1.1, low), (-1.1, low), (-1.2, 0.9)]
        pen.fill(smooth([head.at(u, v) for u, v in points]), hair.color)
    _hat(pen, look, head)


def _hair_level(look: Look) -> float:
    if look.hair.bald > 0.45 or look.hair.style == "tuft":
        return -0.95
    return -1.0 + 2.0 * look.hair.hairline


def _curls(pen: Pen, head: Head, color: Color, low: float) -> None:
    for angle in np.linspace(-0.25 * np.pi - low, 1.25 * np.pi + low, 13):
        x = head.x + 1.0 * head.half * float(np.cos(angle))
        y = head.y - 0.04 - 0.48 * float(np.sin(angle))
        pen.fill(oval(x, y, 0.15, 0.15), color)


def _cap(pen: Pen, look: Look, head: Head) -> None:
    """The hair on top, down to the hairline; what is left of it when balding."""
    hair = look.hair
    if hair.style == "tuft":
        pen.fill(smooth([head.at(u, v) for u, v in [(-0.3, -0.85), (0.0, -1.2), (0.25, -0.9), (0.0, -0.8)]]), hair.color)
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
    inner = [(0.93, 0.02), (0.86, temple + 0.25), (0.5, temple + 0.02), (part, level + 0.04), (-0.5, temple + 0.02), (-0.86, temple + 0.25), (-0.93, 0.02)]
    pen.fill(smooth([head.at(u, v) for u, v in outer + inner]), hair.color)
    light = mix(hair.color, _WHITE, 0.18)
    pen.stroke(head.line((-0.6, -0.78), (-0.2, -0.98), (0.25, -0.98)), 0.025, light)


def _eyes(pen: Pen, look: Look, head: Head) -> None:
    face, shift = look.face, 0.22 * head.yaw
    size = face.eye_size
    for side in (-1, 1):
        x, y = head.at(side * 0.42 + shift, 2 * face.eye_level)
        pen.fill(oval(x, y, size * 1.05, size * 0.78), _WHITE)
        pen.fill(oval(x + 0.03 * head.yaw, y, size * 0.62, size * 0.66), _DARK)
        pen.fill(oval(x + 0.03 * head.yaw - size * 0.2, y - size * 0.22, size * 0.17, size * 0.17), _WHITE)
        if face.lid > 0.04:
            low = y - size * 0.9 + 1.5 * size * face.lid
            lid = [(x - 1.15 * size, y + 0.1 * size), (x - 0.9 * size, y - 0.95 * size), (x + 0.9 * size, y - 0.95 * size), (x + 1.15 * size, y + 0.1 * size), (x + 0.5 * size, low), (x - 0.5 * size, low)]
            pen.fill(smooth(lid), shade(look.skin, 0.9))
        if face.lashes:
            pen.stroke([(x - 1.1 * size, y - 0.3 * size), (x, y - 0.85 * size), (x + 1.1 * size, y - 0.3 * size), (x + side * 1.6 * size, y - 0.75 * size)], 0.026, _DARK)
        brow = y - size * 1.35 - 0.03
        pen.stroke([(x - 1.2 * size, brow + 0.02), (x, brow - 0.025), (x + 1.2 * size, brow + 0.02)], 0.028 if face.lashes else 0.042, look.hair.brow)


def _nose_and_mouth(pen: Pen, look: Look, head: Head) -> None:
    face, shift = look.face, 0.3 * head.yaw
    base = 0.32 + 0.1 * face.eye_level
    width = 0.17 * face.nose
    line = shade(look.skin, 0.72)
    pen.stroke(head.line((shift, base - 0.28 * face.nose), (shift + 1.2 * width, base), (shift - width, base + 0.03)), 0.022, line)
    y, bend = 0.64 + 0.04 * face.eye_level, 0.09 * face.smile
    lip = mix(shade(look.skin, 0.72), (196, 40, 62), 0.75 if face.lashes else 0.15)
    half = 0.32 + 0.08 * face.smile
    points = [(shift - half, y - bend), (shift, y + bend), (shift + half, y - bend)]
    if face.lips > 0.5:
        full = 0.05 + 0.07 * face.lips
        pen.fill(smooth([head.at(u, v) for u, v in [*points, (shift, y + bend - full), (shift, y + bend + full)][:3]] + [head.at(shift + 0.1, y + bend - full)]), lip)
    pen.stroke(head.line(*points), 0.018 + 0.028 * face.lips, lip)


def _aging(pen: Pen, look: Look, head: Head) -> None:
    """Blush, wrinkles, folds, crow's feet, bags and spots, each as deep as its sign says."""
    face, shift = look.face, 0.22 * head.yaw
    blush = mix(look.skin, (240, 110, 100), 0.55 * face.blush)
    old = shade(look.skin, 0.45)
    for side in (-1, 1):
        bx, by = head.at(side * 0.58 + shift, 0.42 + 0.15 * face.eye_level)
        pen.fill(oval(bx, by, 0.10, 0.075), blush)
    for row in range(5):
        depth = float(np.clip(5.0 * face.wrinkles - row, 0.0, 1.0))
        if depth > 0.05:
            v, ink = -0.30 - 0.11 * row + face.eye_level, mix(look.skin, old, 0.75 * depth)
            pen.stroke(head.line((-0.55 + shift, v), (shift, v - 0.04), (0.55 + shift, v)), 0.018, ink)
    for side in (-1, 1):
        _side_lines(pen, look, head, side, old)
    for index in range(face.spots):
        u, v = 0.75 * np.sin(2.4 * index + 1.0), -0.45 + 0.4 * np.cos(1.7 * index)
        pen.fill(oval(*head.at(float(u), float(v)), 0.026, 0.02), mix(look.skin, old, 0.45))


def _side_lines(pen: Pen, look: Look, head: Head, side: int, old: Color) -> None:
    face, shift = look.face, 0.22 * head.yaw
    eye = 2 * face.eye_level
    if face.folds > 0.05:
        ink = mix(look.skin, old, 0.8 * face.folds)
        pen.stroke(head.line((side * 0.24 + shift, 0.34), (side * 0.46 + shift, 0.55), (side * (0.46 + 0.1 * face.folds) + shift, 0.6 + 0.2 * face.folds)), 0.022, ink)
    for row in range(3):
        depth = float(np.clip(3.0 * face.crow - row, 0.0, 1.0))
        if depth > 0.05:
            end = (side * 0.9 + shift, eye + 0.1 * (row - 1))
            pen.stroke(head.line((side * 0.7 + shift, eye + 0.03 * (row - 1)), end), 0.016, mix(look.skin, old, 0.7 * depth))
    if face.bags > 0.05:
        ink = mix(look.skin, old, 0.65 * face.bags)
        v = eye + 2.4 * face.eye_size
        pen.stroke(head.line((side * 0.42 + shift - 0.2, v), (side * 0.42 + shift, v + 0.05), (side * 0.42 + shift + 0.2, v)), 0.02, ink)


def _beard(pen: Pen, look: Look, head: Head) -> None:
    depth = look.face.beard
    if not depth:
        return
    color = mix(look.skin, shade(look.hair.color, 0.95), 0.35 + 0.65 * depth)
    drop = 1.0 + 0.25 * depth
    points = [(-0.98, 0.1), (-0.9, 0.6), (-0.4, drop), (0.4, drop), (0.9, 0.6), (0.98, 0.1), (0.7, 0.4), (0.3, 0.46), (0.0, 0.42), (-0.3, 0.46), (-0.7, 0.4)]
    pen.fill(smooth([head.at(u, v) for u, v in points]), color)


def _extras(pen: Pen, look: Look, head: Head) -> None:
    face, shift = look.face, 0.22 * head.yaw
    if face.glasses:
        radius = max(0.13, face.eye_size * 1.25)
        for side in (-1, 1):
            x, y = head.at(side * 0.42 + shift, 2 * face.eye_level)
            ring = oval(x, y, radius, radius * 0.85)
            pen.stroke(np.concatenate([ring, ring[:1]]), 0.025, (60, 50, 60))
        pen.stroke(head.line((-0.1 + shift, 2 * face.eye_level), (0.1 + shift, 2 * face.eye_level)), 0.025, (60, 50, 60))
    if face.earrings:
        for side in (-1, 1):
            pen.fill(oval(*head.at(side * 1.02, 0.42), 0.035, 0.045), (238, 196, 72))
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
