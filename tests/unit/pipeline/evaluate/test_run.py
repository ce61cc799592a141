"""One pass over the images: nobody twice, full batches, nothing lost when stopped, one person's trouble their own."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.domain import Prediction, PredictionStatus
from annotator.errors import StorageError
from annotator.evaluation.answers import STATES
from annotator.pipeline.evaluate.cache import PredictionCache
from annotator.pipeline.evaluate.run import Run, ask_everybody
from annotator.pipeline.evaluate.variants import Variant
from annotator.protocols.folders import read_lagenda, read_own
from annotator.protocols.nano import draw_nano, nano_list
from annotator.protocols.people import People
from annotator.settings import Settings
from tests.helpers.models import MeanPredictor

Make = Callable[..., Variant]


def run(people: People, variants: list[Variant], settings: Settings) -> Run:
    cache = PredictionCache(settings.root / "evaluation.db")
    try:
        return ask_everybody(people, variants, cache, settings)
    finally:
        cache.close()


def ages(result: Run) -> dict[str, list[float]]:
    return {one.predictor: one.age.tolist() for one in result.answers}


def test_everybody_is_asked_once_in_full_batches_and_answers_land_with_their_person(
    people: People, variant: Make, settings: Settings
) -> None:
    mean, other = MeanPredictor(batch_size=8), MeanPredictor("other", shift=8.0, batch_size=3)
    result = run(people, [variant(mean), variant(other)], settings)
    assert mean.batches == [8, 8, 4]
    assert other.batches == [3] * 6 + [2]
    assert sorted(mean.asked) == sorted(result.truths.ids)
    assert len(result.truths) == 20
    assert set(result.truths.face_height.tolist()) == {50.0}
    first, second = result.answers
    known = first.age < 92
    assert np.allclose(second.age[known] - first.age[known], 8)
    assert len(set(first.age.tolist())) == 20  # everybody's pixels are different
    assert result.timing.asked == {"mean@1": 20, "other@1": 20}
    assert result.timing.total >= result.timing.around >= 0


def test_nothing_is_asked_twice(people: People, variant: Make, settings: Settings) -> None:
    mean = MeanPredictor()
    first = run(people, [variant(mean)], settings)
    mean.asked.clear()
    again = run(people, [variant(mean), variant(MeanPredictor("other"))], settings)
    assert mean.asked == []
    assert (again.reused, again.timing.asked) == (20, {"other@1": 20})
    assert ages(again)["mean"] == ages(first)["mean"]


def test_another_version_or_another_picture_is_asked(
    people: People, folder: Path, variant: Make, settings: Settings
) -> None:
    run(people, [variant(MeanPredictor())], settings)
    newer = MeanPredictor(version="2")
    run(people, [variant(newer)], settings)
    assert len(newer.asked) == 20
    pictures = sorted((folder / "lag_benchmark").iterdir())
    pictures[0].write_bytes(pictures[1].read_bytes())
    os.utime(pictures[0], ns=(1, 1))
    same = MeanPredictor()
    result = run(people, [variant(same)], settings)
    assert same.asked == []  # the bytes of another image, and the boxes that were asked with them
    assert result.answers[0].age[0] == result.answers[0].age[2]


def test_a_stopped_run_goes_on_where_it_was(people: People, variant: Make, settings: Settings) -> None:
    whole = run(people, [variant(MeanPredictor())], replace_root(settings, "apart"))
    stopped = MeanPredictor(batch_size=4)

    def stop() -> None:
        if len(stopped.batches) == 3:
            raise KeyboardInterrupt

    stopped.before = stop
    with pytest.raises(KeyboardInterrupt):
        run(people, [variant(stopped)], settings)
    rest = MeanPredictor(batch_size=4)
    result = run(people, [variant(rest)], settings)
    assert len(rest.asked) == 20 - 12
    assert ages(result) == ages(whole)


def replace_root(settings: Settings, name: str) -> Settings:
    (settings.root / name).mkdir()
    return settings.model_copy(update={"root": settings.root / name})


SLOW = """
import sys, time
from pathlib import Path
from annotator.pipeline.evaluate.cache import PredictionCache
from annotator.pipeline.evaluate.run import ask_everybody
from annotator.pipeline.evaluate.variants import Variant
from annotator.predictors.registry import Lazy
from annotator.protocols.folders import read_lagenda
from annotator.settings import Settings
from tests.helpers.models import MeanPredictor
model = MeanPredictor(batch_size=2)
model.before = lambda: time.sleep(0.2)
variant = Variant("mean", "body", "body", Lazy("mean", model.version, lambda: model))
root = Path(sys.argv[1])
ask_everybody(read_lagenda(root / "lagenda"), [variant], PredictionCache(root / "evaluation.db"), Settings(root=root))
"""


def test_a_killed_process_loses_at_most_a_batch(
    people: People, variant: Make, settings: Settings, tmp_path: Path
) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], cwd=Path(__file__).parents[4])
    kept = wait_for_rows(tmp_path / "evaluation.db", 4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = MeanPredictor()
    result = run(people, [variant(rest)], settings)
    assert 0 < len(rest.asked) <= 20 - kept
    assert not np.isnan(result.answers[0].age).any()


def wait_for_rows(path: Path, wanted: int) -> int:
    """How many predictions are on disk, once there are as many as wanted."""
    for _ in range(900):
        time.sleep(0.1)
        if path.exists():
            db = sqlite3.connect(path)
            try:
                count = int(db.execute("SELECT count(*) FROM prediction").fetchone()[0])
            except sqlite3.OperationalError:  # the tables are about to be made
                count = 0
            finally:
                db.close()
            if count >= wanted:
                return count
    raise AssertionError("the run did not get so far")


def test_what_failed_is_asked_again(people: People, variant: Make, settings: Settings) -> None:
    broken = MeanPredictor()
    broken.fails_on = lambda person: person.startswith("lag_benchmark/0003")
    broken.breaks_on = lambda person: person.startswith("lag_benchmark/0005")
    result = run(people, [variant(broken)], settings)
    assert result.answers[0].dropped == {"failed": 4}
    mended = MeanPredictor()
    again = run(people, [variant(mended)], settings)
    assert (
        sorted(name.split("#")[0] for name in mended.asked)
        == ["lag_benchmark/0003.jpg"] * 2 + ["lag_benchmark/0005.jpg"] * 2
    )
    assert again.answers[0].dropped == {}


def test_an_image_that_cannot_be_read_costs_its_people_only(
    people: People, folder: Path, variant: Make, settings: Settings
) -> None:
    (folder / "lag_benchmark" / "0002.jpg").write_bytes(b"no picture at all")
    (folder / "lag_benchmark" / "0004.jpg").unlink()
    result = run(people, [variant(MeanPredictor())], settings)
    assert result.unreadable == {"not_an_image": 1, "missing_file": 1}
    assert result.answers[0].dropped == {"unreadable": 4}
    assert np.isnan(result.truths.face_height).sum() == 4


def test_variants_of_one_version_are_asked_once(people: People, variant: Make, settings: Settings) -> None:
    mean = MeanPredictor()
    result = run(people, [variant(mean, "body"), variant(mean, "no-face")], settings)
    assert len(mean.asked) == 20
    body, without = result.answers
    assert body.age.tolist() == without.age.tolist()
    assert (body.sees, without.sees) == ("body", "no-face")


def test_benchmarks_that_share_people_share_predictions(
    people: People, folder: Path, variant: Make, settings: Settings, tmp_path: Path
) -> None:
    run(people, [variant(MeanPredictor())], settings)
    drawn = draw_nano(people, seed=0)
    asked = MeanPredictor()
    run(drawn, [variant(asked)], settings)
    assert asked.asked == []
    moved = tmp_path / "moved"
    folder.rename(moved)
    (moved / "nano.csv").write_text(nano_list(drawn))
    run(read_own(moved / "nano.csv", None), [variant(asked)], settings)
    assert asked.asked == []


def test_every_part_of_a_prediction_survives(tmp_path: Path) -> None:
    cache = PredictionCache(tmp_path / "c.db")
    whole = Prediction(
        "p", "p@1", PredictionStatus.RANGE, 31.5, 4.0, 0.25, 0.9, "a range", {"text": "[female; 30-33]", "list": [1]}
    )
    refused = replace(whole, version="p@2", status=PredictionStatus.REFUSED, age=None, age_sd=None)
    failed = replace(whole, version="p@3", status=PredictionStatus.FAILED)
    cache.keep([(b"view", whole), (b"view", refused), (b"view", failed)])
    assert cache.find(b"view") == {"p@1": whole, "p@2": refused}
    assert cache.find(b"other") == {}
    cache.close()


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    path.write_bytes(b"not a database, but long enough to be looked at" * 30)
    with pytest.raises(StorageError, match=r"c\.db: file is not a database; delete the file"):
        PredictionCache(path)


def test_states_cover_every_status() -> None:
    assert STATES[:-1] == tuple(status.value for status in PredictionStatus)


def test_lagenda_rows_without_truth_are_nobody(people: People, folder: Path) -> None:
    assert (len(people), int(people.known.sum())) == (40, 20)
    assert read_lagenda(folder).images == people.images
    unused: Any = people.rule
    assert unused is None
