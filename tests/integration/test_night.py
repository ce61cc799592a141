"""A night on real workers: killed, starved and emptied servers, and the rows of an undisturbed night in the end.

``ANNOTATOR_NIGHT_PICTURES`` is the night's size; ``ANNOTATOR_NIGHT_MODELS=demo`` has it done by the demo's models over
drawn pictures, which takes ten times as long.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest
from sqlalchemy import func, select, text

from annotator.demo import figures
from annotator.jobs.schedule import SINCE
from annotator.store.base import now
from annotator.store.runs import AttemptRow, AttemptState, BatchRow, BatchState, RunRow, RunState
from annotator.store.session import Store, open_store
from annotator.store.tables import (
    FailureRow,
    ImageRow,
    ImageState,
    LabelRow,
    MetaRow,
    PersonRow,
    PredictionRow,
    PreLabelRow,
)
from tests.helpers.deployment import Deployment, children, deployed, kill_all, wait_for
from tests.helpers.pictures import write_broken, write_pictures
from tests.helpers.rows import content

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.xdist_group("night")]

TABLES = (ImageRow, PersonRow, PredictionRow, PreLabelRow, FailureRow, LabelRow)
PICTURES = int(os.environ.get("ANNOTATOR_NIGHT_PICTURES", "2000"))
DEMO = os.environ.get("ANNOTATOR_NIGHT_MODELS") == "demo"
MODULE = "annotator.cli" if DEMO else "tests.helpers.fake_cli"
PATIENCE = 1800 if DEMO else 240
"""Seconds for the pictures between two disasters."""
KILLS = 20
FEW = 320
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    if DEMO:
        figures.write_pictures(folder, PICTURES, seed=71)
    else:
        write_pictures(folder, PICTURES)
    write_broken(folder, 10)
    return folder


@pytest.fixture(scope="module")
def undisturbed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    """The rows of the same night inside one process, on SQLite."""
    folder = tmp_path_factory.mktemp("undisturbed")
    alone = Deployment(folder, MODULE, ANNOTATOR_WATCH=json.dumps([str(pictures)]))
    environment = {"ANNOTATOR_DATABASE_URL": f"sqlite:///{folder}/a.db", "ANNOTATOR_JOBS_BATCH_IMAGES": "32"}
    alone.run("init", str(alone.project), **environment)
    for command in (("ingest", str(pictures)), ("prelabel",), ("settle",)):
        alone.run(*command, seconds=2 * PATIENCE, **environment)
    with open_store(environment["ANNOTATOR_DATABASE_URL"]) as store:
        rows = content(store, *TABLES)
    alone.close()
    return rows


@pytest.fixture
def whole_night(pictures: Path, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, MODULE, **settings_for(pictures)) as made:
        yield made


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    write_pictures(tmp_path / "few", FEW)
    with deployed(tmp_path, **settings_for(tmp_path / "few")) as made:
        yield made


def settings_for(pictures: Path) -> dict[str, str]:
    return {
        "ANNOTATOR_WATCH": json.dumps([str(pictures)]),
        "ANNOTATOR_JOBS_BATCH_IMAGES": "16",
        # real models keep the renewing thread of a busy machine waiting; a whole step that is lost twice has failed
        "ANNOTATOR_JOBS_LEASE_SECONDS": "10" if DEMO else "2",
        "FAKE_SECONDS": "0.03",
    }


def done(store: Store) -> int:
    with store.read() as session:
        query = select(func.count()).select_from(ImageRow).where(ImageRow.state == ImageState.DONE)
        return session.scalar(query) or 0


def states(store: Store) -> list[RunState]:
    with store.read() as session:
        return list(session.scalars(select(RunRow.state).order_by(RunRow.id)))


def attempts(store: Store) -> list[tuple[str, AttemptState]]:
    with store.read() as session:
        return [tuple(row) for row in session.execute(select(AttemptRow.worker, AttemptRow.state))]


def is_over(store: Store) -> bool:
    return all(state != RunState.RUNNING for state in states(store))


def assert_same(rows: dict[str, list[tuple[object, ...]]], wanted: dict[str, list[tuple[object, ...]]]) -> None:
    """Row by row; real models differ in the last digits where a batch was split, and there alone."""
    if not DEMO:
        assert rows == wanted
        return
    (words, numbers), (wanted_words, wanted_numbers) = (
        (NUMBER.sub("#", repr(one)), np.array(NUMBER.findall(repr(one)), np.float64)) for one in (rows, wanted)
    )
    assert words == wanted_words
    np.testing.assert_allclose(numbers, wanted_numbers, rtol=0, atol=1e-4)
    print(f"{np.count_nonzero(numbers != wanted_numbers)} of {len(numbers):,} numbers differ in their last digits")


class Crowd:
    """Two workers that somebody keeps starting again."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.workers = {name: deployment.worker(name) for name in ("one", "two")}

    def kill_one(self, chance: random.Random, store: Store) -> str:
        """Kill, without warning, a process that works on a batch, or its worker's main process, or both."""
        found: list[tuple[str, int]] = []
        wait_for(lambda: bool(found.extend(self.at_work(store)) or found), 120, 0.02)
        name, number = chance.choice(found)
        process = self.workers[name]
        how = chance.choice(["child", "main", "all"])
        if how == "main":
            process.kill()
            process.wait()
        if how == "all":
            kill_all(process)
        if how == "child":
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.revive()
        return how

    def at_work(self, store: Store) -> list[tuple[str, int]]:
        """Workers that have a batch in hand, each with the process that works on it."""
        query = select(AttemptRow.worker).join(BatchRow, BatchRow.id == AttemptRow.batch_id)
        running = (AttemptRow.state == AttemptState.RUNNING) & (BatchRow.attempts == AttemptRow.number)
        with store.read() as session:
            found = [name.rsplit(":", 1) for name in session.scalars(query.where(running))]
        living = [(name.split("@")[0], int(number)) for name, number in found]
        return [(name, number) for name, number in living if psutil.pid_exists(number)]

    def revive(self) -> None:
        for name, process in self.workers.items():
            if process.poll() is not None:
                self.workers[name] = self.deployment.worker(name)


