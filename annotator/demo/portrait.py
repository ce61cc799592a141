"""Draws faces: skin, eyes, mouth, the signs of age, glasses. Units are head heights; y grows downwards."""

from __future__ import annotations

import numpy as np

from annotator.demo.hair import draw_cap, draw_hat_and_bow, hair_level
from annotator.demo.head import Head
from annotator.demo.looks import Look
from annotator.demo.pen import Color, Pen, mix, oval, shade, smooth
from annotator.domain import Box

_DARK: Color = (40, 30, 30)
_WHITE: Color = (250, 250, 248)


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
    draw_cap(pen, look, head)
    _extras(pen, look, head)
    full = pen.bounds_of(head.outline)
    top = pen.bounds_of(head.line((0.0, hair_level(look)), (0.1, hair_level(look)))).y0
    return Box(full.x0, max(full.y0, top), full.x1, full.y1)


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
            lid = [
                (x - 1.15 * size, y + 0.1 * size),
                (x - 0.9 * size, y - 0.95 * size),
                (x + 0.9 * size, y - 0.95 * size),
                (x + 1.15 * size, y + 0.1 * size),
                (x + 0.5 * size, low),
                (x - 0.5 * size, low),
            ]
            pen.fill(smooth(lid), shade(look.skin, 0.9))
        if face.lashes:
            pen.stroke(
                [
                    (x - 1.1 * size, y - 0.3 * size),
                    (x, y - 0.85 * size),
                    (x + 1.1 * size, y - 0.3 * size),
                    (x + side * 1.6 * size, y - 0.75 * size),
                ],
                0.026,
                _DARK,
            )
        brow = y - size * 1.35 - 0.03
        pen.stroke(
            [(x - 1.2 * size, brow + 0.02), (x, brow - 0.025), (x + 1.2 * size, brow + 0.02)],
            0.028 if face.lashes else 0.042,
            look.hair.brow,
        )


def _nose_and_mouth(pen: Pen, look: Look, head: Head) -> None:
    face, shift = look.face, 0.3 * head.yaw
    base = 0.32 + 0.1 * face.eye_level
    width = 0.17 * face.nose
    line = shade(look.skin, 0.72)
    pen.stroke(
        head.line((shift, base - 0.28 * face.nose), (shift + 1.2 * width, base), (shift - width, base + 0.03)),
        0.022,
        line,
    )
    y, bend = 0.64 + 0.04 * face.eye_level, 0.09 * face.smile
    lip = mix(shade(look.skin, 0.72), (196, 40, 62), 0.75 if face.lashes else 0.15)
    half = 0.32 + 0.08 * face.smile
    points = [(shift - half, y - bend), (shift, y + bend), (shift + half, y - bend)]
    if face.lips > 0.5:
        full = 0.06 + 0.09 * face.lips
        full_lips = [*points, (shift + 0.1, y + bend - full)]
        pen.fill(smooth([head.at(u, v) for u, v in full_lips]), lip)
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
        pen.stroke(
            head.line(
                (side * 0.24 + shift, 0.34),
                (side * 0.46 + shift, 0.55),
                (side * (0.46 + 0.1 * face.folds) + shift, 0.6 + 0.2 * face.folds),
            ),
            0.022,
            ink,
        )
    for row in range(3):
        depth = float(np.clip(3.0 * face.crow - row, 0.0, 1.0))
        if depth > 0.05:
            end = (side * 0.9 + shift, eye + 0.1 * (row - 1))
            pen.stroke(
                head.line((side * 0.7 + shift, eye + 0.03 * (row - 1)), end), 0.016, mix(look.skin, old, 0.7 * depth)
            )
    if face.bags > 0.05:
        ink = mix(look.skin, old, 0.65 * face.bags)
        v = eye + 2.4 * face.eye_size
        pen.stroke(
            head.line((side * 0.42 + shift - 0.2, v), (side * 0.42 + shift, v + 0.05), (side * 0.42 + shift + 0.2, v)),
            0.02,
            ink,
        )


def _beard(pen: Pen, look: Look, head: Head) -> None:
    depth = look.face.beard
    if not depth:
        return
    color = mix(look.skin, shade(look.hair.color, 0.95), 0.35 + 0.65 * depth)
    drop = 1.0 + 0.25 * depth
    points = [
        (-0.98, 0.1),
        (-0.9, 0.6),
        (-0.4, drop),
        (0.4, drop),
        (0.9, 0.6),
        (0.98, 0.1),
        (0.7, 0.4),
        (0.3, 0.46),
        (0.0, 0.42),
        (-0.3, 0.46),
        (-0.7, 0.4),
    ]
    pen.fill(smooth([head.at(u, v) for u, v in points]), color)


def _extras(pen: Pen, look: Look, head: Head) -> None:
    face, shift = look.face, 0.22 * head.yaw
    if face.glasses:
        radius = max(0.13, face.eye_size * 1.25)
        for side in (-1, 1):
            x, y = head.at(side * 0.42 + shift, 2 * face.eye_level)
            ring = oval(x, y, radius, radius * 0.85)
            pen.stroke(np.concatenate([ring, ring[:1]]), 0.025, (60, 50, 60))
        pen.stroke(
            head.line((-0.1 + shift, 2 * face.eye_level), (0.1 + shift, 2 * face.eye_level)), 0.025, (60, 50, 60)
        )
    if face.earrings:
        for side in (-1, 1):
            pen.fill(oval(*head.at(side * 1.02, 0.42), 0.035, 0.045), (238, 196, 72))
    draw_hat_and_bow(pen, look, head)
