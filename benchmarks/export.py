"""One million labels out of memory and into a dataset: seconds, and how much memory grows with the number of people."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from annotator.domain import Box, Gender, Label, LabelSource, Person
from annotator.export.dataset import Options, write_dataset
from annotator.export.manifest import Recipe
from annotator.export.rows import ExportImage, ExportRow

PEOPLE = 1_000_000
CASES = {
    "lagenda": Options("lagenda", "none"),
    "lagenda, three splits": Options("lagenda", "none", {"train": 0.8, "val": 0.1, "test": 0.1}),
    "llava, three splits": Options("llava", "none", {"train": 0.8, "val": 0.1, "test": 0.1}),
    "parquet, three splits": Options("parquet", "none", {"train": 0.8, "val": 0.1, "test": 0.1}),
}


def rows(people: int) -> Iterator[ExportRow]:
    """People on images of one to four, two votes and two predictions each, as the corridor gives them."""
    for number in range(people):
        picture = number // 2
        sha256 = hashlib.sha256(b"%d" % picture).hexdigest()
        image = ExportImage(sha256, f"{sha256[:2]}/{picture}.jpg", f"/data/{picture}.jpg", "JPEG", 1200, 900)
        person_id = Person.make_id(sha256, number % 2)
        age = (number * 7919 % 9000) / 100
        gender = Gender.FEMALE if number % 3 else Gender.MALE
        label = Label(person_id, age, 1.5, gender, 0.97, LabelSource.SETTLED, 2, "precision+auto")
        story = {
            "votes": [
                {"annotator": f"a{k}", "age": round(age) + k, "gender": gender.value, "weight": 1.0} for k in (0, 1)
            ],
            "predictions": [{"version": f"m{k}@0123456789ab", "age": age + k, "age_sd": None} for k in (0, 1)],
            "interval": (max(0.0, age - 2.5), age + 2.5),
        }
        body = Box(10 + number % 2 * 600, 20, 500 + number % 2 * 600, 880)
        yield ExportRow(image, person_id, body, Box(body.x0 + 200, 40, body.x0 + 300, 180), label, story)


def measure(case: str, people: int) -> None:
    """One export in this process; prints seconds and the peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_dataset(Path(folder) / "out", rows(people), CASES[case], recipe=Recipe({}, "precision", {}))
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{case:24} {people:>9,} labels  {seconds:6.1f} s  peak {peak:6.0f} MB", flush=True)


def main() -> None:
    """Every case with a tenth and with all people, each in a process of its own."""
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
        return
    for case in CASES:
        for people in (PEOPLE // 10, PEOPLE):
            subprocess.run([sys.executable, "-m", "benchmarks.export", case, str(people)], check=True)


if __name__ == "__main__":
    main()
