"""The layers of a MiVOLO for one sample on a CPU: the same sums in an order that stays in the cache.

Tokens are rows of a matrix ``(tokens, dim)`` throughout. Each function says what it does other than the plain layer;
none approximates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

QUERY_ROWS = 8
"""Rows of the map whose queries are answered at a time: their logits fit the cache, and no page is touched twice."""

KERNEL = 3
"""An Outlooker mixes windows of 3 x 3 cells that lie two cells apart."""


_CAN_PACK = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]


class Linear:
    """A linear layer (or 1 x 1 convolution) with weights that oneDNN has laid out once, not at every call."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rows: int) -> None:
        weight = layer.weight.detach().flatten(1).contiguous()
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.packed = _CAN_PACK
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows) if self.packed else weight

    def __call__(self, x: Tensor) -> Tensor:
        """``(rows, in)`` to ``(rows, out)``, a new tensor."""
        if not self.packed:
            return functional.linear(x, self.weight, self.bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


class Stem:
    """A stem and its projection, batch norms folded into the convolutions, channels last."""

    def __init__(self, conv: nn.Sequential, proj: nn.Conv2d) -> None:
        layers: list[Any] = list(conv)
        pairs = zip(layers[0::3], layers[1::3], strict=True)
        self.convs = [_channels_last(fuse_conv_bn_eval(one, norm)) for one, norm in pairs]
        self.proj = _channels_last(proj)

    def __call__(self, x: Tensor) -> Tensor:
        """``(3, side, side)`` to ``(tokens, dim)``."""
        x = x[None].contiguous(memory_format=torch.channels_last)
        for conv in self.convs:
            x = _convolve(x, conv).relu_()
        return _tokens(_convolve(x, self.proj))


def _channels_last(conv: Any) -> nn.Conv2d:
    """A copy with its weights in the order of the pixels."""
    copy = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    copy.load_state_dict({"weight": conv.weight, "bias": conv.bias})
    copy.requires_grad_(requires_grad=False)
    return copy.to(memory_format=torch.channels_last)


def _convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    out: Tensor = conv(x)
    return out


def _tokens(pixels: Tensor) -> Tensor:
    """``(1, dim, grid, grid)`` to ``(tokens, dim)``."""
    return pixels.permute(0, 2, 3, 1).reshape(-1, pixels.shape[1])


class CrossAttention:
    """Face and body attend to each other, a few rows of queries at a time.

    The plain layer makes a ``tokens x tokens`` matrix five times over, 21 MB each at 384 pixels; here the logits of
    `QUERY_ROWS` rows are made, softened and spent before the next ones.
    """

    def __init__(self, layer: Any) -> None:
        dim, self.grid = layer.dim, layer.grid
        self.scale: float = layer.scale
        tokens = self.grid**2
        self.qkv = [Linear(conv, tokens) for conv in (layer.qkv_f, layer.qkv_p)]
        position = layer.pos_embed
        self.rows = position.height_rel.detach()[position.offsets].transpose(1, 2).contiguous()
        self.columns = position.width_rel.detach()[position.offsets].transpose(1, 2).contiguous()
        self.norm_weight, self.norm_bias = (
            part.detach().permute(1, 2, 0).reshape(tokens, 2 * dim).contiguous()
            for part in (layer.norm.weight, layer.norm.bias)
        )
        self.eps: float = layer.norm.eps
        self.fc1, self.fc2 = Linear(layer.mlp.fc1, tokens), Linear(layer.mlp.fc2, tokens)

    def __call__(self, face: Tensor, body: Tensor) -> Tensor:
        """Both ``(tokens, dim)``, and so is the result."""
        q_face, k_face, v_face = (part.contiguous() for part in self.qkv[0](face).chunk(3, dim=1))
        q_body, k_body, v_body = (part.contiguous() for part in self.qkv[1](body).chunk(3, dim=1))
        both = torch.cat((self._attend(q_face, k_body, v_body), self._attend(q_body, k_face, v_face)), dim=1)
        both = functional.layer_norm(both, both.shape, self.norm_weight, self.norm_bias, self.eps)
        return self.fc2(functional.gelu(self.fc1(both)))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        tokens, dim = q.shape
        grid = self.grid
        cells = q.view(grid, grid, dim)
        rows = torch.matmul(cells, self.rows).view(tokens, grid, 1)
        columns = torch.matmul(cells.transpose(0, 1), self.columns).transpose(0, 1).reshape(tokens, 1, grid)
        out = torch.empty_like(q)
        step = QUERY_ROWS * grid
        space = torch.empty(step, tokens)
        for at in range(0, tokens, step):
            part = slice(at, min(at + step, tokens))
            logits = space[: part.stop - at]
            torch.add(rows[part], columns[part], out=logits.view(-1, grid, grid))
            logits.addmm_(q[part], k.T, alpha=self.scale)
            torch.softmax(logits, dim=1, out=logits)
            torch.mm(logits, v, out=out[part])
        return out


@dataclass(frozen=True, slots=True)
class Feedforward:
    """The second half of every block, added to its input in place."""

    norm: nn.LayerNorm
    fc1: Linear
    fc2: Linear

    @classmethod
    def of(cls, block: Any, rows: int) -> Feedforward:
        """That of a timm block."""
        return cls(block.norm2, Linear(block.mlp.fc1, rows), Linear(block.mlp.fc2, rows))

    def __call__(self, x: Tensor) -> Tensor:
        """``(tokens, dim)``; ``x`` is changed."""
        return x.add_(self.fc2(functional.gelu(self.fc1(self.norm(x)))))


class Outlooker:
    """A timm Outlooker without im2col: windows are a strided view of the padded map, and are added back likewise."""

    def __init__(self, block: Any, grid: int) -> None:
        attention = block.attn
        self.grid, self.heads = grid, attention.num_heads
        self.norm = block.norm1
        self.v, self.proj = Linear(attention.v, grid**2), Linear(attention.proj, grid**2)
        self.weight = attention.attn.weight.detach() * attention.scale
        self.bias = attention.attn.bias.detach()[:, None] * attention.scale
        self.feedforward = Feedforward.of(block, grid**2)

    def __call__(self, x: Tensor) -> Tensor:
        """``(tokens, dim)``; ``x`` stays as it is."""
        normed = self.norm(x)
        mixed = torch.bmm(self._attention(normed), self._windows(self.v(normed)))
        return self.feedforward(self.proj(self._add_back(mixed, x.shape[1])).add_(x))

    def _attention(self, x: Tensor) -> Tensor:
        """``(windows * heads, 9, 9)`` from the mean of each 2 x 2 cells.

        The softmax runs with the windows innermost, where it can be vectorised.
        """
        half, nine = self.grid // 2, KERNEL**2
        quad = x.view(half, 2, half, 2, -1)
        pooled = (quad[:, 0, :, 0] + quad[:, 0, :, 1] + quad[:, 1, :, 0] + quad[:, 1, :, 1]).mul_(0.25)
        logits = torch.addmm(self.bias, self.weight, pooled.view(half * half, -1).T)
        attention = logits.view(self.heads * nine, nine, -1).softmax(dim=1)
        return attention.view(self.heads, nine * nine, -1).permute(2, 0, 1).reshape(-1, nine, nine)

    def _windows(self, v: Tensor) -> Tensor:
        """``(windows * heads, 9, head_dim)``: the 3 x 3 cells around every second cell."""
        grid, half, dim = self.grid, self.grid // 2, v.shape[1]
        padded = v.new_zeros(grid + 2, grid + 2, dim)
        padded[1:-1, 1:-1] = v.view(grid, grid, dim)
        row, head = (grid + 2) * dim, dim // self.heads
        size = (half, half, self.heads, KERNEL, KERNEL, head)
        return padded.as_strided(size, (2 * row, 2 * dim, head, row, dim, 1)).reshape(-1, KERNEL**2, head)

    def _add_back(self, mixed: Tensor, dim: int) -> Tensor:
        """``(tokens, dim)``: every cell gets the sum of what the windows around it say."""
        grid, half = self.grid, self.grid // 2
        parts = mixed.view(half, half, self.heads, KERNEL, KERNEL, -1)
        total = mixed.new_zeros(grid + 2, grid + 2, dim)
        for i in range(KERNEL):
            for j in range(KERNEL):
                cells = total[i : i + grid : 2, j : j + grid : 2]
                cells.view(half, half, self.heads, -1).add_(parts[:, :, :, i, j])
        return total[1:-1, 1:-1].reshape(grid * grid, dim)


class Transformer:
    """A timm Transformer block with packed weights."""

    def __init__(self, block: Any, tokens: int) -> None:
        self.heads: int = block.attn.num_heads
        self.norm = block.norm1
        self.qkv, self.proj = Linear(block.attn.qkv, tokens), Linear(block.attn.proj, tokens)
        self.feedforward = Feedforward.of(block, tokens)

    def __call__(self, x: Tensor) -> Tensor:
        """``(tokens, dim)``; ``x`` stays as it is."""
        tokens, dim = x.shape
        q, k, v = self.qkv(self.norm(x)).view(1, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(tokens, dim)
        return self.feedforward(self.proj(attended).add_(x))
