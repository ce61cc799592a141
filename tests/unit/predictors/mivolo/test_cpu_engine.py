"""The quick pass gives the plain module's outputs, and steps aside whenever it may not."""

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from timm.models.volo import VOLO
from torch import Tensor

from annotator.predictors.mivolo import cpu_layers
from annotator.predictors.mivolo.architecture import MiVOLO, MiVOLOConfig
from annotator.predictors.mivolo.cpu_engine import CpuEngine

Make = Callable[..., MiVOLO]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def engaged(make_model: Make, small: MiVOLOConfig) -> MiVOLO:
    """A model just large enough to be accelerated."""
    model = make_model(replace(small, img_size=224))
    model.accelerate()
    return model


def batch(model: MiVOLO, count: int = 3, seed: int = 5) -> Tensor:
    side = model.config.img_size
    return torch.randn(count, model.config.in_chans, side, side, generator=torch.Generator().manual_seed(seed))


def served(model: MiVOLO, x: Tensor) -> bool:
    return model._engine is not None and model._engine.serves(model, x)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"in_chans": 3},
        {"num_classes": 1},
        {"img_size": 80},
        {"patch_size": 4, "img_size": 72},
        {"stem_stride": 4},
        {"layers": (1, 2), "embed_dims": (16, 32), "num_heads": (4, 2)},
    ],
    ids=str,
)
def test_equals_the_plain_module(
    make_model: Make,
    small: MiVOLOConfig,
    monkeypatch: pytest.MonkeyPatch,
    two_threads: None,
    changes: dict[str, object],
    packed: bool,
) -> None:
    monkeypatch.setattr(cpu_layers, "_CAN_PACK", packed and cpu_layers._CAN_PACK)
    model = make_model(replace(small, **changes))
    engine, x = CpuEngine(model), batch(model)
    kept = x.clone()
    with torch.no_grad():
        torch.testing.assert_close(engine(model, x), VOLO.forward(model, x), rtol=1e-5, atol=1e-5)
    assert torch.equal(x, kept)


def test_a_sample_has_one_answer_in_every_batch(engaged: MiVOLO, two_threads: None) -> None:
    x = batch(engaged)
    with torch.inference_mode():
        assert served(engaged, x)
        assert torch.equal(engaged(x)[1:2], engaged(x[[1, 0]])[:1])


def test_callers_in_many_threads_get_their_own_answers(engaged: MiVOLO, two_threads: None) -> None:
    inputs = [batch(engaged, 2, seed) for seed in range(6)]

    @torch.inference_mode()
    def run(x: Tensor) -> Tensor:
        return engaged(x)

    expected = [run(x) for x in inputs]
    with ThreadPoolExecutor(3) as pool:
        for got, want in zip(pool.map(run, inputs), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 3, 5])
def test_any_number_of_cores_and_samples(engaged: MiVOLO, two_threads: None, threads: int) -> None:
    torch.set_num_threads(threads)
    x = batch(engaged, 4)
    with torch.inference_mode():
        for count in (1, 2, 4):
            torch.testing.assert_close(engaged(x[:count]), VOLO.forward(engaged, x[:count]), rtol=1e-5, atol=1e-5)
    assert torch.get_num_threads() == threads


def test_number_of_threads_is_left_as_it_was(engaged: MiVOLO, two_threads: None) -> None:
    with torch.inference_mode():
        engaged(batch(engaged))
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), later) == (2, [2])


def test_serves_inference_only(engaged: MiVOLO) -> None:
    x = batch(engaged, 1)
    assert not served(engaged, x)  # gradients are on
    with torch.no_grad():
        assert served(engaged, x)
        assert not served(engaged, x.double())
        assert not served(engaged, x.to("meta"))
        assert not served(engaged.train(), x)
        assert served(engaged.eval(), x)
        with torch.autocast("cpu", torch.bfloat16):
            assert not served(engaged, x)


def test_gradients_flow_through_an_accelerated_model(engaged: MiVOLO) -> None:
    engaged(batch(engaged, 1)).sum().backward()
    assert engaged.pos_embed.grad.any()


def change_in_place(model: MiVOLO) -> None:
    model.network[2][0].mlp.fc1.weight.mul_(1.5)


def load_other(model: MiVOLO) -> None:
    model.load_state_dict({name: tensor * 1.1 for name, tensor in model.state_dict().items()})


def replace_parameter(model: MiVOLO) -> None:
    model.head.weight = torch.nn.Parameter(model.head.weight * 2)


def set_data(model: MiVOLO) -> None:
    model.head.weight.data = model.head.weight.data * 2


def round_trip(model: MiVOLO) -> None:
    model.half().float()


@pytest.mark.parametrize("change", [change_in_place, load_other, replace_parameter, set_data, round_trip])
def test_stale_weights_are_never_used(engaged: MiVOLO, change: Callable[[MiVOLO], None]) -> None:
    x = batch(engaged, 1)
    with torch.no_grad():
        before = engaged(x)
        change(engaged)
        assert not served(engaged, x)
        assert not torch.equal(engaged(x), before)
        engaged.accelerate()
        assert served(engaged, x)
        torch.testing.assert_close(engaged(x), VOLO.forward(engaged, x), rtol=1e-5, atol=1e-5)


def test_moving_nowhere_keeps_the_engine(engaged: MiVOLO) -> None:
    with torch.no_grad():
        assert served(engaged.to("cpu").float().eval(), batch(engaged, 1))


def test_hooks_on_layers_see_the_plain_pass(engaged: MiVOLO) -> None:
    seen: list[tuple[int, ...]] = []
    hook = engaged.network[0].register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape)))
    with torch.no_grad():
        engaged(batch(engaged, 2))
        hook.remove()
        engaged(batch(engaged, 2))
    assert seen == [(2, 28, 28, 24)]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_goes_without_the_engine(engaged: MiVOLO, duplicate: Callable[[MiVOLO], MiVOLO]) -> None:
    other, x = duplicate(engaged), batch(engaged, 1)
    with torch.no_grad():
        assert not served(other, x)
        torch.testing.assert_close(other(x), engaged(x), rtol=1e-5, atol=1e-5)


def test_small_maps_are_left_to_the_plain_module(make_model: Make, small: MiVOLOConfig) -> None:
    model = make_model(small)
    model.accelerate()
    assert model._engine is None
