"""MiVOLO: a VOLO trunk that reads a face and a body crop of the same person and gives age and gender.

Source: Kuprashevich and Tolstykh, "MiVOLO: Multi-input Transformer for Age and Gender Estimation", arXiv 2307.04616.
The trunk is timm's VOLO; ours are the two-stem patch embedding and its cross attention (`patch_embed.py`). Names of
parameters equal those of the published weights, so a state dict loads strictly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from timm.models.volo import VOLO, PatchEmbed
from torch import Tensor

from annotator.errors import ConfigurationError
from annotator.predictors.mivolo.cpu_engine import MIN_GRID, CpuEngine
from annotator.predictors.mivolo.patch_embed import FaceBodyPatchEmbed

POOLING = 2
"""The trunk halves the patch grid once, after its first stage."""


@dataclass(frozen=True, slots=True)
class MiVOLOConfig:
    """Every size of a MiVOLO; the defaults are those of ``mivolo_d1_384``.

    ``img_size`` is the side of the square input in pixels and a multiple of ``2 * patch_size``. ``in_chans`` is 6
    (face RGB, then body RGB) or 3 (one crop). ``num_classes`` is 3 (male logit, female logit, normalised age) or 1
    (normalised age). ``layers``, ``embed_dims`` and ``num_heads`` have one entry per stage: the first stage holds
    Outlookers on the full patch grid, the others Transformers on the halved grid, all of one width.
    """

    img_size: int = 384
    patch_size: int = 8
    stem_stride: int = 2
    stem_hidden_dim: int = 64
    layers: tuple[int, ...] = (4, 4, 8, 2)
    embed_dims: tuple[int, ...] = (192, 384, 384, 384)
    num_heads: tuple[int, ...] = (6, 12, 12, 12)
    mlp_ratio: float = 3.0
    in_chans: int = 6
    num_classes: int = 3
    drop_rate: float = 0.0
    pos_drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise ConfigurationError(f"MiVOLO configuration: {problem}")

    @property
    def grid(self) -> int:
        """Patches along one side, before the trunk halves them."""
        return self.img_size // self.patch_size

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON types that `from_json` takes back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MiVOLOConfig:
        """The configuration of a dict as `to_json` gives it; absent names keep their defaults.

        Raises:
            ConfigurationError: an unknown name, a value of a wrong type, or sizes that do not fit together.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ConfigurationError(f"MiVOLO configuration: unknown entries {', '.join(unknown)}")
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            return cls(**given)
        except TypeError as error:
            raise ConfigurationError(f"MiVOLO configuration: {error}") from error


def _problem(config: MiVOLOConfig) -> str | None:
    """What is wrong with the sizes, ``None`` when they fit together."""
    stages = len(config.layers)
    sizes = (config.stem_stride, config.stem_hidden_dim, *config.layers, *config.embed_dims, *config.num_heads)
    if min(sizes) < 1 or config.mlp_ratio <= 0:
        return "sizes must be positive"
    if stages < 2 or len(config.embed_dims) != stages or len(config.num_heads) != stages:
        return "layers, embed_dims and num_heads need one entry for each of at least two stages"
    if config.in_chans not in (3, 6):
        return f"in_chans must be 3 or 6, not {config.in_chans}"
    if config.num_classes not in (1, 3):
        return f"num_classes must be 1 (age) or 3 (male, female, age), not {config.num_classes}"
    if config.patch_size not in (4, 8, 16) or config.patch_size % config.stem_stride:
        return f"patch_size must be 4, 8 or 16 and a multiple of stem_stride, not {config.patch_size}"
    if config.img_size <= 0 or config.img_size % (POOLING * config.patch_size):
        return f"img_size must be a multiple of {POOLING * config.patch_size}, not {config.img_size}"
    if any(dim % heads for dim, heads in zip(config.embed_dims, config.num_heads, strict=True)):
        return "each of embed_dims must be a multiple of its num_heads"
    if len(set(config.embed_dims[1:])) != 1:
        return "all stages after the first must have the same width"
    return None


