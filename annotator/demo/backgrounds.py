"""Places for drawn people to stand in: a room, a park, a street, a beach, a studio."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from annotator.demo.pen import Color, hsv, mix, shade
from annotator.predictors.base import Pixels

Rng = np.random.Generator


def paint_background(canvas: Pixels, rng: Rng) -> float:
    """Fill the whole canvas; returns where the ground begins, as a share of the height."""
    painter = _PAINTERS[int(rng.integers(len(_PAINTERS)))]
    horizon = float(rng.uniform(0.52, 0.68))
    painter(canvas, rng, int(horizon * canvas.shape[0]))
    return horizon


def _gradient(canvas: Pixels, top: int, bottom: int, first: Color, last: Color) -> None:
    rows = max(1, bottom - top)
    share = np.linspace(0.0, 1.0, rows)[:, None]
    colors = np.asarray(first) * (1 - share) + np.asarray(last) * share
    column = np.clip(np.rint(colors), 0, 255).astype(np.uint8)[:, None, :]
    canvas[top:bottom] = cv2.resize(column, (canvas.shape[1], rows), interpolation=cv2.INTER_NEAREST)


def _rectangle(canvas: Pixels, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
    cv2.rectangle(canvas, (int(x0), int(y0)), (int(x1), int(y1)), color, -1)


def _disc(canvas: Pixels, x: float, y: float, rx: float, ry: float, color: Color) -> None:
    cv2.ellipse(canvas, (int(x), int(y)), (int(rx), int(ry)), 0, 0, 360, color, -1, cv2.LINE_AA)


def _room(canvas: Pixels, rng: Rng, ground: int) -> None:
    height, width = canvas.shape[:2]
    wall = hsv(rng.random(), rng.uniform(0.05, 0.3), rng.uniform(0.75, 0.96))
    floor = hsv(rng.uniform(0.05, 0.12), rng.uniform(0.25, 0.5), rng.uniform(0.45, 0.75))
    _gradient(canvas, 0, ground, shade(wall, 0.94), wall)
    _gradient(canvas, ground, height, floor, shade(floor, 0.8))
    _rectangle(canvas, 0, ground - 0.02 * height, width, ground, shade(wall, 1.15))
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, 0.85) * width, rng.uniform(0.06, 0.25) * height
        w, h = rng.uniform(0.1, 0.22) * width, rng.uniform(0.14, 0.28) * height
        _rectangle(canvas, x - 8, y - 8, x + w + 8, y + h + 8, shade(floor, 0.7))
        _rectangle(canvas, x, y, x + w, y + h, hsv(rng.uniform(0.5, 0.62), 0.25, 0.95))
        _disc(canvas, x + w / 2, y + h * 0.6, w / 4, h / 6, hsv(rng.random(), 0.4, 0.8))
    for line in np.linspace(ground, height, 5)[1:]:
        cv2.line(canvas, (0, int(line)), (width, int(line)), shade(floor, 0.9), 2)
    if rng.random() < 0.6:
        _plant(canvas, rng, ground)


def _plant(canvas: Pixels, rng: Rng, ground: int) -> None:
    height, width = canvas.shape[:2]
    x, size = rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.09) * height
    for _ in range(7):
        angle = rng.uniform(-1.2, 1.2)
        tip = (int(x + 2.2 * size * np.sin(angle)), int(ground - size - 2.2 * size * np.cos(angle)))
        cv2.line(
            canvas,
            (int(x), int(ground - size)),
            tip,
            hsv(rng.uniform(0.28, 0.4), 0.6, 0.55),
            int(size / 4),
            cv2.LINE_AA,
        )
    _rectangle(canvas, x - size / 2, ground - size, x + size / 2, ground + size / 4, (176, 98, 66))


def _park(canvas: Pixels, rng: Rng, ground: int) -> None:
    height, width = canvas.shape[:2]
    grass = hsv(rng.uniform(0.24, 0.33), rng.uniform(0.35, 0.6), rng.uniform(0.55, 0.8))
    _gradient(canvas, 0, ground, (128, 186, 236), (216, 236, 250))
    _clouds(canvas, rng, ground)
    for _ in range(3):
        _disc(
            canvas,
            rng.uniform(0, 1) * width,
            ground + 10,
            rng.uniform(0.3, 0.6) * width,
            rng.uniform(0.08, 0.2) * height,
            shade(grass, rng.uniform(0.75, 0.92)),
        )
    _gradient(canvas, ground, height, grass, shade(grass, 0.82))
    for _ in range(int(rng.integers(2, 6))):
        _tree(canvas, rng, ground)
    for _ in range(25):
        x, y = rng.uniform(0, width), rng.uniform(ground, height)
        cv2.line(canvas, (int(x), int(y)), (int(x + 6), int(y - 14)), shade(grass, 0.72), 2, cv2.LINE_AA)


def _tree(canvas: Pixels, rng: Rng, ground: int) -> None:
    height, width = canvas.shape[:2]
    x, size = rng.uniform(0, 1) * width, rng.uniform(0.09, 0.16) * height
    leaf = hsv(rng.uniform(0.22, 0.38), rng.uniform(0.4, 0.7), rng.uniform(0.4, 0.65))
    _rectangle(canvas, x - size * 0.13, ground - 1.6 * size, x + size * 0.13, ground + size * 0.1, (112, 80, 54))
    for dx, dy in ((-0.5, -1.7), (0.5, -1.7), (0.0, -2.3), (0.0, -1.6)):
        _disc(canvas, x + dx * size, ground + dy * size, 0.75 * size, 0.7 * size, shade(leaf, 1.0 + 0.1 * dx))


def _clouds(canvas: Pixels, rng: Rng, ground: int) -> None:
    width = canvas.shape[1]
    for _ in range(int(rng.integers(1, 4))):
        x, y, size = rng.uniform(0, 1) * width, rng.uniform(0.1, 0.5) * ground, rng.uniform(0.04, 0.08) * width
        for dx in (-0.9, 0.0, 0.9):
            _disc(canvas, x + dx * size, y, size, size * (0.55 - 0.15 * abs(dx)), (244, 248, 252))


def _street(canvas: Pixels, rng: Rng, ground: int) -> None:
    height, width = canvas.shape[:2]
    _gradient(canvas, 0, ground, (172, 200, 226), (232, 236, 240))
    x = -rng.uniform(0, 0.1) * width
    while x < width:
        w, top = rng.uniform(0.14, 0.26) * width, rng.uniform(0.05, 0.35) * ground
        wall = hsv(rng.uniform(0.0, 0.15), rng.uniform(0.1, 0.5), rng.uniform(0.6, 0.92))
        _rectangle(canvas, x, top, x + w, ground, wall)
        for wx in np.arange(x + 0.14 * w, x + 0.8 * w, 0.3 * w):
            for wy in np.arange(top + 0.05 * height, ground - 0.14 * height, 0.13 * height):
                _rectangle(
                    canvas,
                    wx,
                    wy,
                    wx + 0.17 * w,
                    wy + 0.07 * height,
                    mix((90, 110, 140), (250, 230, 160), float(rng.random() < 0.25)),
                )
        x += w
    _gradient(canvas, ground, height, (176, 174, 172), (138, 136, 136))
    for line in np.linspace(0, width, 7):
        cv2.line(
            canvas,
            (int(line), ground),
            (int(width / 2 + 1.8 * (line - width / 2)), height),
            (158, 156, 154),
            2,
            cv2.LINE_AA,
        )
    if rng.random() < 0.5:
        pole = int(rng.uniform(0.05, 0.95) * width)
        _rectangle(canvas, pole - 5, 0.15 * height, pole + 5, ground + 8, (70, 74, 82))
        _disc(canvas, pole, 0.14 * height, 24, 18, (250, 238, 190))


def _beach(canvas: Pixels, rng: Rng, ground: int) -> None:
    height, width = canvas.shape[:2]
    warm = float(rng.random())
    sea = int(ground * 0.72)
    _gradient(canvas, 0, sea, mix((120, 184, 238), (240, 160, 130), warm), mix((222, 240, 252), (252, 224, 176), warm))
    _disc(
        canvas, rng.uniform(0.1, 0.9) * width, rng.uniform(0.2, 0.6) * sea, 0.06 * width, 0.06 * width, (255, 236, 160)
    )
    _gradient(canvas, sea, ground, (52, 128, 170), (96, 178, 196))
    for _ in range(12):
        x, y = rng.uniform(0, width), rng.uniform(sea + 4, ground - 4)
        cv2.line(canvas, (int(x), int(y)), (int(x + 0.08 * width), int(y)), (150, 208, 220), 2)
    _gradient(canvas, ground, height, (240, 218, 168), (222, 192, 138))
    if rng.random() < 0.5:
        x, size = rng.uniform(0.1, 0.9) * width, 0.16 * width
        cv2.line(canvas, (int(x), int(ground - size)), (int(x), int(ground + size / 4)), (240, 240, 240), 8)
        cv2.ellipse(
            canvas,
            (int(x), int(ground - size)),
            (int(size), int(size / 2)),
            0,
            180,
            360,
            hsv(rng.random(), 0.7, 0.9),
            -1,
            cv2.LINE_AA,
        )


def _studio(canvas: Pixels, rng: Rng, ground: int) -> None:
    height = canvas.shape[0]
    color = hsv(rng.random(), rng.uniform(0.05, 0.5), rng.uniform(0.5, 0.95))
    _gradient(canvas, 0, ground, shade(color, 0.8), color)
    _gradient(canvas, ground, height, shade(color, 1.05), shade(color, 0.86))
    width = canvas.shape[1]
    for _ in range(int(rng.integers(0, 4))):
        _disc(
            canvas,
            rng.uniform(0, 1) * width,
            rng.uniform(0.05, 0.5) * height,
            0.05 * width,
            0.05 * width,
            shade(color, rng.uniform(0.85, 1.15)),
        )


_PAINTERS: tuple[Callable[[Pixels, Rng, int], None], ...] = (_room, _park, _street, _beach, _studio)
