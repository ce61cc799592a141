"""`annotator report` on a database of SIMULATED people: time, memory and the size of the page.

    python -m benchmarks.report [--people 200000] [--keep FOLDER]

The database is filled by the project's own steps, models aside: people and what two predictors said of them come
from benchmarks/simulate.py, then calibration, pre-labelling of known predictions, triage, simulated votes on the
review, and settlement run as they do for a user. Every step's time is printed; the report runs in a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from annotator.demo.figures import write_pictures
from annotator.detection.given import GIVEN_VERSION
from annotator.domain import Box, Evidence, Gender, ImageRecord, Person, Vote
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.project import create_project
from annotator.pipeline.refit import refit
from annotator.pipeline.settlement import settle_and_refit
from annotator.pipeline.version import remember_predictors
from annotator.pipeline.votes import record_votes
from annotator.predictors.lazy import Lazy
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store, open_store
from annotator.store.tables import ImageRow, PersonRow, PersonSource, PredictionRow, PreLabelRow
from annotator.store.upsert import insert_new
from benchmarks.simulate import NAMES, Population, simulate

CONTROLS = 2000
"""People whose truth is given."""
ANNOTATORS, SPAMMERS, VOTES = 60, 5, 3
CHUNK = 5000


def fill(store: Store, folder: Path, population: Population) -> list[str]:
    """Images, people and predictions; the ids of the people, in the population's order."""
    pictures = sorted(write_pictures(folder / "pictures", 20, 0).parent.glob("*.jpg"))
    shas = {group: hashlib.sha256(group.encode()).hexdigest() for group in {one.group for one in population.people}}
    with store.write() as session:
        for part in _parts(list(shas.items())):
            rows = [_image(sha, str(pictures[int(sha[:6], 16) % len(pictures)])) for _, sha in part]
            insert_new(session, ImageRow, rows, keys=("sha256",))
    with store.read() as session:
        keys = dict(session.execute(select(ImageRow.sha256, ImageRow.id)).all())
    places: dict[str, int] = {}
    names = []
    with store.write() as session:
        for start in range(0, len(population.people), CHUNK):
            rows = []
            for number, one in enumerate(population.people[start : start + CHUNK], start):
                index = places[one.group] = places.get(one.group, -1) + 1
                rows.append(_person(population, number, index, keys[shas[one.group]], shas[one.group]))
            insert_new(session, PersonRow, rows, keys=("image_key", "index"))
            names += [row["person_id"] for row in rows]
    with store.read() as session:
        people = dict(session.execute(select(PersonRow.person_id, PersonRow.id)).all())
    with store.write() as session:
        for part in _parts(list(zip(names, population.people, strict=True))):
            values = [row for name, one in part for row in _predictions(people[name], one)]
            insert_new(session, PredictionRow, values, keys=("person_key", "predictor", "version"))
    return names


def _image(sha: str, uri: str) -> dict[str, Any]:
    record = ImageRecord(sha, uri, f"{sha[:12]}.jpg", "JPEG", 640, 480, 1)
    return {**records.image_values(record), "detector": GIVEN_VERSION}


def _person(population: Population, number: int, index: int, image: int, sha: str) -> dict[str, Any]:
    one, age = population.people[number], float(population.age[number])
    height = min(440.0, one.body_height or 100.0)
    face = Box(60, 20, 60 + 0.8 * one.face_height, 20 + one.face_height) if one.face_height else None
    person = Person(Person.make_id(sha, index), sha, index, Box(40, 10, 40 + height / 2, 10 + height), face)
    known = number < CONTROLS
    gender = Gender.FEMALE if population.female[number] else Gender.MALE
    truth = {"truth_age": age if known else None, "truth_gender": gender if known else None}
    measured = {"overlap": min(1.0, one.overlap), "sharpness": one.sharpness}
    return {**records.person_values(image, person, PersonSource.GIVEN), **truth, **measured}


def _predictions(key: int, one: Evidence) -> Iterator[dict[str, Any]]:
    row = PersonRow(id=key, revision=1)
    return (records.prediction_values(row, prediction) for prediction in one.predictions)


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


def vote(store: Store, population: Population, names: Sequence[str], seed: int) -> int:
    """Three votes on everybody in review and on the controls, some by spammers; how many."""
    rng = np.random.default_rng(seed)
    with store.read() as session:
        query = select(PersonRow.person_id).join(PreLabelRow, PreLabelRow.person_key == PersonRow.id)
        asked = set(session.scalars(query.where(PreLabelRow.review)))
    votes = []
    for number, name in enumerate(names):
        if name in asked or number < CONTROLS:
            for who in rng.choice(ANNOTATORS, VOTES, replace=False).tolist():
                votes.append(_vote(rng, name, who, float(population.age[number]), bool(population.female[number])))
    return record_votes(store, votes)


def _vote(rng: np.random.Generator, name: str, who: int, age: float, female: bool) -> Vote:
    spams = who < SPAMMERS
    said = float(rng.integers(0, 90)) if spams else float(np.clip(round(age + rng.normal(0, 4)), 0, 100))
    right = rng.random() < (0.5 if spams else 0.97)
    gender = Gender.FEMALE if female == right else Gender.MALE
    return Vote(
        "simulated", f"{name}/{who}", name, f"annotator{who:02d}", said, gender, 2.0 if spams else rng.gamma(4, 2)
    )


def models() -> ModelSet:
    """The simulated predictors by name and version; nothing can be loaded, since nothing has to be."""

    def refuse() -> Any:
        raise RuntimeError("everything should be known already")

    return ModelSet("simulated", None, tuple(Lazy(name, "simulated", refuse) for name in NAMES))


def build(folder: Path, people: int, seed: int = 0) -> Settings:
    """A project with a database of so many people."""
    settings = create_project(folder, "demo").settings
    clock = _Clock()
    population = simulate(people, seed)
    clock.lap("simulate")
    with open_store(settings.resolved_database_url) as store:
        names = fill(store, folder, population)
        clock.lap("fill")
        with store.write() as session:
            remember_predictors(session, models())
        print(f"fit: {refit(store, settings).version}")
        clock.lap("calibrate")
        report = prelabel(store, settings, models())
        clock.lap(f"fuse and triage {report.people:,}")
        count = vote(store, population, names, seed)
        clock.lap(f"write {count:,} votes")
        settle_and_refit(store, settings)
        clock.lap("settle and calibrate")
    return settings


class _Clock:
    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        print(f"{name:<34} {wall - self._wall:>8.1f} s wall {cpu - self._cpu:>8.1f} s CPU", flush=True)
        self._wall, self._cpu = wall, cpu


def measure(folder: Path) -> None:
    """Run the command in a process of its own and print what it took."""
    page = folder / "report.html"
    command = [sys.executable, "-m", "annotator.cli", "--project", str(folder), "report", str(page)]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"annotator report: {wall:.1f} s wall, {used.ru_utime + used.ru_stime:.1f} s CPU, "
        f"{used.ru_maxrss / 1e3:.0f} MB peak, page {page.stat().st_size / 1e6:.2f} MB"
    )


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200_000)
    parser.add_argument("--keep", type=Path, help="keep the project in this new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        print(f"report, SIMULATED: a database of {options.people:,} people")
        build(folder, options.people)
        measure(folder)


if __name__ == "__main__":
    main()
