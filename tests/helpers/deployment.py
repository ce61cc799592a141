"""A deployment on this machine: private Redis and PostgreSQL servers, and real workers, all of which may be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisDown
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from annotator.labelstudio.server import free_port

ROOT = Path(__file__).parents[2]
POSTGRES_PLACES = ("/usr/lib/postgresql/*/bin",)


def program(name: str) -> str:
    """Where a server's program is; the test is skipped without it, or fails with ``CI=true``."""
    found = shutil.which(name)
    for place in POSTGRES_PLACES:
        if found is None or "postgresql" not in str(Path(found).resolve()):
            found = next((str(path) for path in sorted(Path("/").glob(f"{place[1:]}/{name}"))), found)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def wait_for(what: Callable[[], bool], seconds: float = 60.0, pause: float = 0.05) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(pause)


class RedisServer:
    """A Redis that writes down what it is told, so that a restart finds it again unless it is to be ``empty``."""

    def __init__(self, folder: Path) -> None:
        self.port, self._folder = free_port(), folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, empty: bool = False) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        if empty:
            shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [program("redis-server"), *options, "--dir", str(self._folder)], stdout=subprocess.DEVNULL
        )
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            with Redis(port=self.port) as client:
                return bool(client.ping())
        except RedisDown:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class PostgresServer:
    """A PostgreSQL of its own; durable enough to be killed as a process."""

    def __init__(self) -> None:
        # not below pytest's folder, which is closed to the user that the server runs as
        self._folder = Path(tempfile.mkdtemp(prefix="annotator-postgres-"))
        self.port, self._data, self._log = free_port(), self._folder / "data", self._folder / "log"
        self._user = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._as = {"user": self._user} if self._user else {}

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://annotator@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        if self._user:
            shutil.chown(self._folder, self._user)
        subprocess.run(
            [program("initdb"), "-D", str(self._data), "-U", "annotator", "-A", "trust", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **self._as,
        )  # fmt: skip

    def start(self) -> None:
        """Again and again: what was killed holds its shared memory until the last of its processes has seen it."""
        deadline = time.monotonic() + 60
        while not self.answers():
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            if self._process is None or self._process.poll() is not None:
                self._start()
            time.sleep(0.2)

    def _start(self) -> None:
        options = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                   "-c", "fsync=off", "-c", "max_connections=60"]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", str(self._data), *options],
                stdout=log, stderr=log, cwd="/", start_new_session=True, **self._as,
            )  # fmt: skip

    def answers(self) -> bool:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return connection.scalar(text("SELECT 1")) == 1
        except OperationalError:
            return False
        finally:
            engine.dispose()

    def kill(self) -> None:
        """Without any warning, as by the kernel."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Deployment:
    """Servers, one project, and processes of the command line, by default with stand-in models."""

    def __init__(self, folder: Path, module: str = "tests.helpers.fake_cli", **environment: str) -> None:
        self.folder, self._module = folder, module
        self.redis, self.postgres = RedisServer(folder / "redis"), PostgresServer()
        self.project = folder / "project"
        self.processes: list[subprocess.Popen[str]] = []
        self._more = environment

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANNOTATOR_")}
        ours = {
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ANNOTATOR_LOG_FORMAT": "json",
            "ANNOTATOR_DATABASE_URL": self.postgres.url, "ANNOTATOR_BROKER_URL": self.redis.url,
        }  # fmt: skip
        return {**kept, **ours, **self._more}

    def start(self, *arguments: str, log: str = "command", **environment: str) -> subprocess.Popen[str]:
        """A command in a session of its own; what it writes goes to a file of the folder."""
        with (self.folder / f"{log}.log").open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", self._module, "--project", str(self.project), *arguments],
                stdout=file, stderr=file, text=True, start_new_session=True, cwd=ROOT,
                env={**self.environment, **environment},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def worker(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A worker; ready some seconds later."""
        return self.start("jobs", "worker", "--name", f"{name}@test", *arguments, log=name, **environment)

    def run(self, *arguments: str, seconds: float = 300, **environment: str) -> str:
        """A command to its end, within so many seconds; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", self._module, "--project", str(self.project), *arguments],
            capture_output=True, text=True, cwd=ROOT, timeout=seconds, check=False,
            env={**self.environment, **environment},
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8")

    def close(self) -> None:
        for process in self.processes:
            kill_all(process)
        self.redis.kill()
        self.postgres.close()


def kill_all(process: subprocess.Popen[str]) -> None:
    """A process with everything in its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of a worker's pool."""
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


@contextmanager
def deployed(folder: Path, module: str = "tests.helpers.fake_cli", **environment: str) -> Iterator[Deployment]:
    """Both servers running and the project made; everything is killed in the end."""
    deployment = Deployment(folder, module, **environment)
    with ExitStack() as stack:
        stack.callback(deployment.close)
        deployment.redis.start()
        deployment.postgres.create()
        deployment.postgres.start()
        deployment.run("init", str(deployment.project))
        yield deployment