NAMED_CONFIGS: Mapping[str, MiVOLOConfig] = {
    "mivolo_d1_224": replace(MiVOLOConfig(), img_size=224),
    "mivolo_d1_384": MiVOLOConfig(),
}
"""The published variants, by the names that checkpoints use; ``dataclasses.replace`` gives their relatives."""


@dataclass(frozen=True, slots=True)
class ModelMeta:
    """What turns a model's outputs into years, and what its input looks like.

    ``min_age`` and ``max_age`` are those of the training data, ``avg_age`` is their middle; ``input_size`` is the side
    of the square input in pixels, ``channels`` 3 or 6.
    """

    min_age: float
    max_age: float
    avg_age: float
    input_size: int
    channels: int

    @classmethod
    def of(cls, config: MiVOLOConfig, min_age: float, max_age: float, avg_age: float | None = None) -> ModelMeta:
        """The meta of a model of this configuration; ``avg_age`` is the middle unless given."""
        middle = (min_age + max_age) / 2 if avg_age is None else avg_age
        return cls(min_age, max_age, middle, config.img_size, config.in_chans)

    def years(self, raw: float) -> float:
        """Years of a normalised age, not clamped.

        >>> ModelMeta(0, 122, 61.0, 384, 6).years(-0.25)
        30.5
        """
        return raw * (self.max_age - self.min_age) + self.avg_age

    def normalised(self, years: float) -> float:
        """The age output that stands for ``years``: the inverse of `years`, the target in training."""
        return (years - self.avg_age) / (self.max_age - self.min_age)


class MiVOLO(VOLO):
    """The network of a `MiVOLOConfig`.

    ``forward`` takes ``(n, in_chans, img_size, img_size)``, RGB normalised by the ImageNet mean and deviation, and
    gives the raw head outputs ``(n, num_classes)``: the class token's head plus half the largest auxiliary output of
    any patch. ``meta`` is there once `load_model` has read it beside the weights.
    """

    meta: ModelMeta
    _engine: CpuEngine | None = None

    def __init__(self, config: MiVOLOConfig) -> None:
        stages = len(config.layers)
        later = (False,) * (stages - 1)
        super().__init__(
            layers=list(config.layers),
            img_size=config.img_size,
            num_classes=config.num_classes,
            patch_size=config.patch_size,
            stem_hidden_dim=config.stem_hidden_dim,
            embed_dims=list(config.embed_dims),
            num_heads=list(config.num_heads),
            downsamples=(True, *later),
            outlook_attention=(True, *later),
            mlp_ratio=config.mlp_ratio,
            drop_rate=config.drop_rate,
            pos_drop_rate=config.pos_drop_rate,
            attn_drop_rate=config.attn_drop_rate,
            drop_path_rate=config.drop_path_rate,
            pooling_scale=POOLING,
        )
        self.config = config
        self.in_chans = config.in_chans
        self.patch_embed = _patch_embed(config)

    def accelerate(self) -> None:
        """Prepare the quick pass for inference on a CPU: a second copy of the weights, worth it from 224 pixels on.

        Outputs stay the same within rounding. Training, gradients, another device or dtype, changed weights and hooks
        on layers each bring the plain pass back by themselves; after a change of weights call this again.
        """
        if self.config.grid >= MIN_GRID:
            self._engine = CpuEngine(self)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Weights that moved or changed their type need a new preparation."""
        before = [one.data_ptr() for one in self.parameters()]
        result = super()._apply(fn, recurse)
        if before != [one.data_ptr() for one in self.parameters()]:
            self._engine = None
        return result

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_chans, img_size, img_size)`` to the raw head outputs ``(n, num_classes)``."""
        if self._engine is not None and self._engine.serves(self, x):
            return self._engine(self, x)
        out: Tensor = super().forward(x)
        return out


def _patch_embed(config: MiVOLOConfig) -> Any:
    """One stem for three channels (timm's), two stems and their cross attention for six."""
    sizes = {
        "stem_stride": config.stem_stride,
        "patch_size": config.patch_size,
        "hidden_dim": config.stem_hidden_dim,
        "embed_dim": config.embed_dims[0],
    }
    if config.in_chans == 3:
        return PatchEmbed(stem_conv=True, in_chans=3, **sizes)
    return FaceBodyPatchEmbed(grid=config.grid, **sizes)