@pytest.mark.timeout(4 * PATIENCE)
def test_a_night_of_disasters_ends_in_the_rows_of_a_quiet_one(
    whole_night: Deployment, undisturbed: dict[str, list[tuple[object, ...]]]
) -> None:
    chance, deployment = random.Random(7), whole_night
    crowd = Crowd(deployment)
    deployment.run("jobs", "nightly", "--now", "--no-wait")
    store = open_store(deployment.postgres.url)
    disasters = sorted((chance.uniform(0.02, 0.93), "kill") for _ in range(KILLS))
    disasters += [(0.25, "restart redis"), (0.5, "restart postgres"), (0.7, "empty redis")]
    killed = 0
    for share, what in sorted(disasters):
        wait_for(lambda share=share: done(store) >= share * PICTURES, PATIENCE)
        assert not is_over(store)
        if what == "kill":
            crowd.kill_one(chance, store)
            killed += 1
        elif what != "restart postgres":
            deployment.redis.kill()
            time.sleep(1)
            deployment.redis.start(empty=what == "empty redis")
        else:
            deployment.postgres.kill()
            time.sleep(1)
            deployment.postgres.start()
            store.close()
        crowd.revive()
    wait_for(lambda: is_over(store), PATIENCE)
    assert killed == KILLS
    assert states(store) == [RunState.DONE]
    assert_same(content(store, *TABLES), undisturbed)
    with store.read() as session:
        lost = session.scalar(select(func.count()).where(AttemptRow.state == AttemptState.LOST))
        open_attempts = session.scalar(select(func.count()).where(AttemptRow.state == AttemptState.RUNNING))
    print(f"{PICTURES} pictures, {killed} kills, {lost} attempts lost")
    assert lost >= KILLS / 4  # many a victim's batch ends before it is missed, or is killed twice
    assert open_attempts == 0
    store.close()


