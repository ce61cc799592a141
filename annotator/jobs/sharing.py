"""Counting together: the processes of one worker write their metrics to files that its main process reads."""

from __future__ import annotations

import os
import shutil
import tempfile

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""What prometheus_client reads once, when it is imported."""


def share_metrics() -> None:
    """Have this process and its children count together; must happen before prometheus_client is imported."""
    os.environ.setdefault(SHARED, tempfile.mkdtemp(prefix="annotator-metrics-"))


def stop_sharing() -> None:
    """Take the files away."""
    folder = os.environ.pop(SHARED, None)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
