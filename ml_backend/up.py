"""``make up``: the set of docker/compose.yaml on this machine without containers, for trying.

Redis, Label Studio, the backend, a worker and the beat, each a process of its own; PostgreSQL only where
``ANNOTATOR_DATABASE_URL`` names one, else the project's SQLite file. Everything stops with Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from annotator.errors import AnnotatorError, ServiceError
from annotator.labelstudio.client import wait_until_up
from annotator.labelstudio.server import LOOPBACK, free_port, require_free
from ml_backend.studio import Plan, Studio, draw_pictures, make_project

WAIT_SECONDS = 300.0
SHORT_SECONDS, SHORT_LIVES = 30.0, 4
"""What ends so soon after its start, so often in a row, is not started once more."""


@dataclass(slots=True)
class _Part:
    name: str
    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    started: float
    short_lives: int = 0


class Processes:
    """Programs that run until they are all stopped, the last started first; what each writes is in a file.

    One that ends by itself is started again, as containers are.
    """

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self._logs, self._environment = logs, environment
        self._running: list[_Part] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *command: str) -> None:
        """Start one more, in a session of its own so that Ctrl-C reaches us alone."""
        self._running.append(_Part(name, command, self._spawn(name, command), time.monotonic()))

    def _spawn(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )

    def run(self, *command: str) -> None:
        """Run one to its end.

        Raises:
            ServiceError: it failed; says what it said.
        """
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"{' '.join(command[-3:])}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")

    def check(self) -> None:
        """Start those again that have ended.

        Raises:
            ServiceError: one ends again and again soon after its start; names its log.
        """
        for part in self._running:
            code = part.process.poll()
            if code is None:
                continue
            part.short_lives = part.short_lives + 1 if time.monotonic() - part.started < SHORT_SECONDS else 0
            if part.short_lives == SHORT_LIVES:
                raise ServiceError(
                    f"{part.name} has ended {SHORT_LIVES} times soon after its start; see {self._logs / part.name}.log"
                )
            _kill_group(part.process.pid)  # what it had started itself would go on beside the new one
            why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            typer.echo(
                f"{part.name} has ended ({why}) and is started again; see {self._logs / part.name}.log", err=True
            )
            part.process, part.started = self._spawn(part.name, part.command), time.monotonic()

    def close(self) -> None:
        """Stop them in order: a worker finishes its batch."""
        for part in reversed(self._running):
            if part.process.poll() is None:
                part.process.terminate()
                try:
                    part.process.wait(60)
                except subprocess.TimeoutExpired:
                    typer.echo(f"{part.name} does not end; killing it", err=True)
                    _kill_group(part.process.pid)
                    part.process.wait()


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def run(plan: Plan, pictures: int) -> None:
    """Bring everything up, print where it is, and stay until interrupted.

    Raises:
        ServiceError: a program is not installed, a port is taken, or something does not stay up.
    """
    redis = shutil.which("redis-server")
    if redis is None:
        raise ServiceError("redis-server is not installed; install it (apt install redis-server), or use docker/")
    require_free(plan.backend_port)
    plan.folder.mkdir(parents=True, exist_ok=True)
    make_project(plan.folder)
    with ExitStack() as stack:
        studio = stack.enter_context(closing(Studio(plan)))
        typer.echo(f"starting Label Studio at {studio.server.url} (the first time takes a minute or two)")
        studio.start()
        port = free_port()
        set_ = stack.enter_context(closing(Processes(plan.folder / "logs", _environment(plan, studio, port))))
        set_.start("redis", redis, "--port", str(port), "--bind", LOOPBACK, "--save", "", "--dir", str(plan.folder))
        annotator = (sys.executable, "-m", "annotator.cli", "--project", str(plan.folder))
        set_.start("backend", *annotator, "serve", "--port", str(plan.backend_port))
        set_.start("worker", *annotator, "jobs", "worker")
        set_.start("beat", *annotator, "jobs", "schedule")
        draw_pictures(plan.folder / "incoming", pictures)
        studio.server.wait()
        wait_until_up(f"http://{LOOPBACK}:{plan.backend_port}", seconds=WAIT_SECONDS, alive=lambda: True)
        set_.run(*annotator, "review", "setup")
        set_.run(*annotator, "jobs", "nightly", "--now", "--no-wait")
        typer.echo(_where(plan, studio))
        while studio.server.is_running:
            set_.check()
            time.sleep(1)
    raise ServiceError(f"Label Studio stopped by itself; see {studio.server.log}")


def _environment(plan: Plan, studio: Studio, redis_port: int) -> dict[str, str]:
    return {
        **os.environ,
        "ANNOTATOR_BROKER_URL": f"redis://{LOOPBACK}:{redis_port}/0",
        "ANNOTATOR_LABEL_STUDIO_URL": studio.server.url,
        "ANNOTATOR_LABEL_STUDIO_API_KEY": studio.account.token,
        "ANNOTATOR_LOCAL_FILES_ROOT": str(studio.files.resolve()),
        "ANNOTATOR_BACKEND_URL": f"http://{LOOPBACK}:{plan.backend_port}",
        "ANNOTATOR_WATCH": f'["{(plan.folder / "incoming").resolve()}"]',
        "ANNOTATOR_JOBS_SCHEDULE": os.environ.get("ANNOTATOR_JOBS_SCHEDULE", "30 2 * * *"),
    }


def _where(plan: Plan, studio: Studio) -> str:
    folder = plan.folder.resolve()
    return "\n".join(
        [
            "",
            f"Label Studio  {studio.server.url}",
            f"user          {studio.account.email}",
            f"password      {studio.account.password}",
            f"new images    {folder / 'incoming'}, looked at every night",
            f"ledger        annotator --project {plan.folder} jobs status",
            f"logs          {folder / 'logs'}",
            "Ctrl-C stops everything",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the set until Ctrl-C or SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ml_backend.up", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("up-data"), help="folder for everything (up-data)")
    parser.add_argument("--venv", type=Path, default=Path(".venv-studio"), help="where Label Studio is installed")
    parser.add_argument("--port", type=int, default=8080, help="Label Studio's port (8080)")
    parser.add_argument("--backend-port", type=int, default=9090, help="the backend's port (9090)")
    parser.add_argument("--pictures", type=int, default=24, help="drawn pictures to begin with (24)")
    given = parser.parse_args(arguments)
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        run(Plan(given.data, given.venv, given.port, given.backend_port), given.pictures)
    except KeyboardInterrupt:
        typer.echo("\nstopped everything")
    except AnnotatorError as error:
        typer.echo(f"error: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