def test_two_beats_and_three_commands_at_once_make_one_run(deployment: Deployment) -> None:
    every_minute = {"ANNOTATOR_JOBS_SCHEDULE": "* * * * *", "ANNOTATOR_JOBS_TIMEZONE": "Asia/Tokyo"}
    store = open_store(deployment.postgres.url)
    since = {"cron": "* * * * *", "zone": "Asia/Tokyo", "since": (now() - timedelta(minutes=9)).isoformat()}
    with store.write() as session:  # both beats were down for nine minutes
        session.add(MetaRow(key=SINCE["nightly"], value=json.dumps(since)))
    crowd = Crowd(deployment)
    beats = [deployment.start("jobs", "schedule", log="beat", **every_minute) for _ in range(2)]
    wait_for(lambda: bool(states(store)), 100)
    # the beats' night is under way, its pictures take longer than the commands need to start
    commands = [deployment.start("jobs", "nightly", "--now", "--no-wait", log="commands") for _ in range(3)]
    for command in commands:
        assert command.wait(60) == 0
    assert states(store) == [RunState.RUNNING]
    assert deployment.log("commands").count("run 1 of 'nightly' is there already") == 3
    for beat in beats:
        kill_all(beat)
    health = deployment.run("jobs", "health", "--schedule", "--worker", "one@test")
    assert health.splitlines() == ["database answers", "broker answers", "worker one@test answers", "schedule ticks"]
    wait_for(lambda: is_over(store), 240)
    assert states(store) == [RunState.DONE]
    workers = {name.split(":")[0] for name, _ in attempts(store)}
    assert workers == {"one@test", "two@test"}
    assert all(state == AttemptState.DONE for _, state in attempts(store))
    assert crowd.workers["one"].poll() is None
    store.close()


def test_a_worker_of_another_version_leaves_in_order_and_takes_nothing(deployment: Deployment) -> None:
    store = open_store(deployment.postgres.url)
    old = deployment.worker("old")
    wait_for(lambda: "ready" in deployment.log("old"), 60)
    with store.write() as session:  # somebody upgrades the database under it
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with store.write() as session:
        values = {"job": "settle", "state": "running", "started_by": "newer", "software": "9", "counts": "{}"}
        names = ", ".join(f":{name}" for name in values)
        session.execute(
            text(f"INSERT INTO run ({', '.join(values)}, scheduled_for, created_at) VALUES ({names}, now(), now())"),
            values,
        )
        session.add(BatchRow(run_id=1, step="settle", number=1, queue="cpu", counts={}))
    assert old.wait(90) == 0
    assert "this worker stops: the database" in deployment.log("old")
    assert "written by a newer version (9999); upgrade annotator" in deployment.log("old")
    with store.read() as session:
        assert session.scalars(select(BatchRow.state)).all() == [BatchState.WAITING]
        assert session.scalar(select(func.count()).select_from(AttemptRow)) == 0
    again = deployment.worker("again")
    assert again.wait(60) == 1
    assert deployment.log("again").strip().splitlines()[-1].startswith("annotator: the database")
    assert "Traceback" not in deployment.log("again")
    store.close()


def test_a_worker_that_is_told_to_stop_finishes_what_it_has(deployment: Deployment) -> None:
    store = open_store(deployment.postgres.url)
    worker = deployment.worker("polite")
    deployment.run("jobs", "nightly", "--now", "--no-wait")
    wait_for(lambda: done(store) >= 32, 120)
    worker.terminate()
    assert worker.wait(60) == 0
    assert not children(worker)
    assert {state for _, state in attempts(store)} == {AttemptState.DONE}
    with store.read() as session:
        assert session.scalar(select(func.count()).where(BatchRow.state == BatchState.RUNNING)) == 0
    assert not is_over(store)
    store.close()
