"""How an MLLM is fine-tuned, and how much memory that takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Method = Literal["full", "lora", "qlora"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The paper's recipe (arXiv 2403.02302) unless something else is said.

    ``full`` trains the language model and the projector, ``lora`` and ``qlora`` low-rank updates of the language model
    (rank 64, alpha 16, dropout .05, as LLaVA) and the projector, the base in 4 bits for ``qlora``. The vision tower
    stays as it is. ``save_steps`` is how often a checkpoint is written and evaluated; after ``patience`` evaluations
    without a better one training stops. ``validation_people`` of the validation split are asked each time.
    """

    base: str
    method: Method = "full"
    epochs: float = 1.0
    steps: int | None = None
    batch: int = 32
    accumulate: int = 1
    rate: float = 2e-6
    warmup: float = 0.03
    save_steps: int = 450
    patience: int = 4
    validation_people: int = 2000
    rank: int = 64
    alpha: int = 16
    dropout: float = 0.05
    precision: str = "float32"
    checkpointing: bool = False
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device, by what they are for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = {"weights": self.weights, "gradients": self.gradients, "optimizer": self.optimizer}
        said = ", ".join(f"{name} {value / 1e9:.2g}" for name, value in parts.items())
        return f"about {self.total / 1e9:.2g} GB on one device ({said}, activations {self.activations / 1e9:.2g})"


def memory_needed(model: Any, recipe: Recipe, tokens: int, *, quantised: bool) -> Memory:
    """What training takes on one device without sharding: AdamW in float32, gradients as the trained weights.

    Activations: 34 bytes per token, layer and unit of width at 16 bits (Korthikanti et al., arXiv 2205.05198), with
    checkpointing for one layer, and 2 bytes for each of the others.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    size = 4 if recipe.precision == "float32" else 2
    text = model.config.text_config
    one = tokens * recipe.batch * text.hidden_size * (34 * size / 2)
    layers = text.num_hidden_layers
    activations = (
        one + layers * tokens * recipe.batch * text.hidden_size * size if recipe.checkpointing else one * layers
    )
    master = 0 if size == 4 or quantised else 4 * trained
    return Memory(held, trained * size, 8.0 * trained + master, activations)
