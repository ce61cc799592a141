"""A project of a million people: what planning a night, looking at it and exporting it take. Rows are made up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import create_engine, text

from annotator.jobs import runs
from annotator.jobs.inline import worker_name
from annotator.jobs.ledger import claim_next
from annotator.jobs.steps import Tools
from annotator.jobs.work import perform
from annotator.pipeline.project import create_project
from annotator.predictors import registry
from annotator.settings import load_settings
from annotator.store.session import open_store

SERVER = os.environ.get("ANNOTATOR_BENCH_POSTGRES_URL", "postgresql+psycopg://root@127.0.0.1:5432/postgres")
DATABASE = "annotator_bench_million"

ROWS = """
INSERT INTO image (id, sha256, uri, name, format, width, height, byte_size, state, detector, version, created_at)
SELECT i, encode(sha256(i::text::bytea), 'hex'), '/nowhere/' || i || '.jpg', lpad(i::text, 8, '0') || '.jpg', 'JPEG',
  1920, 1080, 300000, 'done', 'bench@1', 'annotator-old-000000000000', now() FROM generate_series(1, :images) i;
INSERT INTO person (id, image_key, index, person_id, body_x0, body_y0, body_x1, body_y1, face_x0, face_y0, face_x1,
  face_y1, body_score, face_score, source, revision, active, overlap, sharpness, created_at)
SELECT p, (p + 1) / 2, (p + 1) % 2,
  substr(encode(sha256(((p + 1) / 2)::text::bytea), 'hex'), 1, 16) || '-0' || (p + 1) % 2,
  100 + p % 300, 80, 400 + p % 300, 980, 200, 100, 280, 200, .9, .9, 'detected', 1, true, 0, 90, now()
FROM generate_series(1, :people) p;
INSERT INTO prediction (person_key, predictor, version, revision, status, age, female_probability, details, created_at)
SELECT p, n, n || '@bench', 1, 'ok', 1 + p % 90 + length(n) % 3, (p % 100) / 100.0, '{"inputs": "body+face"}', now()
FROM generate_series(1, :people) p, (VALUES ('mivolo'), ('llava')) AS model(n);
INSERT INTO pre_label (person_key, version, is_current, fit, age, age_sd, age_low, age_high, female_probability,
  expected_error, large_error_probability, fused_reasons, priority, review, reasons, created_at)
SELECT p, 'annotator-old-000000000000', true, 'uncalibrated', 1 + p % 90, 3, p % 90, p % 90 + 6, (p % 100) / 100.0,
  3, .2, '', random(), p % 5 = 0, CASE WHEN p % 5 = 0 THEN 'low_confidence' ELSE '' END, now()
FROM generate_series(1, :people) p;
INSERT INTO vote (source, annotation_id, person_key, annotator_id, age, gender, seconds, counts, created_at)
SELECT 'bench', p || '-' || v, p * 50, 'a' || (p + v) % 12, 1 + p % 90, 'female', 5, true, now()
FROM generate_series(1, :people / 50) p, generate_series(1, 3) v;
"""


def timed(what: str, action: Callable[[], object]) -> None:
    """Print how long something takes."""
    started = time.monotonic()
    action()
    print(f"{what:52} {time.monotonic() - started:8.1f} s", flush=True)


def run(people: int = 1_000_000) -> None:
    """Make the rows, measure, take them away again."""
    admin = create_engine(SERVER, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'))
        connection.execute(text(f'CREATE DATABASE "{DATABASE}"'))
    try:
        _measure(admin.url.set(database=DATABASE).render_as_string(hide_password=False), people)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{DATABASE}" WITH (FORCE)'))
        admin.dispose()


def _measure(url: str, people: int) -> None:
    os.environ["ANNOTATOR_DATABASE_URL"] = url
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        create_project(root)
        settings = load_settings(root)
        with open_store(url) as store:
            timed(f"rows of {people:,} people made", lambda: _fill(url, people))
            tools = Tools(store, settings, registry.open_models)
            timed("annotator status", lambda: _command(root, "status", "--failures", "0"))
            timed("annotator settle (the first, everybody changes)", lambda: _command(root, "settle"))
            timed("annotator settle (the second, nothing does)", lambda: _command(root, "settle"))
            timed(
                "annotator export --format lagenda --images none",
                lambda: _command(root, "export", "out", "--images", "none"),
            )
            timed("planning a night after a model changed", lambda: _plan(tools))
            timed("annotator jobs status", lambda: _command(root, "jobs", "status"))
            timed(
                "annotator jobs status --run 1 --json", lambda: _command(root, "jobs", "status", "--run", "1", "--json")
            )


def _fill(url: str, people: int) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in ROWS.split(";\n"):
            if statement.strip():
                needed = {"images": people // 2, "people": people}
                used = {name: value for name, value in needed.items() if f":{name}" in statement}
                connection.execute(text(statement), used)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def _plan(tools: Tools) -> None:
    run = runs.open_run(tools.store, "prelabel", started_by="bench").run
    held = claim_next(tools.store, run, worker_name(), 30)
    assert held is not None
    assert perform(tools, held) == "done"


def _command(root: Path, *arguments: str) -> None:
    measured = [sys.executable, "-c", MEASURE, "--project", str(root), *arguments]
    done = subprocess.run(measured, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(f"    {done.stdout.strip().splitlines()[-1]}; {done.stderr.strip().splitlines()[-1]}")


MEASURE = """
import resource, sys
from annotator.cli import main
try:
    main()
finally:
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB of memory", file=sys.stderr)
"""


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
