"""One million labels out of a file and into a dataset: seconds, and how much memory grows with the number of people."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotator.domain import Person
from annotator.export.dataset import Options, write_dataset
from annotator.export.manifest import Recipe
from annotator.export.rows import CORNERS, PEOPLE

MILLION = 1_000_000
CASES = {
    "lagenda": Options("lagenda", "none"),
    "lagenda, three splits": Options("lagenda", "none", {"train": 0.8, "val": 0.1, "test": 0.1}),
    "llava, three splits": Options("llava", "none", {"train": 0.8, "val": 0.1, "test": 0.1}),
    "parquet, three splits": Options("parquet", "none", {"train": 0.8, "val": 0.1, "test": 0.1}),
}


CHUNK = 10_000


def tables(people: int) -> Iterator[Any]:
    """People on images of two, two votes and two predictions each, as the store gives them."""
    for start in range(0, people, CHUNK):
        yield pa.Table.from_pylist(
            [_person(number) for number in range(start, min(people, start + CHUNK))], schema=PEOPLE
        )


def _person(number: int) -> dict[str, Any]:
    picture, left = number // 2, 10 + number % 2 * 600
    sha256 = hashlib.sha256(b"%d" % picture).hexdigest()
    age, gender = (number * 7919 % 9000) / 100, "female" if number % 3 else "male"
    votes = [{"annotator": f"a{k}", "age": round(age) + k, "gender": gender, "weight": 1.0} for k in (0, 1)]
    predictions = [{"version": f"m{k}@0123456789ab", "age": age + k, "age_sd": None} for k in (0, 1)]
    return {
        "sha256": sha256,
        "name": f"{sha256[:2]}/{picture}.jpg",
        "uri": f"/data/{picture}.jpg",
        "format": "JPEG",
        "width": 1200,
        "height": 900,
        "person_id": Person.make_id(sha256, number % 2),
        **dict(zip(CORNERS, (left + 200, 40, left + 300, 180, left, 20, left + 490, 880), strict=True)),
        "age": age,
        "age_sd": 1.5,
        "age_low": max(0.0, age - 2.5),
        "age_high": age + 2.5,
        "gender": gender,
        "gender_probability": 0.97,
        "source": "settled",
        "method": "precision+auto",
        "vote_count": 2,
        "votes": json.dumps(votes),
        "predictions": json.dumps(predictions),
        "details": "{}",
    }


def measure(case: str, people: int) -> None:
    """One export in this process; prints seconds and the peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "people.parquet"
        with pq.ParquetWriter(source, PEOPLE) as writer:
            for table in tables(people):
                writer.write_table(table)
        started = time.perf_counter()
        found = (pa.Table.from_batches([batch]) for batch in pq.ParquetFile(source).iter_batches(CHUNK))
        write_dataset(Path(folder) / "out", found, CASES[case], recipe=Recipe({}, "precision", {}))
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{case:24} {people:>9,} labels  {seconds:6.1f} s  peak {peak:6.0f} MB", flush=True)


def main() -> None:
    """Every case with a tenth and with all people, each in a process of its own."""
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
        return
    for case in CASES:
        for people in (MILLION // 10, MILLION):
            subprocess.run([sys.executable, "-m", "benchmarks.export", case, str(people)], check=True)


if __name__ == "__main__":
    main()
