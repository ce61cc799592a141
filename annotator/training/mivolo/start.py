"""What a training run starts from: sizes, ImageNet weights, given or random ones, and stage 2 from stage 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from annotator.errors import InputError, UnknownName, WeightsMissing
from annotator.predictors.mivolo.architecture import NAMED_CONFIGS, MiVOLO, MiVOLOConfig, ModelMeta
from annotator.predictors.mivolo.checkpoint import load_model

TINY = MiVOLOConfig(img_size=64, stem_hidden_dim=16, layers=(1, 3), embed_dims=(64, 128), num_heads=(2, 4), in_chans=6)
"""One million parameters: one Outlooker, three Transformers; learns drawn figures on a CPU."""

SIZES = {"mivolo_d1_384": NAMED_CONFIGS["mivolo_d1_384"], "mivolo_d1_224": NAMED_CONFIGS["mivolo_d1_224"], "tiny": TINY}
IMAGENET, RANDOM = "imagenet", "random"

State = dict[str, Tensor]


def sized(name: str, stage: int, drop: float) -> MiVOLOConfig:
    """The configuration of a named size: three channels in stage 1, six in stage 2, with dropout ``drop``.

    Raises:
        UnknownName: there is no such size.
    """
    if name not in SIZES:
        raise UnknownName("size", name, list(SIZES))
    return replace(SIZES[name], in_chans=3 if stage == 1 else 6, drop_rate=drop, drop_path_rate=drop)


def named_size(config: MiVOLOConfig) -> str:
    """The name of a configuration's size.

    Raises:
        InputError: it has none.
    """
    plain = replace(config, in_chans=6, num_classes=3, drop_rate=0.0, drop_path_rate=0.0)
    for name, known in SIZES.items():
        if known == plain:
            return name
    raise InputError(f"only MiVOLOs of these sizes are trained: {', '.join(SIZES)}")


def start(config: MiVOLOConfig, init: str, seed: int) -> MiVOLO:
    """A model to train: from ``imagenet`` (timm's VOLO), ``random``, or weights at a path, whose ``meta`` it keeps.

    Six channels from three-channel weights get both stems from their one stem. A head of other classes is not taken.

    Raises:
        WeightsMissing: ImageNet weights cannot be had, or there is nothing at the path.
        InputError: the weights at the path are of other sizes.
    """
    torch.manual_seed(seed)
    model = MiVOLO(config)
    if config.in_chans == 6:
        look_straight(model)
    if init == RANDOM:
        return model
    state = _imagenet(config) if init == IMAGENET else _given(Path(init), config, model)
    if config.in_chans == 6 and "patch_embed.conv1.0.weight" not in state:
        state = two_stems(state)
    _take(model, state, init)
    return model


def _imagenet(config: MiVOLOConfig) -> State:
    import timm

    plain = replace(config, in_chans=6, drop_rate=0.0, drop_path_rate=0.0)
    if plain not in NAMED_CONFIGS.values():
        raise InputError("ImageNet weights exist for mivolo_d1_224 and mivolo_d1_384; others take --init random")
    try:
        source = timm.create_model(f"volo_d1_{config.img_size}", pretrained=True, num_classes=0)
    except Exception as error:
        raise WeightsMissing(
            f"timm's ImageNet weights volo_d1_{config.img_size} cannot be had ({str(error).splitlines()[0][:120]}); "
            "use --init FILE with weights of your own, or --init random"
        ) from error
    return dict(source.state_dict())


def _given(path: Path, config: MiVOLOConfig, model: MiVOLO) -> State:
    """The weights at ``path``; ``model`` takes over what their age outputs mean, where it takes their head."""
    source = load_model(path, accelerated=False)
    wanted = replace(config, in_chans=source.config.in_chans, num_classes=source.config.num_classes)
    if replace(source.config, drop_rate=0, drop_path_rate=0) != replace(wanted, drop_rate=0, drop_path_rate=0):
        raise InputError(f"{path} holds a MiVOLO of other sizes than --size asks for")
    if source.config.num_classes == config.num_classes:
        model.meta = ModelMeta.of(config, source.meta.min_age, source.meta.max_age, source.meta.avg_age)
    return dict(source.state_dict())


def two_stems(state: State) -> State:
    """A three-channel state dict for six channels: both stems are copies of the one.

    Source: stage 2 of arXiv 2307.04616.
    """
    result: State = {}
    for name, tensor in state.items():
        for one in ("conv", "proj"):
            if name.startswith(f"patch_embed.{one}."):
                rest = name.removeprefix(f"patch_embed.{one}.")
                result |= {f"patch_embed.{one}{number}.{rest}": tensor.clone() for number in (1, 2)}
                break
        else:
            result[name] = tensor
    return result


def _take(model: MiVOLO, state: State, init: str) -> None:
    """Take over every tensor that fits; only heads and the cross attention may stay as they are."""
    own = model.state_dict()
    fitting = {name: tensor for name, tensor in state.items() if name in own and tensor.shape == own[name].shape}
    fresh = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    allowed = ("head.", "aux_head.", "patch_embed.map.")
    wrong = [name for name in fresh if not name.startswith(allowed)]
    if wrong:
        raise InputError(f"the weights of --init {init} lack {len(wrong)} tensors of this size, such as {wrong[0]}")
    model.load_state_dict(fitting, strict=False)


@torch.no_grad()
def look_straight(model: MiVOLO) -> None:
    """Start the cross attention with each place looking at the same place of the other crop.

    There is no residual path around that attention, and with random weights it averages over the whole crop: all
    places look alike and small networks hardly learn from there. One channel is made constant, so that queries reach
    the relative position vectors, which begin as a narrow bell around the own place. Training may change all of it.
    """
    embed = model.patch_embed
    for projection, qkv in ((embed.proj1, embed.map.qkv_f), (embed.proj2, embed.map.qkv_p)):
        projection.weight[0] = 0.0
        projection.bias[0] = 1.0
        qkv.weight[0] = 0.0
        qkv.weight[0, 0] = 4.0
    distance = torch.arange(1 - embed.map.grid, embed.map.grid, dtype=torch.float32)
    for vectors in (embed.map.pos_embed.height_rel, embed.map.pos_embed.width_rel):
        vectors[:, 0] = -0.5 * distance.square()
