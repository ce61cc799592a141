"""The patch embedding of a six-channel MiVOLO: a stem for each crop, joined by cross attention."""

from __future__ import annotations

import torch
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn import functional


class FaceBodyPatchEmbed(nn.Module):
    """Face and body pixels to one map: ``(n, 6, side, side)`` to ``(n, embed_dim, grid, grid)``.

    Channels 0..2 are the face, 3..5 the body. Each goes through a convolutional stem of its own; `map` lets the two
    attend to each other and joins them.
    """

    def __init__(self, *, grid: int, stem_stride: int, patch_size: int, hidden_dim: int, embed_dim: int) -> None:
        super().__init__()
        kernel = patch_size // stem_stride
        self.conv1 = _stem(hidden_dim, stem_stride)
        self.conv2 = _stem(hidden_dim, stem_stride)
        self.proj1 = nn.Conv2d(hidden_dim, embed_dim, kernel, stride=kernel)
        self.proj2 = nn.Conv2d(hidden_dim, embed_dim, kernel, stride=kernel)
        self.map = CrossBottleneckAttention(embed_dim, grid)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 6, side, side)`` to ``(n, embed_dim, grid, grid)``."""
        face = self.proj1(self.conv1(x[:, :3]))
        body = self.proj2(self.conv2(x[:, 3:]))
        joined: Tensor = self.map(torch.cat((face, body), dim=1))
        return joined


def _stem(hidden_dim: int, stride: int) -> nn.Sequential:
    """Three convolutions with batch norm; only the first one strides."""
    layers: list[nn.Module] = []
    for chans, kernel, step in ((3, 7, stride), (hidden_dim, 3, 1), (hidden_dim, 3, 1)):
        layers += [
            nn.Conv2d(chans, hidden_dim, kernel, stride=step, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(hidden_dim),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class RelativePosition(nn.Module):
    """The learned vectors of relative rows and columns (Srinivas et al., arXiv 2101.11605).

    ``height_rel[d + grid - 1]`` belongs to a key that lies ``d`` rows below its query, ``width_rel`` to columns alike.
    """

    offsets: Tensor

    def __init__(self, dim: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.height_rel = nn.Parameter(torch.randn(2 * grid - 1, dim) * dim**-0.5)
        self.width_rel = nn.Parameter(torch.randn(2 * grid - 1, dim) * dim**-0.5)
        steps = torch.arange(grid)
        self.register_buffer("offsets", steps[None, :] - steps[:, None] + grid - 1, persistent=False)

    def forward(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of every query for each row and each column of keys.

        ``q`` is ``(n, grid * grid, dim)``; both results are ``(n, grid * grid, grid)``: entry ``[:, y * grid + x, j]``
        is ``q . height_rel[j - y + grid - 1]``, and ``q . width_rel[j - x + grid - 1]``.
        """
        n, tokens, dim = q.shape
        cells = q.reshape(n, self.grid, self.grid, dim)
        rows = torch.einsum("nyxd,yjd->nyxj", cells, self.height_rel[self.offsets])
        columns = torch.einsum("nyxd,xjd->nyxj", cells, self.width_rel[self.offsets])
        return rows.reshape(n, tokens, self.grid), columns.reshape(n, tokens, self.grid)


class CrossBottleneckAttention(nn.Module):
    """Face attends to body and body to face, then both become one map.

    ``(n, 2 * dim, grid, grid)``, the face half first, to ``(n, dim, grid, grid)``. One head; the logits are
    ``q . k / sqrt(dim)`` plus the relative position logits of the unscaled query, shared by both directions.
    """

    def __init__(self, dim: int, grid: int) -> None:
        super().__init__()
        self.dim, self.grid = dim, grid
        self.scale = dim**-0.5
        self.qkv_f = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.qkv_p = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.pos_embed = RelativePosition(dim, grid)
        self.norm = nn.LayerNorm([2 * dim, grid, grid])
        self.mlp = Mlp(2 * dim, hidden_features=4 * dim, out_features=dim, use_conv=True)
        for qkv in (self.qkv_f, self.qkv_p):
            nn.init.trunc_normal_(qkv.weight, std=dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 2 * dim, grid, grid)`` to ``(n, dim, grid, grid)``."""
        face, body = x.chunk(2, dim=1)
        q_face, k_face, v_face = _tokens(self.qkv_f(face))
        q_body, k_body, v_body = _tokens(self.qkv_p(body))
        attend = self.attend_fused if x.is_cuda else self.attend
        out_face = attend(q_face, k_body, v_body)
        out_body = attend(q_body, k_face, v_face)
        both = torch.cat((out_face, out_body), dim=2).transpose(1, 2).reshape(x.shape)
        joined: Tensor = self.mlp(self.norm(both))
        return joined

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of ``(n, tokens, dim)`` queries, keys and values with relative positions."""
        logits = q @ k.transpose(1, 2) * self.scale + self._position(q)
        attended: Tensor = logits.softmax(dim=2) @ v
        return attended

    def attend_fused(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same through PyTorch's fused kernel, which never stores the logits: for a GPU."""
        position = self._position(q)[:, None]
        q, k, v = q[:, None], k[:, None], v[:, None]
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=position, scale=self.scale)[:, 0]

    def _position(self, q: Tensor) -> Tensor:
        """``(n, tokens, tokens)`` relative position logits."""
        rows, columns = self.pos_embed(q)
        position: Tensor = rows[..., :, None] + columns[..., None, :]
        return position.flatten(2)


def _tokens(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(n, 3 * dim, grid, grid)`` to queries, keys and values, each ``(n, grid * grid, dim)``."""
    q, k, v = qkv.flatten(2).transpose(1, 2).chunk(3, dim=2)
    return q, k, v
