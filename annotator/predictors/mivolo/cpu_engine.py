"""A MiVOLO's forward pass on a CPU, one core for each sample, with weights prepared once.

At 384 pixels and batch 8 the plain module spends up to a third of its time on fresh memory pages: each attention matrix
of the patch embedding is 21 MB a sample, and the allocator gives it back after every use. Here a sample is taken in
pieces that stay in the cache. Two cores also do more with a sample each than with half of every operation: nothing
waits for the slower half. A sample's outputs are those of the plain module within rounding, whatever is in its batch.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from threading import Barrier
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from annotator.predictors.mivolo.cpu_layers import CrossAttention, Outlooker, Stem, Transformer

if TYPE_CHECKING:
    from annotator.predictors.mivolo.architecture import MiVOLO

MIN_GRID = 28
"""Smaller maps (below 224 pixels) are quicker in one batch."""

START_SECONDS = 60
"""Longer than any machine takes to start its threads."""


class CpuEngine:
    """The prepared weights of one model, and the pass through them.

    `serves` compares identity, place and version of every parameter with those that were prepared, so stale weights
    are never used. A copy or a pickle of a model goes without its engine.
    """

    def __init__(self, model: MiVOLO) -> None:
        self._stamp = _stamp(model)
        grid = model.config.grid
        embed = model.patch_embed
        stems = ("conv1", "proj1"), ("conv2", "proj2")
        names = stems if model.config.in_chans == 6 else (("conv", "proj"),)
        self._stems = [Stem(getattr(embed, conv), getattr(embed, proj)) for conv, proj in names]
        self._map = CrossAttention(embed.map) if len(names) == 2 else None
        self._outlookers = [Outlooker(block, grid) for block in model.network[0]]
        blocks = (block for stage in model.network[2:] for block in stage)
        self._transformers = [Transformer(block, (grid // 2) ** 2) for block in blocks]

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()

    def serves(self, model: MiVOLO, x: Tensor) -> bool:
        """Whether this engine may stand in for ``model`` on ``x``.

        Only for float32 on a CPU, without gradients, in eval mode, while the weights are those that were prepared, and
        while nobody watches the layers by hooks.
        """
        return (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and not torch.is_grad_enabled()
            and not model.training
            and not torch.is_autocast_enabled("cpu")
            and not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules() if part is not model)
            and self._stamp == _stamp(model)
        )

    def __call__(self, model: MiVOLO, x: Tensor) -> Tensor:
        """``(n, in_chans, side, side)`` to the raw head outputs ``(n, num_classes)``."""
        threads = torch.get_num_threads()
        workers = min(threads, len(x))
        if workers < 2:
            return torch.cat([self._one(model, sample) for sample in x])
        outputs = _pool(os.getpid(), workers, threads).map(partial(self._one, model), x)
        return torch.cat(list(outputs))

    @torch.no_grad()
    def _one(self, model: MiVOLO, x: Tensor) -> Tensor:
        parts = [stem(half) for stem, half in zip(self._stems, x.chunk(len(self._stems)), strict=True)]
        tokens = self._map(*parts) if self._map else parts[0]
        for outlooker in self._outlookers:
            tokens = outlooker(tokens)
        tokens = self._halve(model, tokens)
        for transformer in self._transformers:
            tokens = transformer(tokens)
        out: Tensor = model.forward_head(model.norm(model.forward_cls(tokens[None])))
        return out

    def _halve(self, model: MiVOLO, tokens: Tensor) -> Tensor:
        """The downsampling convolution and the position embedding of the halved grid."""
        grid, conv = model.config.grid, model.network[1].proj
        pixels = tokens.view(1, grid, grid, -1).permute(0, 3, 1, 2)
        halved = functional.conv2d(pixels, conv.weight, conv.bias, stride=conv.stride).permute(0, 2, 3, 1)
        positioned: Tensor = halved + model.pos_embed
        return positioned.flatten(0, 2)


@lru_cache(maxsize=4)
def _pool(process: int, workers: int, threads: int) -> ThreadPoolExecutor:
    """``workers`` threads that share the cores of ``threads`` evenly; a forked process gets its own.

    PyTorch's number of threads belongs to the thread that sets it, but the last one set is the default of threads to
    come: the caller's is set again once the workers have theirs.
    """
    started = Barrier(workers + 1, timeout=START_SECONDS)

    def start() -> None:
        torch.set_num_threads(threads // workers)
        started.wait()

    pool = ThreadPoolExecutor(workers, thread_name_prefix=f"mivolo-{process}", initializer=start)
    for _ in range(workers):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(threads)
    return pool


def _stamp(model: MiVOLO) -> list[tuple[int, int, int]]:
    """Identity, place and version of every parameter and buffer; an inference tensor has no version."""
    tensors = (*model.parameters(), *model.buffers())
    return [(id(one), one.data_ptr(), 0 if one.is_inference() else one._version) for one in tensors]
