"""`make up`: parts that end by themselves come back; what cannot stay up ends the set."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from annotator.errors import ServiceError
from ml_backend.up import Processes

SLEEPER = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"


def wait_for_lines(log: Path, count: int) -> None:
    for _ in range(200):
        if log.exists() and len(log.read_text().splitlines()) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"{log} has no {count} lines")


def test_a_killed_part_is_started_again_without_its_old_children(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Processes(tmp_path, dict(os.environ))) as parts:
        parts.start("worker", sys.executable, "-c", SLEEPER)
        wait_for_lines(tmp_path / "worker.log", 1)
        (first,) = [one for one in psutil.Process().children() if SLEEPER in one.cmdline()]
        (child,) = first.children()
        parts.check()
        os.kill(first.pid, signal.SIGKILL)
        _check_for_a_while(parts, 1.0)
        wait_for_lines(tmp_path / "worker.log", 2)
        (second,) = [one for one in psutil.Process().children() if SLEEPER in one.cmdline()]
        assert second.pid != first.pid
        psutil.wait_procs([child], timeout=5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert not second.is_running()
    assert "worker has ended (killed by SIGKILL) and is started again" in capsys.readouterr().err


def test_what_cannot_stay_up_ends_the_set(tmp_path: Path) -> None:
    with closing(Processes(tmp_path, dict(os.environ))) as parts:
        parts.start("beat", sys.executable, "-c", "raise SystemExit(3)")
        with pytest.raises(ServiceError, match=r"beat has ended 4 times soon after its start; see .*beat\.log"):
            _check_for_a_while(parts, 30.0)


def _check_for_a_while(parts: Processes, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        parts.check()
        time.sleep(0.05)
