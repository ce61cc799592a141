"""Draws whole people from head to shoes, and says where body and face are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annotator.demo.clothes import Frame, draw_torso
from annotator.demo.hair import draw_back_of_head, draw_hair_behind
from annotator.demo.head import Head
from annotator.demo.looks import Look
from annotator.demo.pen import Color, Pen, Points, capsule, mix, oval, shade, smooth
from annotator.demo.portrait import draw_face
from annotator.domain import Box
from annotator.predictors.base import Pixels


@dataclass(frozen=True, slots=True)
class Pose:
    """Arm angles from straight down (radians, outwards), forearm bend, stance (heads), turn and what hides the face."""

    arms: tuple[float, float]
    bends: tuple[float, float]
    stance: float
    yaw: float
    lean: float
    hidden: str


def draw_pose(rng: np.random.Generator) -> Pose:
    """A pose at random; about one person in twelve shows no face."""
    arms = rng.uniform(0.12, 0.55, 2)
    bends = rng.uniform(-0.35, 0.25, 2)
    if rng.random() < 0.12:
        raised = int(rng.integers(2))
        arms[raised], bends[raised] = rng.uniform(1.9, 2.5), rng.uniform(0.0, 0.6)
    draw = rng.random()
    hidden = "away" if draw < 0.055 else "book" if draw < 0.085 else ""
    lean = 1.0 if rng.random() < 0.5 else -1.0
    return Pose(
        (float(arms[0]), float(arms[1])), (float(bends[0]), float(bends[1])),
        float(rng.uniform(0.1, 0.3)), float(rng.uniform(-0.8, 0.8)), lean, hidden,
    )  # fmt: skip


def draw_person(
    canvas: Pixels, look: Look, pose: Pose, foot: tuple[float, float], scale: float
) -> tuple[Box, Box | None]:
    """Draw one person; ``foot`` is the ground point in canvas pixels, ``scale`` the pixels per head height.

    Returns the boxes of body and face in canvas pixels, not clipped; the face is ``None`` where it cannot be seen.
    """
    frame = _frame(look)
    pen = Pen(canvas, scale, _placement(look, pose, frame, foot, scale))
    head = Head(0.0, frame.head, look.face.width, pose.yaw)
    if pose.hidden != "away":
        draw_hair_behind(pen, look, head)
    _neck(pen, look, frame)
    _legs(pen, look, pose, frame)
    draw_torso(pen, look, frame)
    hands = [_arm(pen, look, pose, frame, side) for side in (0, 1)]
    face = _head(pen, look, pose, head)
    body = pen.bounds()
    if look.outfit.cane:
        _cane(pen, hands[1 if pose.lean > 0 else 0])
    return body, face


def _head(pen: Pen, look: Look, pose: Pose, head: Head) -> Box | None:
    if pose.hidden == "away":
        draw_back_of_head(pen, look, head)
        return None
    face = draw_face(pen, look, head)
    if pose.hidden != "book":
        return face
    cover = look.outfit.accent
    pen.fill(
        np.array(
            [
                (head.x - 0.62, head.y - 0.36),
                (head.x + 0.62, head.y - 0.36),
                (head.x + 0.62, head.y + 0.52),
                (head.x - 0.62, head.y + 0.52),
            ]
        ),
        cover,
    )
    pen.stroke([(head.x, head.y - 0.36), (head.x, head.y + 0.52)], 0.05, shade(cover, 0.7))
    for side in (-1, 1):
        pen.fill(oval(head.x + side * 0.6, head.y + 0.25, 0.1, 0.12), look.skin)
    return None


def _frame(look: Look) -> Frame:
    build = look.build
    trunk = build.heads - 1.0 - build.neck
    legs = trunk * build.legs
    if build.seated:
        hip = -0.32
        shoulder = hip - trunk * (1.0 - build.legs)
    else:
        hip, shoulder = -legs, -trunk
    chin = shoulder - build.neck
    return Frame(hip, hip + 0.42 * (shoulder - hip), shoulder, chin, chin - 0.47)


def _placement(
    look: Look, pose: Pose, frame: Frame, foot: tuple[float, float], scale: float
) -> Callable[[Points], Points]:
    """Figure units to pixels; above the hip the spine is an arc, and the head looks up again by half its angle."""
    length = frame.hip - frame.shoulder
    total = pose.lean * look.build.stoop
    curve = total / length if abs(total) > 1e-3 else 1e-3

    def place(points: Points) -> Points:
        rise = frame.hip - points[:, 1]
        along = np.minimum(np.maximum(rise, 0.0), length)
        above = np.maximum(rise - length, 0.0)
        turn = curve * along
        angle = np.where(above > 0, 0.5 * total, turn)
        cosine, sine = np.cos(angle), np.sin(angle)
        placed = np.empty_like(points)
        placed[:, 0] = foot[0] + scale * ((1.0 - np.cos(turn)) / curve + above * sine + points[:, 0] * cosine)
        up = np.sin(turn) / curve + above * cosine + np.minimum(rise, 0.0)
        placed[:, 1] = foot[1] + scale * (frame.hip - up + points[:, 0] * sine)
        return placed

    return place


def _neck(pen: Pen, look: Look, frame: Frame) -> None:
    width = 0.15 + 0.12 * (look.build.shoulder - 0.5)
    pen.fill(capsule((0.0, frame.chin - 0.12), (0.0, frame.shoulder + 0.08), width, width), shade(look.skin, 0.86))


def _legs(pen: Pen, look: Look, pose: Pose, frame: Frame) -> None:
    build, outfit = look.build, look.outfit
    thick = build.limb + 0.04
    bare = outfit.kind in ("dress", "skirt")
    for side in (-1, 1):
        hip = np.array([side * 0.48 * build.hip, frame.hip])
        foot = np.array([side * (0.48 * build.hip + pose.stance), -0.1])
        if build.seated:
            foot = np.array([side * (build.hip + 0.55), -0.12])
        cloth = hip + (foot - hip) * outfit.hem
        pen.fill(capsule(hip, foot, thick * 0.9, thick * 0.62), shade(look.skin, 0.95))
        if not bare:
            width = thick * (1.1 - 0.3 * outfit.hem)
            pen.fill(capsule(hip, cloth, thick * 1.12, width), outfit.bottom)
        pen.fill(oval(foot[0] + side * 0.06, -0.08, 0.19, 0.1), outfit.shoes)
    if not bare:
        pen.fill(
            smooth(
                [
                    (-build.hip, frame.hip - 0.2),
                    (build.hip, frame.hip - 0.2),
                    (build.hip, frame.hip + 0.2),
                    (-build.hip, frame.hip + 0.2),
                ]
            ),
            outfit.bottom,
        )


def _arm(pen: Pen, look: Look, pose: Pose, frame: Frame, side: int) -> tuple[float, float]:
    build, outfit = look.build, look.outfit
    sign = 1.0 if side else -1.0
    reach = 0.78 * (build.heads - 1.0 - build.neck) * (1.0 - build.legs) * (1.0 if build.heads > 4 else 0.9)
    start = np.array([sign * (build.shoulder - 0.08), frame.shoulder + 0.16])
    angle = pose.arms[side]
    if pose.hidden == "book":
        angle = 0.35
    elbow = start + 0.52 * reach * np.array([sign * np.sin(angle), np.cos(angle)])
    hand = elbow + 0.5 * reach * _direction(pose, side, sign, angle)
    if pose.hidden == "book":
        hand = np.array([sign * 0.58, frame.head + 0.3])
    thick = build.limb * 0.82
    pen.fill(capsule(start, elbow, thick, thick * 0.85), look.skin)
    pen.fill(capsule(elbow, hand, thick * 0.85, thick * 0.66), look.skin)
    pen.fill(oval(hand[0], hand[1], thick * 0.95, thick), look.skin)
    _sleeve(pen, outfit.sleeve, (start, elbow, hand), thick, _sleeve_color(look))
    return float(hand[0]), float(hand[1])


def _direction(pose: Pose, side: int, sign: float, angle: float) -> Points:
    turned = angle + pose.bends[side]
    return np.array([sign * np.sin(turned), np.cos(turned)])


def _sleeve_color(look: Look) -> Color:
    return shade(look.outfit.top, 0.66 if look.outfit.kind == "cardigan" else 0.9)


def _sleeve(pen: Pen, share: float, joints: tuple[Points, Points, Points], thick: float, color: Color) -> None:
    start, elbow, hand = joints
    upper = min(1.0, 2.0 * share)
    pen.fill(capsule(start, start + (elbow - start) * upper, thick * 1.18, thick * 1.08), color)
    if share > 0.5:
        pen.fill(capsule(elbow, elbow + (hand - elbow) * (2.0 * share - 1.0), thick * 1.08, thick * 0.95), color)


def _cane(pen: Pen, hand: tuple[float, float]) -> None:
    pen.recording = False
    wood = mix((96, 62, 36), (40, 30, 26), 0.3)
    pen.stroke(
        [
            (hand[0] - 0.16, hand[1] - 0.02),
            (hand[0] - 0.08, hand[1] - 0.12),
            (hand[0], hand[1] - 0.08),
            (hand[0] + 0.06, -0.02),
        ],
        0.08,
        wood,
    )
