"""MiVOLO's speed: the plain eager module against our quick pass of the same weights; on a GPU against timm's trunk.

    python -m benchmarks.mivolo [--model mivolo_d1_384] [--batch 8] [--rounds 3] [--device cpu|cuda] [--threads N]

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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
from torch import Tensor

from annotator.predictors.mivolo.architecture import NAMED_CONFIGS, MiVOLO

Pass = Callable[[Tensor], Tensor]


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


def gpu_ways(name: str, batch: int, device: str) -> list[Way]:
    """The trunk of the same size as timm has it, eager and compiled, and MiVOLO likewise, in half precision."""
    ways = []
    model = noisy(name)
    side = model.config.img_size
    trunk = timm.create_model(f"volo_d1_{side}", num_classes=3).eval()
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.randn(batch, 6, side, side, device=device, dtype=dtype)
        for title, network, inputs in ((f"timm volo_d1_{side}", trunk, x[:, :3].contiguous()), ("MiVOLO", model, x)):
            placed = copy_to(network, device, dtype)
            ways.append(Way(f"{title} {dtype} eager", placed, inputs))
            ways.append(Way(f"{title} {dtype} compiled", torch.compile(placed), inputs))
    return ways


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
    parser.add_argument("--batch", type=int, help="images in a pass; 8 on a CPU, 64 on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="cores to use, all unless given")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    on_cpu = options.device == "cpu"
    batch = options.batch or (8 if on_cpu else 64)
    print(f"{options.model}, {'float32' if on_cpu else 'half precision'}, random weights")
    print(machine(options.device))
    ways = cpu_ways(options.model, batch) if on_cpu else gpu_ways(options.model, batch, options.device)
    measure(ways, options.rounds)
    report(ways, compare=on_cpu)


if __name__ == "__main__":
    main()
