"""Pushing 10,000 pictures to a real Label Studio and pulling 3,000 votes: seconds, and the memory of our process.

Every step runs in a process of its own. Pictures are tiny and the models are stand-ins: what is measured is the way to
Label Studio and back. Votes are written into Label Studio's database, because its API takes 0.1 to 0.3 s for each.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.server import free_port
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.project import create_project
from annotator.pipeline.review.pull import pull
from annotator.pipeline.review.push import push
from annotator.pipeline.review.setup import setup
from annotator.settings import load_settings
from annotator.store.session import open_store
from ml_backend.studio import Plan, Studio
from tests.helpers.models import model_set
from tests.helpers.pictures import write_pictures

VOTERS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, also where there is no Label Studio to measure with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.review", description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--votes", type=int, default=3_000)
    parser.add_argument("--venv", type=Path, default=Path(".venv-studio"), help="where Label Studio is installed")
    parser.add_argument("--step", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.step:
        print(json.dumps(step(given.step[0], Path(given.step[1])), default=str))
        return 0
    if not (given.venv / "bin" / "label-studio").exists():
        print(f"no Label Studio in {given.venv}; `make studio` installs it")
        return 0
    with tempfile.TemporaryDirectory(prefix="annotator-review-") as place:
        measure(Path(place), given.venv.absolute(), given.pictures, given.votes)
    return 0


def measure(folder: Path, venv: Path, pictures: int, votes: int) -> None:
    """One Label Studio, all steps."""
    project = folder / "project"
    with closing(Studio(Plan(folder, venv, free_port()))) as studio:
        studio.start()
        write_pictures(project / "in", pictures)
        create_project(project)
        (project / "annotator.toml").write_text(
            f'label_studio_url = "{studio.server.url}"\nlabel_studio_api_key = "{studio.account.token}"\n'
            f'local_files_root = "{studio.files.resolve()}"\nreview_rate = {votes / VOTERS / (2 * pictures)}\n'
            "audit_rate = 0.0\n"
        )
        client = studio.client()
        print(f"{pictures:,} pictures with {2 * pictures:,} people, {votes:,} votes by {VOTERS} annotators")
        print(f"{'step':34}{'seconds':>9}{'our CPU s':>11}{'MB':>7}")
        run("fill", project)
        made = run("setup", project)
        run("push", project)
        run("push", project, "push again, nothing to do")
        vote(folder / "label-studio" / "label_studio.sqlite3", client, int(made["vote"]), votes)
        counted = run("pull", project)["votes"]["counting"]
        run("pull", project, "pull again, nothing to do")
        print(f"{counted:,} votes count; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def run(name: str, project: Path, title: str = "") -> dict[str, Any]:
    """One step in a process of its own; prints its wall and processor time and its largest resident memory."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.review", "--step", name, str(project)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        out = child.stdout.read()
        _, code, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode:
        sys.exit(f"{name} failed")
    seconds, own = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    print(f"{title or name:34}{seconds:9.1f}{own:11.1f}{usage.ru_maxrss / 1000:7.0f}", flush=True)
    return dict(json.loads(out.splitlines()[-1]))


def step(name: str, project: Path) -> dict[str, Any]:
    """What a child does; what it reports."""
    settings, models = load_settings(project), model_set()
    with open_store(settings.resolved_database_url) as store:
        if name == "fill":
            ingest(store, settings, [str(project / "in")])
            return asdict(prelabel(store, settings, models))
        if name == "setup":
            return asdict(setup(store, settings, models, backend=False))
        if name == "push":
            return asdict(push(store, settings, models))
        return asdict(pull(store, settings))


def vote(database: Path, client: LabelStudio, project: int, votes: int) -> None:
    """``VOTERS`` annotators answer every vote task, straight into Label Studio's database."""
    users = [
        client.call("POST", "/api/users/", json={"email": f"voter{n}@example.com", "username": f"voter{n}"})["id"]
        for n in range(VOTERS)
    ]
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        tasks = [row[0] for row in connection.execute("SELECT id FROM task WHERE project_id = ?", (project,))]
        rows = [(task, user) for task in tasks for user in users][:votes]
        connection.executemany(INSERT, [_answer(project, task, user) for task, user in rows])
        connection.execute(COUNT, (project,))
    if len(rows) != votes:
        sys.exit(f"there are {len(tasks):,} vote tasks, too few for {votes:,} votes")


INSERT = """INSERT INTO task_completion (project_id, task_id, completed_by_id, updated_by_id, unique_id, result,
    created_at, updated_at, lead_time, was_cancelled, result_count, ground_truth)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 6.0, 0, 2, 0)"""
COUNT = """UPDATE task SET total_annotations = (SELECT count(*) FROM task_completion WHERE task_id = task.id)
    WHERE project_id = ?"""


def _answer(project: int, task: int, user: int) -> tuple[Any, ...]:
    age = 20 + task % 50 + user % 3
    result = [
        {"id": "g", "from_name": "gender", "to_name": "crop", "type": "choices", "value": {"choices": ["female"]}},
        {"id": "a", "from_name": "age", "to_name": "crop", "type": "number", "value": {"number": age}},
    ]
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    return (project, task, user, user, uuid.uuid4().hex, json.dumps(result), at, at)


if __name__ == "__main__":
    raise SystemExit(main())
