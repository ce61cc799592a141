"""MiVOLO's speed: the plain eager module against our quick pass of the same weights; on a GPU against timm's trunk.

    python -m benchmarks.mivolo                                        # CPU: plain eager against ours, batch 8 and 1
    python -m benchmarks.mivolo --device cuda --batch 32 64 128 256    # GPU: each way at its best batch size
    python -m benchmarks.mivolo --trunk --model mivolo_d1_224 --batch 2 --rounds 1   # the GPU's comparison, on a CPU

Weights are random, crops are noise: speed needs no more. Ways alternate within a round and the best round counts, as a
busy machine makes single figures worse and never better. CPU seconds stand beside wall seconds for the same reason; a
plain pass also burns them while one thread waits for another. The allocator keeps its default settings.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
from torch import Tensor

from annotator.predictors.mivolo.architecture import NAMED_CONFIGS, MiVOLO

Pass = Callable[[Tensor], Tensor]
TRUNK, OURS = "timm's volo_d1", "MiVOLO"


@dataclass
class Way:
    """One way to run a batch, and what its rounds took in seconds."""

    name: str
    run: Pass
    x: Tensor
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    output: Tensor | None = None

    def round(self) -> None:
        """Run once and keep the times."""
        busy, start = time.process_time(), time.perf_counter()
        self.output = self.run(self.x)
        if self.x.is_cuda:
            torch.cuda.synchronize()
        self.wall.append(time.perf_counter() - start)
        self.cpu.append(time.process_time() - busy)

    @property
    def rate(self) -> float:
        """Images a second in the best round."""
        return len(self.x) / min(self.wall)


def noisy(name: str, seed: int = 0) -> MiVOLO:
    """A model of full size with random weights."""
    torch.manual_seed(seed)
    return MiVOLO(NAMED_CONFIGS[name]).eval()


def cpu_ways(name: str, batch: int) -> list[Way]:
    """The plain module and the quick pass of the same weights, at ``batch`` and at 1; the first is the measure."""
    plain, quick = noisy(name), noisy(name)
    quick.load_state_dict(plain.state_dict())
    quick.accelerate()
    side = plain.config.img_size
    x = torch.randn(batch, 6, side, side)
    return [
        Way("plain eager", plain, x),
        Way("annotator", quick, x),
        Way("plain eager", plain, x[:1]),
        Way("annotator", quick, x[:1]),
    ]


def trunk_ways(name: str, batches: Sequence[int], device: str) -> list[Way]:
    """The trunk of the same size as timm has it, eager and compiled, and MiVOLO likewise; half precision on a GPU."""
    ways = []
    model = noisy(name)
    side = model.config.img_size
    trunk = timm.create_model(f"volo_d1_{side}", num_classes=3).eval()
    for dtype in (torch.float32,) if device == "cpu" else (torch.float16, torch.bfloat16):
        for title, network in ((TRUNK, trunk), (OURS, model)):
            placed = copy_to(network, device, dtype)
            compiled = torch.compile(placed, dynamic=False)
            for batch in batches:
                x = torch.randn(batch, 3 if network is trunk else 6, side, side, device=device, dtype=dtype)
                number = str(dtype).removeprefix("torch.")
                ways.append(Way(f"{title} {number} eager", placed, x))
                ways.append(Way(f"{title} {number} compiled", compiled, x))
    return ways


def best(ways: list[Way]) -> None:
    """Print how MiVOLO at its best stands to the trunk at its best, and what compiling is worth."""
    ours = max((way for way in ways if way.name.startswith(OURS)), key=lambda way: way.rate)
    trunk = max((way for way in ways if way.name.startswith(TRUNK)), key=lambda way: way.rate)
    print(f"\nbest: {ours.name}, batch {len(ours.x)}, {ours.rate:.1f}/s = {ours.rate / trunk.rate:.2f} of {trunk.name}")
    for title in (TRUNK, OURS):
        kinds = {
            kind: max(way.rate for way in ways if way.name.startswith(title) and way.name.endswith(kind))
            for kind in ("eager", "compiled")
        }
        print(f"{title}: compiled is {kinds['compiled'] / kinds['eager']:.2f} of eager, each at its best batch size")


def copy_to(network: torch.nn.Module, device: str, dtype: torch.dtype) -> torch.nn.Module:
    """A copy on the device, so that each dtype starts from the same weights."""
    return copy.deepcopy(network).to(device, dtype)


@torch.inference_mode()
def measure(ways: list[Way], rounds: int) -> None:
    """Warm each way up once, then alternate."""
    for way in ways:
        way.run(way.x)
    for _ in range(rounds):
        for way in ways:
            way.round()


def difference(way: Way, ways: list[Way]) -> float:
    """Largest absolute difference from the first way's outputs for the same images."""
    first = ways[0].output
    assert first is not None
    assert way.output is not None
    return (way.output.float() - first[: len(way.x)].float()).abs().max().item()


def report(ways: list[Way], *, compare: bool) -> None:
    """Print the table: ratios are against the first way."""
    print(f"{'way':36} {'batch':>5} {'images/s':>9} {'ratio':>6} {'wall ms':>8} {'CPU ms':>8}  max |diff|")
    for way in ways:
        count = len(way.x)
        wall, cpu = 1e3 * min(way.wall) / count, 1e3 * min(way.cpu) / count
        said = f"{difference(way, ways):.1e}" if compare else ""
        ratio = way.rate / ways[0].rate
        print(f"{way.name:36} {count:5} {way.rate:9.2f} {ratio:6.2f} {wall:8.1f} {cpu:8.1f}  {said}")


def machine(device: str) -> str:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    load = f", load {os.getloadavg()[0]:.1f} at the start"
    gpu = f"; {torch.cuda.get_device_name(device)}" if device != "cpu" else ""
    return f"{cpu}, {torch.get_num_threads()} threads{load}{gpu}; torch {torch.__version__}, timm {timm.__version__}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(NAMED_CONFIGS), default="mivolo_d1_384")
    parser.add_argument("--batch", type=int, nargs="+", help="images in a pass; 8 on a CPU, 16 to 256 on a GPU")
    parser.add_argument("--trunk", action="store_true", help="on a CPU, too, compare with timm's trunk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="cores to use, all unless given")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    on_cpu = options.device == "cpu"
    batches = options.batch or ([8] if on_cpu else [16, 32, 64, 128, 256])
    print(f"{options.model}, {'float32' if on_cpu else 'half precision'}, random weights")
    print(machine(options.device))
    if on_cpu and not options.trunk:
        ways = [way for batch in batches for way in cpu_ways(options.model, batch)]
    else:
        ways = trunk_ways(options.model, batches, options.device)
    measure(ways, options.rounds)
    report(ways, compare=on_cpu and not options.trunk)
    if not on_cpu or options.trunk:
        best(ways)
    if not on_cpu:
        print(f"GPU memory at most: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
