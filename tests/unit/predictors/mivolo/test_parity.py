"""Outputs and intermediates of the reference implementation, for weights that a recipe makes."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from annotator.predictors.mivolo import load_model
from annotator.predictors.mivolo.architecture import NAMED_CONFIGS, MiVOLO, MiVOLOConfig

MODELS = {"d1_384": NAMED_CONFIGS["mivolo_d1_384"], "d1_224_face": MiVOLOConfig(img_size=224, in_chans=3)}


@pytest.fixture(scope="module", params=MODELS)
def golden(request: pytest.FixtureRequest, golden_weights: Callable[[str], Path]) -> tuple[str, MiVOLO]:
    return request.param, load_model(golden_weights(request.param))


def run(model: MiVOLO, inputs: dict[str, object]) -> dict[str, object]:
    with torch.inference_mode():
        return {case: model(torch.from_numpy(x)).numpy() for case, x in inputs.items()}


def test_recipe_gives_what_the_golden_outputs_were_made_of(recipe: ModuleType) -> None:
    assert recipe.selftest()


def test_variant_is_read_from_the_tensors(golden: tuple[str, MiVOLO], recipe: ModuleType) -> None:
    name, model = golden
    assert model.config == MODELS[name]
    _, channels, side, _, ages = recipe.MODELS[name]
    assert (model.meta.channels, model.meta.input_size) == (channels, side)
    assert (model.meta.min_age, model.meta.max_age, model.meta.avg_age) == tuple(
        ages[key] for key in ("min_age", "max_age", "avg_age")
    )


def test_names_and_shapes_are_the_published_ones(golden: tuple[str, MiVOLO], recipe: ModuleType) -> None:
    name, model = golden
    keys = recipe.load_keys(recipe.MODELS[name][0])
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == {
        key: tuple(shape) for key, shape, _ in keys
    }


def test_outputs_equal_the_reference(golden: tuple[str, MiVOLO], recipe: ModuleType) -> None:
    name, model = golden
    outputs = run(model, recipe.model_inputs(name))
    assert len(outputs) >= 2
    recipe.compare(name, outputs, atol=1e-5)


@pytest.mark.parametrize("name, case", [("d1_384", "full"), ("d1_384", "face_missing"), ("d1_224_face", "full")])
def test_plain_layers_equal_the_reference_one_by_one(
    golden_weights: Callable[[str], Path], recipe: ModuleType, name: str, case: str
) -> None:
    model = load_model(golden_weights(name), accelerated=False)
    prefix = f"mid32/{case}/"
    points = {key.removeprefix(prefix) for key in recipe.golden(name) if key.startswith(prefix)}
    assert len(points) > 10
    seen: dict[str, object] = {}
    for point in points:
        model.get_submodule(point).register_forward_hook(
            lambda _module, _inputs, output, point=point: seen.update({point: output.numpy()})
        )
    outputs = run(model, {case: recipe.model_inputs(name)[case]})
    assert set(seen) == points
    recipe.compare_mid(name, case, seen, rtol=1e-4)
    recipe.compare(name, outputs, atol=1e-5)


def test_bfloat16_is_within_its_rounding(golden_weights: Callable[[str], Path], recipe: ModuleType) -> None:
    """0.022 on processors that multiply in bfloat16 themselves; the smallest mistake of layout costs 0.066."""
    model = load_model(golden_weights("d1_224_face"), accelerated=False).to(torch.bfloat16)
    inputs = torch.from_numpy(recipe.model_inputs("d1_224_face")["full"]).to(torch.bfloat16)
    with torch.inference_mode():
        outputs = model(inputs).float().numpy()
    recipe.compare("d1_224_face", {"full": outputs}, atol=4e-2)
