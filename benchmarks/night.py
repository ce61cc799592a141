"""What the queue costs and what a second worker gives, with models that only wait; a worker's memory, with real ones.

Real Redis and PostgreSQL servers of their own. Times of batches come from the ledger, so that a busy machine, which is
slow at everything, does not hide what is asked: the share of the time in which no batch was worked on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from sqlalchemy import func, select

from annotator.demo.figures import draw_image
from annotator.images.convert import to_jpeg
from annotator.store.runs import AttemptRow, AttemptState, BatchRow, BatchState, RunRow, RunState
from annotator.store.session import Store, open_store
from tests.helpers.deployment import children, deployed, kill_all, wait_for
from tests.helpers.pictures import write_pictures

PICTURES = 640
SECONDS = "0.5"
"""What a call of the waiting model takes, for four people: as long as a GPU would be busy."""
MEMORY_BATCHES = (5, 50)


def main() -> None:
    """Print the two tables."""
    wanted = sys.argv[1:] or ["queue", "memory"]
    if "queue" in wanted:
        for workers in (1, 2):
            _queue(workers)
    if "memory" in wanted:
        _memory()


def _queue(workers: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        pictures = write_pictures(Path(name) / "in", PICTURES)[0].parent
        watched = json.dumps([str(pictures)])
        chosen = {"ANNOTATOR_WATCH": watched, "ANNOTATOR_JOBS_BATCH_IMAGES": "64", "FAKE_SECONDS": SECONDS}
        with deployed(Path(name), **chosen) as set_:
            started = [set_.worker(f"w{number}") for number in range(workers)]
            wait_for(lambda: all("ready" in set_.log(f"w{number}") for number in range(workers)), 120)
            set_.run("jobs", "nightly", "--now", "--no-wait")
            with open_store(set_.postgres.url) as store:
                wait_for(lambda: _is_over(store), 900, 0.5)
                busy, wall = _times(store)
            for process in started:
                kill_all(process)
    idle = 1 - busy / (wall * workers)
    print(f"{workers} worker(s): {PICTURES} pictures in {wall:.1f} s, not working {idle:.1%} of it", flush=True)


def _is_over(store: Store) -> bool:
    with store.read() as session:
        return session.scalar(select(RunRow.state)) not in (None, RunState.RUNNING)


def _times(store: Store) -> tuple[float, float]:
    """Seconds spent in batches of pictures, and from the first's begin to the last's end."""
    query = select(AttemptRow).join(BatchRow, BatchRow.id == AttemptRow.batch_id)
    with store.read() as session:
        rows = session.scalars(query.where(BatchRow.step == "prelabel", AttemptRow.state == AttemptState.DONE)).all()
    spans = [(row.created_at, row.finished_at) for row in rows if row.finished_at]
    busy = sum((end - begin).total_seconds() for begin, end in spans)
    return busy, (max(end for _, end in spans) - min(begin for begin, _ in spans)).total_seconds()


def _memory() -> None:
    """The demo's models in one process of a worker, after some batches and after many."""
    with tempfile.TemporaryDirectory() as name:
        pictures = Path(name) / "in"
        pictures.mkdir()
        for number in range(8 * (MEMORY_BATCHES[-1] + 3)):
            pixels, _ = draw_image(77, number)
            (pictures / f"{number:05d}.jpg").write_bytes(to_jpeg(pixels))
        watched = json.dumps([str(pictures)])
        with deployed(Path(name), "annotator.cli", ANNOTATOR_WATCH=watched, ANNOTATOR_JOBS_BATCH_IMAGES="8") as set_:
            worker = set_.worker("w")
            set_.run("jobs", "nightly", "--now", "--no-wait")
            with open_store(set_.postgres.url) as store:
                sizes = [_size_after(store, worker, count) for count in MEMORY_BATCHES]
            kill_all(worker)
    growth = sizes[1] / sizes[0] - 1
    print(f"memory of a worker's process: {sizes[0]:.0f} MB after {MEMORY_BATCHES[0]} batches, "
          f"{sizes[1]:.0f} MB after {MEMORY_BATCHES[1]} ({growth:+.1%})", flush=True)  # fmt: skip


def _size_after(store: Store, worker: subprocess.Popen[str], count: int) -> float:
    done = (BatchRow.step == "prelabel") & (BatchRow.state == BatchState.DONE)

    def reached() -> bool:
        with store.read() as session:
            return (session.scalar(select(func.count()).select_from(BatchRow).where(done)) or 0) >= count

    wait_for(reached, 1500, 0.2)
    return max(process.memory_info().rss for process in children(worker)) / 1e6


if __name__ == "__main__":
    main()
