"""The network against formulas, timm and its own symmetries."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from annotator.errors import ConfigurationError
from annotator.predictors.mivolo.architecture import NAMED_CONFIGS, MiVOLO, MiVOLOConfig, ModelMeta
from annotator.predictors.mivolo.patch_embed import CrossBottleneckAttention


@given(
    st.builds(
        MiVOLOConfig,
        img_size=st.integers(1, 30).map(lambda n: 16 * n),
        stem_stride=st.sampled_from([1, 2, 4]),
        in_chans=st.sampled_from([3, 6]),
        num_classes=st.sampled_from([1, 3]),
        drop_path_rate=st.floats(0, 0.5),
    )
)
def test_json_gives_the_configuration_back(config: MiVOLOConfig) -> None:
    assert MiVOLOConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "values, words",
    [
        ({"img_size": 100}, "img_size must be a multiple of 16"),
        ({"img_size": "384"}, "not supported"),
        ({"in_chans": 4}, "in_chans must be 3 or 6"),
        ({"num_classes": 2}, "num_classes must be 1"),
        ({"patch_size": 7}, "patch_size must be 4, 8 or 16"),
        ({"stem_stride": 3}, "multiple of stem_stride"),
        ({"stem_stride": 0}, "must be positive"),
        ({"layers": [4, 4]}, "one entry for each"),
        ({"num_heads": [6, 12, 12, 13]}, "multiple of its num_heads"),
        ({"embed_dims": [192, 384, 384, 192]}, "same width"),
        ({"depth": 3}, "unknown entries depth"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        MiVOLOConfig.from_json(values)


@pytest.mark.parametrize(
    "config, parameters",
    [
        (NAMED_CONFIGS["mivolo_d1_224"], 27_432_414),
        (NAMED_CONFIGS["mivolo_d1_384"], 28_761_054),
        (replace(NAMED_CONFIGS["mivolo_d1_224"], in_chans=3), 25_864_350),
        (replace(NAMED_CONFIGS["mivolo_d1_224"], in_chans=3, num_classes=1), 25_862_810),
    ],
)
def test_parameter_counts_are_the_published_ones(config: MiVOLOConfig, parameters: int) -> None:
    with torch.device("meta"):
        model = MiVOLO(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_three_channels_are_timms_volo() -> None:
    ours = MiVOLO(replace(NAMED_CONFIGS["mivolo_d1_224"], in_chans=3)).eval()
    theirs = timm.create_model("volo_d1_224", num_classes=3).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


@pytest.mark.parametrize("method", ["attend", "attend_fused"])
def test_attention_is_the_formula(method: str) -> None:
    grid, dim = 3, 4
    layer = CrossBottleneckAttention(dim, grid).double()
    q, k, v = (torch.randn(1, grid * grid, dim, dtype=torch.float64) for _ in range(3))
    got = getattr(layer, method)(q, k, v)[0]
    height, width = layer.pos_embed.height_rel, layer.pos_embed.width_rel
    for one in range(grid * grid):
        logits = []
        for other in range(grid * grid):
            down, right = other // grid - one // grid, other % grid - one % grid
            position = q[0, one] @ height[down + grid - 1] + q[0, one] @ width[right + grid - 1]
            logits.append(q[0, one] @ k[0, other] / dim**0.5 + position)
        torch.testing.assert_close(got[one], torch.stack(logits).softmax(0) @ v[0])


def test_exchanging_face_and_body_everywhere_changes_nothing(make_model: Callable[..., MiVOLO]) -> None:
    model, other = make_model(), make_model()
    dim = model.config.embed_dims[0]
    state = model.state_dict()
    pairs = {"conv1": "conv2", "proj1": "proj2", "qkv_f": "qkv_p"}
    pairs |= {b: a for a, b in pairs.items()}
    swapped = {".".join(pairs.get(part, part) for part in name.split(".")): tensor for name, tensor in state.items()}
    for name in ("norm.weight", "norm.bias"):
        swapped[f"patch_embed.map.{name}"] = state[f"patch_embed.map.{name}"].roll(dim, 0)
    swapped["patch_embed.map.mlp.fc1.weight"] = state["patch_embed.map.mlp.fc1.weight"].roll(dim, 1)
    other.load_state_dict(swapped)
    x = torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(other(x.roll(3, 1)), model(x))
        assert not torch.allclose(model(x.roll(3, 1)), model(x), atol=1e-3)


def test_an_age_only_head_is_the_third_row_of_the_full_head(
    make_model: Callable[..., MiVOLO], small: MiVOLOConfig
) -> None:
    full, age = make_model(), make_model(replace(small, num_classes=1))
    heads = ("head.weight", "head.bias", "aux_head.weight", "aux_head.bias")
    age.load_state_dict({n: t[2:] if n in heads else t for n, t in full.state_dict().items()})
    x = torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(age(x), full(x)[:, 2:])


@pytest.mark.parametrize("in_chans", [3, 6])
def test_every_parameter_learns(small: MiVOLOConfig, in_chans: int) -> None:
    torch.manual_seed(0)
    rates = dict.fromkeys(("drop_rate", "pos_drop_rate", "attn_drop_rate", "drop_path_rate"), 0.1)
    model = MiVOLO(replace(small, in_chans=in_chans, **rates)).train()
    model(torch.randn(4, in_chans, 64, 64)).square().sum().backward()
    assert [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()] == []


def test_years_and_back(small: MiVOLOConfig) -> None:
    meta = ModelMeta.of(small, 1, 95)
    assert meta.avg_age == 48.0
    assert meta.years(-0.5) == 1.0
    assert meta.normalised(meta.years(0.3)) == pytest.approx(0.3)
