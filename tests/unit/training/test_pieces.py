"""The parts of a training run, each by its rule."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.training.augment import Augmentation
from annotator.training.density import density_weights
from annotator.training.order import Order
from annotator.training.stored import PAGE, has_room, in_threads, keep_rows

BOTH = np.array([True, True])


def crops(seed: int = 0, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (2, side, side, 3), np.uint8)


@given(seed=st.integers(0, 1000), places=st.lists(st.integers(0, 500), min_size=1, max_size=20))
@settings(max_examples=40)
def test_the_order_is_a_function_of_place(seed: int, places: list[int]) -> None:
    weights = np.random.default_rng(seed).uniform(0.5, 3, 17)
    walked = Order(weights, seed)
    rows = [walked[place] for place in range(501)]
    assert [Order(weights, seed)[place] for place in places] == [rows[place] for place in places]


def test_weights_are_repetitions() -> None:
    order = Order(np.array([1.0, 2.5, 1.0, 5.0]), 3)
    counts = np.bincount([order[place] for place in range(9_500)], minlength=4) / 1000
    assert counts == pytest.approx([1.0, 2.5, 1.0, 5.0], rel=0.03)


def test_rare_ages_weigh_more_and_the_mean_is_one() -> None:
    ages = np.concatenate([np.random.default_rng(0).normal(30, 8, 5000), np.full(40, 80.0), [np.nan]])
    weights = density_weights(ages)
    known = np.clip(np.rint(ages[:-1]), 0, 130).astype(int)
    assert weights[known].mean() == pytest.approx(1.0)
    assert weights[80] > 3 * weights[30]
    assert weights.max() / weights.min() <= 25.0 + 1e-9
    assert np.abs(np.diff(np.log(weights[15:45]))).max() < 0.5, "neighbouring ages weigh alike"


def test_inputs_are_dropped_as_often_as_said_and_never_both() -> None:
    rng = np.random.default_rng(0)
    augmentation = Augmentation(blur=0, drop_face=0.2, drop_body=0.1, mirror=0, shift=0, resize=0, brightness=0)
    seen = np.array([augmentation(crops(), BOTH, rng).any(axis=(1, 2, 3)) for _ in range(2000)])
    assert not (~seen).all(axis=1).any()
    assert (~seen).mean(axis=0) == pytest.approx([0.2, 0.1], abs=0.03)
    alone = np.array([True, False])
    one = crops()
    one[1] = 0
    assert all(augmentation(one, alone, rng)[0].any() for _ in range(200)), "the only input there is stays"


def test_only_the_face_is_blurred_and_as_often_as_said() -> None:
    rng = np.random.default_rng(1)
    augmentation = Augmentation(blur=0.3, blur_strength=0.1, mirror=0, shift=0, resize=0, brightness=0)
    original = crops()
    changed = [augmentation(original, BOTH, rng) for _ in range(1000)]
    assert np.mean([not np.array_equal(one[0], original[0]) for one in changed]) == pytest.approx(0.3, abs=0.05)
    assert all(np.array_equal(one[1], original[1]) for one in changed)
    blurred = [one[0].std() for one in changed if not np.array_equal(one[0], original[0])]
    assert max(blurred) < 0.9 * original[0].std()


def test_nothing_asked_changes_nothing_and_the_input_stays() -> None:
    original = crops()
    kept = original.copy()
    plain = Augmentation(blur=0, mirror=0, shift=0, resize=0, brightness=0)
    assert np.array_equal(plain(original, BOTH, np.random.default_rng(0)), kept)
    Augmentation(blur=1, drop_face=0.5, drop_body=0.5, mirror=1, shift=0.1, brightness=0.3)(
        original, BOTH, np.random.default_rng(0)
    )
    assert np.array_equal(original, kept)
    mirrored = Augmentation(blur=0, mirror=1, shift=0, resize=0, brightness=0)(original, BOTH, np.random.default_rng(0))
    assert np.array_equal(mirrored, kept[:, :, ::-1])


def test_a_shift_moves_by_whole_pixels_and_blurs_nothing() -> None:
    original = crops()
    shifts = Augmentation(blur=0, mirror=0, shift=0.05, resize=0, brightness=0)
    moved = 0
    for seed in range(20):
        changed = shifts(original, BOTH, np.random.default_rng(seed))
        known = {tuple(pixel) for pixel in original.reshape(-1, 3).tolist()} | {(0, 0, 0)}
        assert {tuple(pixel) for pixel in changed.reshape(-1, 3).tolist()} <= known
        moved += not np.array_equal(changed, original)
    assert moved > 10
    grown = Augmentation(blur=0, mirror=0, shift=0, resize=0.05, brightness=0)(original, BOTH, np.random.default_rng(0))
    assert not np.array_equal(grown, original)


def test_kept_rows_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(24, dtype=np.uint8).reshape(4, 6)
    place = tmp_path / "rows.npy"
    for too_many_or_few in (rows[:3], [*rows, rows[0]]):
        with pytest.raises(ValueError, match="zip"):
            keep_rows(place, rows.shape, too_many_or_few)
        assert not list(tmp_path.iterdir())

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    begun = iter(rows)
    assert keep_rows(place, rows.shape, begun) is None
    assert next(begun).tolist() == rows[0].tolist(), "nothing was asked for"
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
    (tmp_path / "rows.npy.4711.part").write_bytes(b"of a process that was killed")
    kept = keep_rows(place, rows.shape, rows)
    assert kept is not None
    assert [kept[row].tolist() for row in range(len(kept))] == rows.tolist()
    again = keep_rows(place, rows.shape, ())
    assert again is not None
    assert again[3].tolist() == rows[3].tolist(), "what is there is taken"
    assert list(tmp_path.iterdir()) == [place]


def test_kept_rows_go_to_another_process_by_their_place(tmp_path: Path) -> None:
    rows = np.zeros((1000, 1000), np.uint8)
    kept = keep_rows(tmp_path / "rows.npy", rows.shape, rows)
    sent = pickle.dumps(kept)
    assert len(sent) < 1000
    assert pickle.loads(sent)[999].shape == (1000,)


def test_arrays_that_the_disk_cannot_hold_are_not_kept(tmp_path: Path) -> None:
    assert has_room(tmp_path, (10, 10), 100)
    assert not has_room(tmp_path, (10, 10), 99)
    free = shutil.disk_usage(tmp_path).free
    assert not has_room(tmp_path, (2, free), 1e30)
    assert not has_room(tmp_path, (95, free // 100), 1e30), "checkpoints need some of it"


def test_what_threads_make_comes_in_order_and_is_not_begun_before_it_is_asked_for() -> None:
    made: list[int] = []

    def square(number: int) -> int:
        made.append(number)
        return number * number

    squares = in_threads(square, range(3 * PAGE))
    assert not made
    assert next(squares) == 0
    assert len(made) <= PAGE, "a page at a time"
    assert [0, *squares] == [number * number for number in range(3 * PAGE)]
