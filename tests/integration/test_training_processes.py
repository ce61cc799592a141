"""Training in two processes, as on two GPUs: one of them speaks and writes, and both take part in everything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from annotator.demo import weights_dir
from annotator.export.manifest import Recipe as Made
from annotator.predictors.llava.checkpoint import load_llava
from annotator.predictors.mivolo.checkpoint import load_model
from annotator.training.crops import store_crops
from annotator.training.mivolo.score import INPUTS, evaluate
from annotator.training.people import read_dataset
from tests.helpers.export_rows import figure_rows, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]

ROOT = Path(__file__).parents[2]
SHARED = (str(ROOT / "tests" / "helpers" / "fsdp_on_cpu.py"),)
PLAIN = ("-m", "annotator.cli")
LLAVA = ("--from", str(weights_dir("demo-mllm")), "--steps", "4", "--batch", "2", "--save-steps", "2", "--rate", "1e-3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the datasets ``lagenda`` and ``llava`` of 24 drawn pictures."""
    folder = tmp_path_factory.mktemp("figures")
    rows = figure_rows(folder, 8, 24)
    split = {"train": 0.7, "val": 0.3}
    write_rows(folder / "lagenda", rows, recipe=Made({}, None, {}), split=split)
    write_rows(folder / "llava", rows, recipe=Made({}, None, {}), kind="llava", images="crop", split=split)
    return folder


def two(script: tuple[str, ...], *words: object) -> subprocess.CompletedProcess[str]:
    """What two processes printed; ``script`` is the command line in each."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, "train", *map(str, words), "--device", "cpu"],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )


def test_both_stages_of_mivolo(folder: Path, tmp_path: Path) -> None:
    words = ("--size", "tiny", "--init", "random", "--steps", 4, "--batch", 4, "--evaluate-every", 2)
    done = two(PLAIN, "mivolo", folder / "lagenda", tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    for line in ("stage 1: step 2 of 4", "stage 1: step 4 of 4", "stage 2: step 2 of 4", "stage 2: step 4 of 4"):
        assert done.stderr.count(line) == 1, "one process speaks"
    assert done.stdout.count("use it as mivolo:") == 1
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    data = read_dataset(folder / "lagenda")
    model = load_model(tmp_path / "run" / "model.pth.tar", accelerated=False)
    crops = store_crops(data.splits["val"], 64, tmp_path / "crops", "val", data.id, max_bytes=1e9)
    for shown in INPUTS:
        alone = evaluate(model, model.meta, crops, shown, torch.device("cpu"))
        assert facts["scores"][f"{shown}/mae"] == pytest.approx(alone.mae, rel=1e-4), "everybody was looked at, once"
        assert facts["scores"][f"{shown}/gender_accuracy"] == pytest.approx(alone.gender_accuracy)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_shared_weights_of_an_mllm_are_saved_whole(folder: Path, tmp_path: Path, method: str) -> None:
    """FSDP learns what two processes with the whole model learn, and goes on where it was killed."""
    for name, script in (("shared", SHARED), ("plain", PLAIN)):
        done = two(script, "mllm", folder / "llava", tmp_path / name, *LLAVA, "--method", method, "--checkpointing")
        assert done.returncode == 0, done.stderr
        assert [done.stderr.count(f"step {step}: validation MAE") for step in (2, 4)] == [1, 1]
    shared, plain = (json.loads((tmp_path / name / "best.json").read_text()) for name in ("shared", "plain"))
    assert shared == pytest.approx(plain)
    same(tmp_path / "shared" / "model", tmp_path / "plain" / "model")
    before = load_llava(weights_dir("demo-mllm")).state_dict()
    after = load_llava(tmp_path / "shared" / "model").state_dict()
    changed = {name for name, weights in after.items() if not torch.equal(weights, before[name])}
    assert any("q_proj" in name for name in changed)
    assert not any("vision_tower" in name for name in changed)

    for made in ("model", "best.json"):  # as if killed before the last checkpoint
        (tmp_path / "shared" / made).rename(tmp_path / made)
    (tmp_path / "shared" / "checkpoint-4").rename(tmp_path / "last")
    done = two(SHARED, "mllm", folder / "llava", tmp_path / "shared", *LLAVA, "--method", method, "--checkpointing")
    assert done.returncode == 0, done.stderr
    assert "step 2: validation" not in done.stderr
    kept, again = tmp_path / "last", tmp_path / "shared" / "checkpoint-4"
    one, other = (torch.load(one / "pytorch_model_fsdp.bin", weights_only=True) for one in (kept, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_adapter_that_would_be_saved_empty_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSDP_ACTIVATION_CHECKPOINTING", "true")
    done = two(SHARED, "mllm", folder / "llava", tmp_path / "run", *LLAVA, "--method", "lora")
    assert done.returncode != 0
    assert "set it to false in the accelerate configuration" in done.stderr


def test_the_best_model_has_the_precision_that_was_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSDP trains 32-bit copies of 16-bit weights."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    done = two(SHARED, "mllm", folder / "llava", tmp_path / "run", *LLAVA, "--precision", "bfloat16")
    assert done.returncode == 0, done.stderr
    weights = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    kept = load_file(tmp_path / "run" / "checkpoint-4" / "model.safetensors")
    assert torch.float32 in {tensor.dtype for tensor in kept.values()}


def same(one: Path, other: Path) -> None:
    weights, others = (load_llava(folder).state_dict() for folder in (one, other))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.allclose(tensor, others[name], atol=1e-6), name
