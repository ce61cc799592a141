"""A LAGENDA-sized evaluation on synthetic people: time in the models and around them, memory, kill and resume.

    python -m benchmarks.lagenda_run --folder /tmp/lagenda --kill-after 60

67,159 small images with 84,192 people and as many other boxes as the real annotation file has rows, evaluated by the
demo predictors in a process that is killed once, then run to its end.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from annotator.demo.figures import draw_image
from annotator.protocols.annotations import FACE, PERSON

IMAGES, PEOPLE, ROWS = 67_159, 84_192, 347_509
WIDTH, HEIGHT = 130, 190
BASES = 300
SAMPLE_SECONDS = 5.0


def main() -> None:
    """Draw (once), run, kill, run again, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--kill-after", type=float, default=60.0, help="seconds until the first run is killed")
    parser.add_argument("--predictor", action="append", default=None)
    options = parser.parse_args()
    data = options.folder / "benchmarks" / "lagenda"
    if not (data / "lagenda_annotation.csv").exists():
        started = time.perf_counter()
        draw(data, options.images)
        print(f"drawn in {time.perf_counter() - started:.0f} s")
    command = [sys.executable, "-m", "annotator.cli", "evaluate", "--benchmark", "lagenda"]
    command += [part for name in options.predictor or ["demo-mivolo", "demo-mllm"] for part in ("--predictor", name)]
    command += [] if options.images == IMAGES else ["--partial"]
    run(command, options.folder, "first run, killed", kill_after=options.kill_after)
    run(command, options.folder, "second run, to its end")
    run(command, options.folder, "third run, all known")
    print_results(options.folder)


def run(command: list[str], folder: Path, name: str, kill_after: float | None = None) -> None:
    """One run as a process of its own, its memory sampled every few seconds."""
    started = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        memory: list[tuple[float, float]] = []
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            seconds = time.perf_counter() - started
            try:
                memory.append((seconds, watched.memory_info().rss / 1e6))
            except psutil.NoSuchProcess:
                break
            if kill_after is not None and seconds > kill_after:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(SAMPLE_SECONDS)
        code = process.wait()
    print(f"{name}: {time.perf_counter() - started:.0f} s, exit code {code}")
    marks = [memory[int(share * (len(memory) - 1))] for share in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)]
    print("  resident MB by second: " + ", ".join(f"{mb:.0f} at {second:.0f}" for second, mb in marks))
    if kill_after is None:
        print("  " + "\n  ".join((folder / "log.txt").read_text().strip().splitlines()[-12:]))


def print_results(folder: Path) -> None:
    """Counts of the last run's results."""
    data = json.loads((folder / "evaluation" / "lagenda" / "results.json").read_text())
    print(f"people {data['people']:,}, counts {data['counts']}, partial {data['partial']}")


def draw(folder: Path, count: int) -> None:
    """``count`` images of one or two people in the layout and with the proportions of LAGENDA."""
    (folder / "lag_benchmark").mkdir(parents=True, exist_ok=True)
    bases = _bases()
    rng = np.random.default_rng(0)
    pairs = round(count * (PEOPLE - IMAGES) / IMAGES)
    others = (ROWS - PEOPLE) / IMAGES
    with (folder / "lagenda_annotation.part").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("img_name", "age", "gender", *FACE, *PERSON))
        for number in range(count):
            name = f"lag_benchmark/{number:06d}.jpg"
            chosen = rng.integers(len(bases), size=2 if number < pairs else 1)
            pixels = np.hstack([bases[base][0] for base in chosen])
            shade = (
                pixels.astype(np.int16)
                + rng.integers(-40, 41, 3)
                + rng.integers(-8, 9, (8, 1, 3)).repeat(24, 0)[:HEIGHT]
            )
            cv2.imwrite(str(folder / name), shade.clip(1, 255).astype(np.uint8)[..., ::-1])
            for place, base in enumerate(chosen):
                left, (_, age, letter, face) = place * WIDTH, bases[base]
                box = (face[0] + left, face[1], face[2] + left, face[3]) if face else (-1,) * 4
                writer.writerow((name, age, letter, *box, left, 0, left + WIDTH, HEIGHT))
            for _ in range(int(others) + (rng.random() < others % 1)):
                writer.writerow((name, -1, -1, *(-1,) * 4, 0, 0, 12, 12))
    (folder / "lagenda_annotation.part").rename(folder / "lagenda_annotation.csv")


def _bases() -> list[tuple[np.ndarray, int, str, tuple[int, int, int, int] | None]]:
    """People cut out of drawn pictures: pixels, age, letter of the gender, face box."""
    found = []
    index = 0
    while len(found) < BASES:
        pixels, people = draw_image(77, index)
        index += 1
        for person in people:
            x0, y0, x1, y1 = person.body.as_ints()
            if x1 - x0 < 60 or y1 - y0 < 120:
                continue
            sx, sy = WIDTH / (x1 - x0), HEIGHT / (y1 - y0)
            crop = cv2.resize(pixels[y0:y1, x0:x1], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            face = None
            if person.face is not None:
                f = person.face.as_ints()
                face = (
                    round((f[0] - x0) * sx),
                    round((f[1] - y0) * sy),
                    round((f[2] - x0) * sx),
                    round((f[3] - y0) * sy),
                )
            found.append((crop, person.age, person.gender.letter, face))
    return found


if __name__ == "__main__":
    main()
