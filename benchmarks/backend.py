"""The ML backend under load: cached predictions at 8 in parallel while it works on a batch, and its health meanwhile.

The backend is `annotator serve` in a process of its own, with the demo models; calls are made over new connections, as
Label Studio makes them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from annotator.demo.figures import write_pictures
from annotator.labelstudio.controls import WHOLE_IMAGE, config_text
from annotator.labelstudio.server import free_port
from annotator.pipeline.project import create_project

SEED = 31


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backend", description=__doc__)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--cached", type=int, default=40, help="pictures that are asked for again and again")
    parser.add_argument("--batch", type=int, default=400, help="pictures that are worked on meanwhile")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="annotator-backend-") as place:
        measure(Path(place), given)
    return 0


def measure(folder: Path, given: argparse.Namespace) -> None:
    """Start the backend, fill its cache, keep it busy, and ask."""
    create_project(folder)
    write_pictures(folder / "files" / "in", given.cached + given.batch, SEED)
    names = sorted(path.name for path in (folder / "files" / "in").glob("*.jpg"))
    tasks = [{"id": n, "data": {"image": f"/data/local-files/?d=in/{name}"}} for n, name in enumerate(names)]
    port = free_port()
    environment = os.environ | {"ANNOTATOR_LOCAL_FILES_ROOT": str(folder / "files"), "ANNOTATOR_BACKEND_SECONDS": "600"}
    command = [sys.executable, "-m", "annotator.cli", "--project", str(folder), "serve", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            wait_until_up(port)
            post(port, tasks[: given.cached])
            before = psutil.Process(server.pid).memory_info().rss
            asyncio.run(ask(port, tasks[: given.cached], tasks[given.cached :], given))
            after = psutil.Process(server.pid).memory_info().rss
            print(f"memory {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
        finally:
            server.terminate()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def wait_until_up(port: int) -> None:
    """Wait for the backend's first answer."""
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the backend did not start")


def body(tasks: Sequence[dict[str, Any]]) -> bytes:
    """A request as Label Studio sends it."""
    asked = {"tasks": list(tasks), "project": "1.1", "label_config": config_text(WHOLE_IMAGE), "params": {}}
    return json.dumps(asked).encode()


def post(port: int, tasks: Sequence[dict[str, Any]]) -> None:
    """One request; every task must be answered."""
    answer = httpx.post(f"http://127.0.0.1:{port}/predict", content=body(tasks), timeout=600, trust_env=False)
    if not all(one and one["result"] for one in answer.raise_for_status().json()["results"]):
        sys.exit("a picture was not pre-labelled")


async def ask(port: int, cached: Sequence[dict[str, Any]], batch: Sequence[dict[str, Any]], given: Any) -> None:
    """Cached calls, without and with a batch under way; health once in 50 ms meanwhile."""
    bodies = [body([task]) for task in cached]
    print(f"{'':26}{'calls/s':>8}{'p50 ms':>8}{'p99 ms':>8}{'worst':>8}{'health p50':>12}{'worst':>8}")
    await load(port, "nothing else to do", bodies, given)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("POST", "/predict", body(batch)))
    await asyncio.sleep(1)
    await load(port, f"a batch of {len(batch)} under way", bodies, given)
    still = not reader.at_eof() and not getattr(reader, "_buffer", b"")
    writer.close()
    print("the batch was under way to the end" if still else "the batch ended before the calls: take a larger one")


async def load(port: int, title: str, bodies: Sequence[bytes], given: Any) -> None:
    """Make the calls and print a line."""
    waiting = iter(range(given.calls))
    times: list[float] = []
    health: list[float] = []

    async def caller() -> None:
        for number in waiting:
            times.append(await timed(port, request("POST", "/predict", bodies[number % len(bodies)])))

    async def watcher() -> None:
        while True:
            health.append(await timed(port, request("GET", "/health", b"")))
            await asyncio.sleep(0.05)

    watch = asyncio.create_task(watcher())
    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(given.parallel)))
    rate = given.calls / (time.perf_counter() - start)
    watch.cancel()
    p99 = statistics.quantiles(times, n=100)[98]
    figures = (statistics.median(times), p99, max(times))
    print(
        f"{title:26}{rate:8.0f}" + "".join(f"{1000 * value:8.1f}" for value in figures)
        + f"{1000 * statistics.median(health):12.1f}{1000 * max(health):8.1f}", flush=True,
    )  # fmt: skip


def request(method: str, path: str, content: bytes) -> bytes:
    """One HTTP request on a connection of its own."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def timed(port: int, asked: bytes) -> float:
    """Seconds from connecting to the last byte of the answer."""
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"the backend answered {answer[:200]!r}")
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
