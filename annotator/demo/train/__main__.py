"""``python -m annotator.demo.train [detector|mivolo|mllm|all]``: trains demo weights from nothing but a seed."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from annotator.demo import weights_dir
from annotator.demo.train.loop import Run
from annotator.demo.train.samples import Sizes

Train = Callable[[Path, Run, Sizes], None]


def _recipe(name: str) -> tuple[Train, Run]:
    if name == "detector":
        from annotator.demo.train import detector

        return detector.train_detector, detector.RECIPE
    if name == "mivolo":
        from annotator.demo.train import mivolo

        return mivolo.train_mivolo, mivolo.RECIPE
    from annotator.demo.train import mllm

    return mllm.train_mllm, mllm.RECIPE


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train what it names."""
    parser = argparse.ArgumentParser(prog="python -m annotator.demo.train", description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=["detector", "mivolo", "mllm", "all"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=weights_dir("demo-mivolo").parent)
    parser.add_argument("--cache", type=Path, default=None, help="keep drawn samples here between runs")
    parser.add_argument("--steps", type=int, default=None, help="instead of the recipe's")
    parser.add_argument("--pictures", type=int, default=None, help="instead of the recipe's")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for name in ["detector", "mivolo", "mllm"] if options.what == "all" else [options.what]:
        train, run = _recipe(name)
        run = replace(run, seed=options.seed, cache=options.cache)
        run = replace(run, steps=options.steps or run.steps, pictures=options.pictures or run.pictures)
        train(options.out / f"demo-{name}", run, Sizes())


if __name__ == "__main__":
    main()
