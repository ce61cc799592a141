"""One million simulated votes: time and memory of each method, and crowd-kit's Dawid-Skene on the same gender votes.

    python -m benchmarks.voting [--votes 1000000]

Every line is a process of its own, so that its peak memory is its own. One thread; CPU seconds stand beside wall
seconds because a busy machine stretches the latter only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

VOTES_PER_PERSON = 5
VOTES_PER_ANNOTATOR = 500
CONTROL_SHARE = 0.05
CASES = ("mean", "lagenda", "precision", "gtm", "dawid-skene", "crowd-kit")


def simulate(folder: Path, votes: int, seed: int = 0) -> None:
    """Write votes.csv, control.csv and truth.npz: noise and bias by annotator, 15 % of them spammers."""
    from annotator.tables import write_tables

    random = np.random.default_rng(seed)
    people, annotators = votes // VOTES_PER_PERSON, max(votes // VOTES_PER_ANNOTATOR, 10)
    age, gender = np.clip(random.gamma(4, 9, people), 0, 90), random.integers(0, 2, people)
    spams = random.random(annotators) < 0.15
    sd, bias = random.uniform(3, 7, annotators), random.normal(0, 1.5, annotators)
    person = np.repeat(np.arange(people), VOTES_PER_PERSON)
    # distinct annotators for each person: a random first one, and every so many after it
    step = annotators // VOTES_PER_PERSON
    annotator = np.tile(np.arange(VOTES_PER_PERSON) * step, people)
    annotator = (annotator + np.repeat(random.integers(0, annotators, people), VOTES_PER_PERSON)) % annotators
    noise = random.normal(size=len(person)) * sd[annotator] * (0.6 + age[person] / 90)
    said = np.clip(np.round(age[person] + bias[annotator] + noise), 0, 100)
    said = np.where(spams[annotator], random.integers(0, 91, len(person)), said).astype(np.int64)
    right = random.random(len(person)) < np.where(spams, 0.5, random.uniform(0.9, 0.99, annotators))[annotator]
    says = np.where(right, gender[person], 1 - gender[person])
    names = np.array([f"p{index:07d}" for index in range(people)], dtype=object)
    who = np.array([f"annotator{index:05d}" for index in range(annotators)], dtype=object)
    words = np.array(["male", "female"], dtype=object)
    order = random.permutation(len(person))
    columns = {"person_id": names[person], "annotator_id": who[annotator], "age": said, "gender": words[says]}
    known = random.choice(people, int(people * CONTROL_SHARE), replace=False)
    write_tables(
        {
            folder / "votes.csv": {name: column[order] for name, column in columns.items()},
            folder / "control.csv": {"person_id": names[known], "age": age[known], "gender": words[gender[known]]},
        }
    )
    unknown = np.ones(people, np.bool_)
    unknown[known] = False
    np.savez(folder / "truth.npz", age=age, gender=gender, unknown=unknown)


def measure(folder: Path, case: str) -> dict[str, Any]:
    """Read, aggregate and write one case in this process."""
    from annotator.voting import aggregate
    from annotator.voting.files import read_truth, read_votes, write_consensus

    truth = np.load(folder / "truth.npz")
    start = time.perf_counter()
    votes, controls = read_votes(folder / "votes.csv"), read_truth(folder / "control.csv")
    read = time.perf_counter() - start
    if case == "crowd-kit":
        return crowd_kit(votes, truth) | {"read": read}
    age, gender = ("mean", case) if case == "dawid-skene" else (case, "majority")
    start, busy = time.perf_counter(), time.process_time()
    consensus = aggregate(votes, controls, age_method=age, gender_method=gender)
    aggregated, cpu = time.perf_counter() - start, time.process_time() - busy
    start = time.perf_counter()
    write_consensus(folder / f"{case}.csv", consensus)
    unknown = truth["unknown"]
    return {
        "read": read,
        "aggregate": aggregated,
        "cpu": cpu,
        "write": time.perf_counter() - start,
        "mae": float(np.abs(consensus.age - truth["age"])[unknown].mean()),
        "gender": float((consensus.gender == truth["gender"])[unknown].mean()),
        "peak": peak_bytes(),
    }


def crowd_kit(votes: Any, truth: Any) -> dict[str, Any]:
    """crowd-kit's DawidSkene with its default settings, without controls (it takes none that help)."""
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    frame = pd.DataFrame({"task": votes.person, "worker": votes.annotator, "label": votes.gender})
    start, busy = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas deprecates
        labels = DawidSkene().fit_predict(frame).sort_index().to_numpy()
    aggregated, cpu = time.perf_counter() - start, time.process_time() - busy
    unknown = truth["unknown"]
    right = float((labels == truth["gender"])[unknown].mean())
    return {"aggregate": aggregated, "cpu": cpu, "write": None, "mae": None, "gender": right, "peak": peak_bytes()}


def peak_bytes() -> int:
    """Peak resident memory of this process; Linux counts in kibibytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.folder, options.case)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, options.votes)
        size = (folder / "votes.csv").stat().st_size / 1e6
        people, annotators = options.votes // VOTES_PER_PERSON, max(options.votes // VOTES_PER_ANNOTATOR, 10)
        print(
            f"voting, simulated: {options.votes:,} votes, {people:,} people, {annotators:,} annotators, {size:.0f} MB"
        )
        print("method        aggregate s    cpu s   read s  write s  peak MB    MAE  gender %")
        for case in CASES:
            print(line(case, run(folder, case)), flush=True)


def run(folder: Path, case: str) -> dict[str, Any]:
    """Measure one case in a fresh process with one thread."""
    command = [sys.executable, "-m", "benchmarks.voting", "--case", case, "--folder", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def line(case: str, result: dict[str, Any]) -> str:
    """One line of the table."""
    write = f"{result['write']:.2f}" if result["write"] is not None else "-"
    mae = f"{result['mae']:.2f}" if result["mae"] is not None else "-"
    return (
        f"{case:<12} {result['aggregate']:>12.2f} {result['cpu']:>8.2f} {result['read']:>8.2f} {write:>8} "
        f"{result['peak'] / 1e6:>8.0f} {mae:>6} {100 * result['gender']:>9.2f}"
    )


if __name__ == "__main__":
    main()
