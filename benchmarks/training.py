"""Training of a tiny MiVOLO: samples a second with everything, against the bare step on one prepared batch."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from annotator.demo.figures import draw_image, encode_jpeg
from annotator.demo.looks import SUBTLE
from annotator.domain import Box
from annotator.training.mivolo.recipe import usual
from annotator.training.mivolo.train import Place, _Run
from annotator.training.people import Dataset, KnownPerson

PICTURES, STEPS, ROUNDS = 60, 10, 3


def people(folder: Path) -> list[KnownPerson]:
    """Drawn people, as a dataset has them."""
    found = []
    for number in range(PICTURES):
        pixels, there = draw_image(9, number, SUBTLE)
        path = folder / f"{number}.jpg"
        path.write_bytes(encode_jpeg(pixels))
        for index, person in enumerate(there):
            others = [other for k, other in enumerate(there) if k != index]
            faces: tuple[Box, ...] = tuple(other.face for other in others if other.face)
            bodies = tuple(other.body for other in others)
            female = person.gender == "female"
            found.append(KnownPerson(path, person.body, person.face, faces, bodies, float(person.age), female, 1.0))
    return found


def main() -> None:
    """Alternate both, so that a busy machine hurts them alike; print the medians."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        known = people(folder)
        recipe = replace(usual(2, "tiny"), steps=10_000)
        run = _Run(Dataset("bench", {"train": known, "val": known[:40]}), recipe, Place(folder, "cpu"), "train", "val")
        stream = run._batches()
        step, batches = next(stream)
        run._learn(step, batches)
        whole, bare = [], []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(STEPS):
                step, batches = next(stream)
                run._learn(step, batches)
            whole.append(time.perf_counter() - started)
            started = time.perf_counter()
            for _ in range(STEPS):
                run._learn(step, batches)
            bare.append(time.perf_counter() - started)
        samples = STEPS * recipe.batch
        slow, fast = sorted(whole)[ROUNDS // 2], sorted(bare)[ROUNDS // 2]
        print(f"bare step  {samples / fast:7.1f} samples/s   with crops and augmentation {samples / slow:7.1f}")
        print(f"share of the bare step: {fast / slow:.1%}")


if __name__ == "__main__":
    main()
