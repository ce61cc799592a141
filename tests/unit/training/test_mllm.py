"""Fine-tuning of a small LLaVA: exact tokens, a loss on the answer alone, checkpoints that load, LoRA and QLoRA."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.nn import functional

from annotator.demo import weights_dir
from annotator.errors import AnnotatorError, InputError
from annotator.export.manifest import Recipe as Made
from annotator.predictors.llava.checkpoint import load_llava, load_tokenizer
from annotator.predictors.llava.predictor import LlavaPredictor
from annotator.predictors.llava.prompt import QUESTION, find_template
from annotator.training import configs
from annotator.training.mllm.conversations import Collator, Conversations, Pictures, read_conversations, store_pictures
from annotator.training.mllm.recipe import Recipe, memory_needed
from annotator.training.mllm.script import MASKED, Script, padded, supervised
from annotator.training.mllm.train import fine_tune
from annotator.training.mllm.trainer import LlavaTrainer
from tests.helpers.export_rows import figure_rows, write_rows

DATA = Path(__file__).parents[2] / "data" / "share4v"
CASES: dict[str, Any] = json.loads((DATA / "train_tokens.json").read_text())["cases"]
BASE = weights_dir("demo-mllm")


class Recorded:
    """The real Vicuna tokenizer's ids, as the reference's training recorded them."""

    bos_token_id, eos_token_id = 1, 2

    def __init__(self) -> None:
        before, after = find_template("vicuna_v1").render(QUESTION).split("<image>")
        self.known: dict[str, list[int]] = {}
        for name, case in CASES.items():
            ids, image = case["input_ids"], case["input_ids"].index(-200)
            first = next(place for place, label in enumerate(case["labels"]) if label != MASKED)
            self.known[before] = ids[1:image]
            self.known[after] = ids[image + 1 : first]
            self.known[f"{after} {name.split('|')[1]}"] = ids[image + 1 : -1]

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return self.known[text]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("legacy=True")])
def test_ids_and_labels_are_the_references(name: str) -> None:
    script = Script(Recorded(), "vicuna_v1", -200, 1)
    ids, labels = script.row(QUESTION, name.split("|")[1])
    assert ids == CASES[name]["input_ids"]
    assert labels == CASES[name]["labels"]


def test_the_first_batch_of_a_training_is_labelled_like_the_reference() -> None:
    script = Script(Recorded(), "vicuna_v1", 32000, 576)
    batch = padded([script.row(QUESTION, answer) for answer in ("[female; 40]", "[male; 7]")], 0)
    assert batch["input_ids"].shape == (2, 722)
    for row, case in enumerate(("legacy=True|[female; 40]|image_first", "legacy=True|[male; 7]|image_first")):
        wanted = [label for label in CASES[case]["labels"] if label != MASKED]
        assert [label for label in batch["labels"][row].tolist() if label != MASKED] == wanted
    keep, targets = supervised(batch["labels"])
    assert int(keep.sum()) == len(targets) == 17
    assert targets.tolist() == [label for label in batch["labels"].flatten().tolist() if label != MASKED]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Conversations:
    folder = tmp_path_factory.mktemp("figures")
    rows = figure_rows(folder, 6, 16)
    write_rows(
        folder / "out", rows, recipe=Made({}, None, {}), kind="llava", images="crop", split={"train": 0.7, "val": 0.3}
    )
    return read_conversations(folder / "out")


def plan(**changes: Any) -> Recipe:
    base: dict[str, Any] = {"steps": 4, "batch": 4, "rate": 1e-4, "save_steps": 2, "validation_people": 8}
    return Recipe(str(BASE), **(base | changes))


def test_the_loss_is_that_of_the_supervised_tokens_alone(data: Conversations) -> None:
    """Equal to projecting every position and averaging over the answer, and only the answer is projected."""
    model, tokenizer = load_llava(BASE), load_tokenizer(BASE)
    script = Script(tokenizer, "vicuna_v1", model.config.image_token_index, model.config.image_seq_length)
    pictures = Pictures(data.splits["train"], model.config.vision_config.image_size)
    batch = Collator(script, tokenizer.pad_token_id, torch.float32)([pictures[0], pictures[1], pictures[2]])
    projected: list[int] = []
    hook = model.lm_head.register_forward_hook(lambda _m, inputs, _o: projected.append(inputs[0].shape[:-1].numel()))
    loss = LlavaTrainer.compute_loss(None, model, batch)  # type: ignore[arg-type]
    hook.remove()
    assert projected == [int((batch["labels"] != MASKED).sum())]
    whole = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    expected = functional.cross_entropy(
        whole[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten(), ignore_index=MASKED
    )
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_kept_pictures_are_those_that_are_read(data: Conversations, tmp_path: Path) -> None:
    learnt = data.splits["train"]
    kept = store_pictures(learnt, 112, tmp_path, "train", data.id, max_bytes=1e9)
    read = store_pictures(learnt, 112, tmp_path / "no", "train", data.id, max_bytes=1e3)
    assert len(list(tmp_path.iterdir())) == 1  # too large for a thousand bytes: nothing is kept
    assert all(np.array_equal(kept.picture(row), read.picture(row)) for row in range(len(learnt)))
    (made,) = tmp_path.iterdir()
    before = made.stat().st_mtime_ns
    store_pictures(learnt, 112, tmp_path, "train", data.id, max_bytes=1e9)
    assert made.stat().st_mtime_ns == before


def test_a_picture_that_is_gone_is_named_and_no_half_file_stays(data: Conversations, tmp_path: Path) -> None:
    learnt = [*data.splits["train"][:2], replace(data.splits["train"][0], image=tmp_path / "gone.jpg")]
    with pytest.raises(InputError, match=r"gone\.jpg"):
        store_pictures(learnt, 112, tmp_path / "kept", "train", data.id, max_bytes=1e9)
    assert not list((tmp_path / "kept").iterdir())
    learnt[2].image.write_bytes(learnt[0].image.read_bytes())
    assert store_pictures(learnt, 112, tmp_path / "kept", "train", data.id, max_bytes=1e9).picture(2).any()


def test_a_batch_is_the_same_with_rows_that_were_tokenised_before(data: Conversations) -> None:
    model, tokenizer = load_llava(BASE), load_tokenizer(BASE)
    script = Script(tokenizer, "vicuna_v1", model.config.image_token_index, model.config.image_seq_length)
    pictures = Pictures(data.splits["train"], model.config.vision_config.image_size)
    collator = Collator(script, tokenizer.pad_token_id, torch.float32)
    first, again = (collator([pictures[row] for row in (0, 1, 0)]) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    for row, number in enumerate((0, 1, 0)):
        ids, labels = script.row(pictures[number]["question"], pictures[number]["answer"])
        assert first["input_ids"][row, : len(ids)].tolist() == ids
        assert first["labels"][row, : len(ids)].tolist() == labels


def test_full_fine_tuning_resumes_and_loads(data: Conversations, tmp_path: Path) -> None:
    said: list[str] = []
    result = fine_tune(data, plan(), tmp_path / "whole", device="cpu", say=said.append)
    assert "GB on one device" in said[0]
    before, after = load_llava(BASE).state_dict(), load_llava(tmp_path / "whole" / "checkpoint-4").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any("vision_tower" in name for name in changed)
    assert any("multi_modal_projector" in name for name in changed)
    names = set(load_file(tmp_path / "whole/checkpoint-4/model.safetensors"))
    assert any(name.startswith("vision_tower.vision_model.") for name in names), "the published names"
    LlavaPredictor(result.model, name="mine", device="cpu")
    assert result.step in (2, 4)
    log = (tmp_path / "whole/log.csv").read_bytes()
    assert fine_tune(data, plan(), tmp_path / "whole", device="cpu", say=said.append) == result
    assert said[-1] == "nothing is left to do after step 4"
    assert (tmp_path / "whole/log.csv").read_bytes() == log
    assert not (tmp_path / "whole/checkpoint-5").exists(), "a finished run went on"
    with pytest.raises(InputError, match="another dataset or recipe"):
        fine_tune(data, plan(rate=1.0), tmp_path / "whole", device="cpu")


def test_a_run_that_stopped_early_stays_stopped(data: Conversations, tmp_path: Path) -> None:
    recipe = plan(steps=20, rate=0.0, save_steps=1, patience=2)
    result = fine_tune(data, recipe, tmp_path / "run", device="cpu")
    assert result.step == 1
    said: list[str] = []
    assert fine_tune(data, recipe, tmp_path / "run", device="cpu", say=said.append) == result
    assert said[-1] == "nothing is left to do after step 3"


def test_a_base_that_does_not_load_leaves_the_folder_free(data: Conversations, tmp_path: Path) -> None:
    wrong = replace(plan(), base=str(weights_dir("demo-mivolo")))
    with pytest.raises(AnnotatorError, match="mivolo"):
        fine_tune(data, wrong, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_low_rank_updates(method: str, data: Conversations, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    result = fine_tune(data, plan(method=method, steps=2, rate=1e-3, rank=8), tmp_path / method, device="cpu")
    before, after = load_llava(BASE).state_dict(), load_llava(result.model).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("language_model.layers.0.self_attn.q_proj" in name for name in changed)
    assert not any("vision_tower" in name or "embed_tokens" in name for name in changed)
    assert (tmp_path / method / "checkpoint-2" / "adapter_model.safetensors").is_file()
    LlavaPredictor(result.model, name="mine", device="cpu")


def test_memory_of_the_published_size_is_about_what_it_takes() -> None:
    """7B in bfloat16: 27 GB of weights and gradients, 81 GB of optimizer with its master weights."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.for_model(
        "llava",
        text_config={"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                     "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064},
        vision_config={"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
                       "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14},
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("vision_tower" not in name)
    memory = memory_needed(model, plan(precision="bfloat16", checkpointing=True), 722, quantised=False)
    assert memory.weights + memory.gradients == pytest.approx(27.6e9, rel=0.03)
    assert memory.optimizer == pytest.approx(81e9, rel=0.03)


def test_configurations_are_what_accelerate_reads() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert [path.stem for path in configs()] == ["deepspeed-13b", "deepspeed-7b", "fsdp-13b", "fsdp-7b"]
    for path in configs():
        assert yaml.safe_load(path.read_text())["mixed_precision"] == "bf16"
        assert load_config_from_file(str(path)).num_processes in (4, 8)


def test_a_killed_run_ends_in_the_same_weights(
    data: Conversations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine_tune(data, plan(), tmp_path / "whole", device="cpu")
    step = LlavaTrainer.training_step

    def dies(self: LlavaTrainer, *args: Any, **options: Any) -> Any:
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return step(self, *args, **options)

    monkeypatch.setattr(LlavaTrainer, "training_step", dies)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(data, plan(), tmp_path / "killed", device="cpu")
    monkeypatch.undo()
    fine_tune(data, plan(), tmp_path / "killed", device="cpu")
    one, two = (load_file(tmp_path / name / "checkpoint-4" / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("state", [None, '{"global_step": 4, "max_st'])
def test_a_run_that_was_killed_while_it_wrote_a_checkpoint_goes_on(
    data: Conversations, tmp_path: Path, state: str | None
) -> None:
    """The state of the run is written last, so a checkpoint without a whole one is no checkpoint yet."""
    fine_tune(data, plan(), tmp_path / "whole", device="cpu")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    broken = tmp_path / "killed" / "checkpoint-4"
    (broken / "optimizer.pt").unlink()
    (broken / "trainer_state.json").unlink()
    if state is not None:
        (broken / "trainer_state.json").write_text(state)
    said: list[str] = []
    fine_tune(data, plan(), tmp_path / "killed", device="cpu", say=said.append)
    assert [line.partition(":")[0] for line in said if line.startswith("step")] == ["step 4"]
    one, two = (load_file(tmp_path / name / "checkpoint-4" / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    first, again = (json.loads((tmp_path / name / "best.json").read_text()) for name in ("whole", "killed"))
    assert first == again, "an evaluation that is repeated is no second one without progress"


def test_a_training_that_diverged_says_so_and_keeps_the_best_model(
    data: Conversations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LlavaTrainer.training_step

    def breaks(self: LlavaTrainer, model: Any, *args: Any, **options: Any) -> Any:
        if self.state.global_step == 3:
            for weights in model.parameters():
                weights.data.fill_(float("nan"))
        return step(self, model, *args, **options)

    monkeypatch.setattr(LlavaTrainer, "training_step", breaks)
    with pytest.raises(InputError, match=r"diverged before step 4.*lower rate than 0\.0001"):
        fine_tune(data, plan(), tmp_path / "run", device="cpu")
    kept = load_llava(tmp_path / "run" / "model").state_dict()
    assert all(bool(weights.isfinite().all()) for weights in kept.values())
    assert json.loads((tmp_path / "run" / "best.json").read_text())["step"] == 2


def test_the_best_model_stays_until_a_better_one_is_whole(
    data: Conversations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine_tune(data, plan(steps=2), tmp_path / "run", device="cpu")
    before = load_file(tmp_path / "run" / "model" / "model.safetensors")
    (tmp_path / "run" / "best.json").unlink()  # the next evaluation is better than nothing
    write = LlavaTrainer._write

    def dies(self: LlavaTrainer, folder: Path, *args: Any) -> None:
        write(self, folder, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(LlavaTrainer, "_write", dies)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(data, plan(steps=2), tmp_path / "run", device="cpu")
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    monkeypatch.undo()
    fine_tune(data, plan(steps=2), tmp_path / "run", device="cpu")
    assert sorted(path.name for path in (tmp_path / "run").glob("model*")) == ["model"]
