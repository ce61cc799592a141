"""Which MiVOLO a state dict belongs to, and whether it fits to the last tensor."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from annotator.errors import ConfigurationError, WeightsInvalid
from annotator.predictors.mivolo.architecture import POOLING, MiVOLOConfig

OUTLOOK_WEIGHTS = 3**4
"""Rows of an Outlooker's attention layer per head: a 3 x 3 window for each cell of a 3 x 3 window."""

HEAD_DIM = 32
"""Width of a Transformer head in every published VOLO; the number of heads leaves no trace in the tensors."""

STEM_STRIDE = 2
COUNTER = "num_batches_tracked"
"""Batch norm counters play no part in inference and are absent from some files."""

State = Mapping[str, Tensor]


def config_of(state: State) -> MiVOLOConfig:
    """The configuration that the names and shapes of ``state`` show.

    Raises:
        WeightsInvalid: a tensor that every MiVOLO has is missing, or the shapes fit no MiVOLO.
    """
    try:
        return _infer(state)
    except KeyError as error:
        raise WeightsInvalid(f"not a MiVOLO state dict: it has no tensor {error.args[0]}") from error
    except (IndexError, ConfigurationError) as error:
        raise WeightsInvalid(f"not a MiVOLO state dict: {error}") from error


def _infer(state: State) -> MiVOLOConfig:
    two_stems = "patch_embed.conv1.0.weight" in state
    stem, proj = ("conv1", "proj1") if two_stems else ("conv", "proj")
    patch = state[f"patch_embed.{proj}.weight"].shape[-1] * STEM_STRIDE
    layers = _layers(state)
    dims = tuple(state[f"network.{stage}.0.norm1.weight"].shape[0] for stage in layers)
    outlook_heads = state["network.0.0.attn.attn.weight"].shape[0] // OUTLOOK_WEIGHTS
    return MiVOLOConfig(
        img_size=state["pos_embed"].shape[1] * POOLING * patch,
        patch_size=patch,
        stem_stride=STEM_STRIDE,
        stem_hidden_dim=state[f"patch_embed.{stem}.0.weight"].shape[0],
        layers=tuple(layers.values()),
        embed_dims=dims,
        num_heads=(outlook_heads, *(dim // HEAD_DIM for dim in dims[1:])),
        mlp_ratio=state["network.0.0.mlp.fc1.weight"].shape[0] / dims[0],
        in_chans=6 if two_stems else 3,
        num_classes=state["head.weight"].shape[0],
    )


def _layers(state: State) -> dict[int, int]:
    """Blocks of each stage by its place in ``network``, in order; place 1 is the downsampling convolution."""
    blocks: dict[int, int] = {}
    for name in state:
        parts = name.split(".")
        if parts[0] == "network" and parts[2].isdigit():
            blocks[int(parts[1])] = max(blocks.get(int(parts[1]), 0), int(parts[2]) + 1)
    return dict(sorted(blocks.items()))


def check_fit(state: State, expected: State) -> None:
    """Compare names and shapes with a model's own; only batch norm counters may be absent.

    Raises:
        WeightsInvalid: names the tensors that are missing, unexpected, of another shape, or not finite.
    """
    problems = {
        "missing": [name for name in expected if name not in state and not name.endswith(COUNTER)],
        "unexpected": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            for name, tensor in state.items()
            if name in expected and tensor.shape != expected[name].shape
        ],
        "not finite": [name for name, tensor in state.items() if not bool(tensor.isfinite().all())],
    }
    found = [f"{len(names)} {what} ({_some(names)})" for what, names in problems.items() if names]
    if found:
        raise WeightsInvalid(f"tensors do not fit the model: {'; '.join(found)}")


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
