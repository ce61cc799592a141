"""Golden weights of full size, written once a session, and small models whose every size is odd."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch

from annotator.predictors.mivolo.architecture import MiVOLO, MiVOLOConfig, ModelMeta

DATA = Path(__file__).parents[3] / "data" / "mivolo"

SMALL = MiVOLOConfig(
    img_size=64,
    stem_hidden_dim=8,
    layers=(2, 1, 1),
    embed_dims=(24, 40, 40),
    num_heads=(3, 5, 5),
    mlp_ratio=2.5,
)
"""Far below the published sizes, with a number of heads that the tensors do not show."""


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA


@pytest.fixture(scope="session")
def small() -> MiVOLOConfig:
    return SMALL


@pytest.fixture(scope="session")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mivolo_recipe", DATA / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden_weights(recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a golden model's reference checkpoint."""
    folder = tmp_path_factory.mktemp("weights")

    @cache
    def write(name: str) -> Path:
        path = folder / f"{name}.pth.tar"
        recipe.write_checkpoint(name, path)
        return path

    return write


@pytest.fixture
def make_model() -> Callable[..., MiVOLO]:
    """A random model of a configuration: every tensor noisy, batch norm statistics included."""

    def make(config: MiVOLOConfig = SMALL, seed: int = 0) -> MiVOLO:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            model = MiVOLO(config).eval()
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point():
                    noise = torch.randn(tensor.shape)
                    tensor.copy_(1 + 0.3 * noise.abs() if "running_var" in name else tensor + 0.1 * noise)
        model.meta = ModelMeta.of(config, 0, 122)
        return model

    return make
