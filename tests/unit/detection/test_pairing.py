"""Face-person pairing: the reference's assignments, an independent optimum, and no crash."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.detection.pairing import MIN_GAIN, assign_faces, assignment_gains, pair
from annotator.domain import Box, Detection

DATA = Path(__file__).parents[2] / "data" / "mivolo"
LAYOUTS: dict[str, Any] = json.loads((DATA / "association.json").read_text())["layouts"]
CASES: dict[str, Any] = json.loads((DATA / "preprocess.json").read_text())["cases"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_assignments_equal_the_reference(name: str) -> None:
    layout = LAYOUTS[name]
    bodies = [Box(*corners) for corners in layout["persons"]]
    faces = [Box(*corners) for corners in layout["faces"]]
    if layout["cost_person_by_face"]:
        assert assignment_gains(bodies, faces) == pytest.approx(np.array(layout["cost_person_by_face"]), abs=1e-6)
    owners = assign_faces(bodies, faces)
    assert owners == layout["assigned_person_of_face"]
    assert sorted(set(range(len(bodies))) - set(owners)) == layout["unassigned_persons"]


@pytest.mark.parametrize("name", CASES)
def test_pairs_of_the_box_layouts_equal_the_reference(name: str) -> None:
    boxes = CASES[name]["boxes"]
    golden = CASES[name]["modes"]["faces+persons"]["face_to_person"]
    expected = {
        (None if body is None else tuple(boxes[body][:4]), tuple(boxes[int(face)][:4])) for face, body in golden.items()
    }
    found = pair([Detection(Box(*row[:4]), ("person", "face")[int(row[5])], row[4]) for row in boxes], 640, 480)
    assert {(body and body.as_tuple(), face.as_tuple()) for body, face, _, _ in found if face} == expected


small = st.integers(0, 12).map(float)
boxes = st.lists(st.builds(Box, small, small, small, small), max_size=4)


@settings(deadline=None)
@given(bodies=boxes, faces=boxes)
def test_no_assignment_is_better(bodies: list[Box], faces: list[Box]) -> None:
    owners = assign_faces(bodies, faces)
    taken = [owner for owner in owners if owner is not None]
    assert len(taken) == len(set(taken))
    gains = assignment_gains(bodies, faces)
    total = sum(gains[owner, face] for face, owner in enumerate(owners) if owner is not None)
    choices = [*range(len(bodies)), *[None] * len(faces)]
    best = max(
        sum(gains[body, face] for face, body in enumerate(chosen) if body is not None)
        for chosen in itertools.permutations(choices, len(faces))
    )
    assert total == pytest.approx(best, abs=MIN_GAIN * 5)


corner = st.one_of(st.floats(-50, 150), st.sampled_from([math.nan, math.inf, -math.inf]))
detection = st.builds(
    Detection, st.builds(Box, corner, corner, corner, corner), st.sampled_from(["person", "face"]), st.floats(0, 1)
)


@settings(deadline=None)
@given(found=st.lists(detection, max_size=6), seed=st.randoms(use_true_random=False))
def test_pairs_lie_in_the_image_and_do_not_depend_on_order(found: list[Detection], seed: Any) -> None:
    pairs = pair(found, 100, 80)
    for body, face, body_score, face_score in pairs:
        assert body or face
        assert (body is None) == (body_score is None)
        assert (face is None) == (face_score is None)
        for box in (body, face):
            assert box is None or (box.clipped(100, 80) == box and box.is_usable)
    shuffled = list(found)
    seed.shuffle(shuffled)
    plain = [(b, f) for b, f, _, _ in pairs]
    if len({item.box for item in found}) == len(found):
        assert [(b, f) for b, f, _, _ in pair(shuffled, 100, 80)] == plain


def test_people_come_from_left_to_right_with_their_scores() -> None:
    found = pair(
        [
            Detection(Box(300, 0, 400, 200), "person", 0.9),
            Detection(Box(0, 10, 100, 200), "person", 0.8),
            Detection(Box(320, 10, 360, 60), "face", 0.7),
            Detection(Box(150, 10, 190, 60), "face", 0.6),
        ],
        640,
        480,
    )
    assert [(body is not None, face is not None, a, b) for body, face, a, b in found] == [
        (True, False, 0.8, None),
        (False, True, None, 0.6),
        (True, True, 0.9, 0.7),
    ]


def test_boxes_without_a_pixel_are_dropped() -> None:
    degenerate = [Box(5, 5, 5, 50), Box(700, 0, 800, 50), Box(3.1, 3, 3.9, 50), Box(math.nan, 0, 5, 5)]
    assert pair([Detection(box, kind, 1.0) for box in degenerate for kind in ("person", "face")], 640, 480) == []
