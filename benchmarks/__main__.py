"""``python -m benchmarks``: every benchmark, each in a process of its own so that none warms up the next."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "mivolo",
    "mllm",
    "prelabel",
    "voting",
    "label_cost",
    "export",
    "report",
    "night",
    "million",
    "training",
    "finetuning",
    "backend",
    "review",
)


def main() -> None:
    """Run them all; ends with 1 where one failed, after the others have run."""
    chosen = sys.argv[1:] or NAMES
    failed = []
    for name in chosen:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
