"""Fine-tuning of LLaVA, ShareGPT4V and their like; a run that was killed goes on from its last checkpoint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerState, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from annotator.errors import ConfigurationError, InputError
from annotator.files import write_whole
from annotator.predictors.llava.checkpoint import load_llava, load_tokenizer
from annotator.predictors.llava.prompt import usual_template
from annotator.predictors.llava.vision import SquareVision, vision_of
from annotator.predictors.weights import weights_digest
from annotator.training.logs import RunLog
from annotator.training.mllm.conversations import Collator, Conversations, store_pictures
from annotator.training.mllm.recipe import Recipe, memory_needed
from annotator.training.mllm.script import Script
from annotator.training.mllm.trainer import MODEL_NAME, LlavaTrainer
from annotator.training.processes import LONGEST_WAIT, one_voice
from annotator.training.stored import PICTURES_NAME

RUN_NAME = "run.json"
LAYERS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
"""What low-rank updates are made for: every linear layer of the language model."""
PROJECTOR = "multi_modal_projector"


@dataclass(frozen=True, slots=True)
class Result:
    """The best checkpoint, its step, and its figures on the validation split."""

    model: Path
    step: int
    mae: float
    gender_accuracy: float


def fine_tune(
    data: Conversations,
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    workers: int = 0,
    cache_bytes: float = 8e9,
    say: Callable[[str], None] = lambda _: None,
    training: str = "train",
    validation: str = "val",
) -> Result:
    """Train into ``out``: checkpoints, the best one as ``out/model`` in the llava-hf layout, a log and its curves.

    Raises:
        InputError: a split is missing or empty, or ``out`` holds another run.
        WeightsMissing, WeightsInvalid: the base cannot be loaded.
        ConfigurationError: peft or bitsandbytes is not installed.
    """
    for name in (training, validation):
        if not data.splits.get(name):
            raise InputError(f"the dataset has nobody in its split '{name}'; it has {', '.join(data.splits)}")
    base = Path(recipe.base)
    facts = {
        "recipe": recipe.as_dict(),
        "dataset": data.id,
        "base_sha256": weights_digest(base),
        "training": training,
    }
    identity = json.dumps(facts, indent=2, sort_keys=True) + "\n"
    _check_run(out, identity)
    trainer = make_trainer(
        data, recipe, out, device=device, workers=workers, cache_bytes=cache_bytes, say=say,
        splits=(training, validation),
    )  # fmt: skip
    if trainer.is_world_process_zero():
        write_whole(out / RUN_NAME, identity.encode())
    _go_on(trainer, recipe, out)
    if trainer.is_world_process_zero():
        _log(out, trainer)
    best = trainer.best
    return Result(out / MODEL_NAME, int(best["step"]), best["mae"], best["gender_accuracy"])


def make_trainer(
    data: Conversations,
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    workers: int = 0,
    cache_bytes: float = 8e9,
    say: Callable[[str], None] = lambda _: None,
    splits: tuple[str, str] = ("train", "val"),
) -> LlavaTrainer:
    """The trainer of a run, its model loaded; ``splits`` are what it learns from and what it is evaluated on.

    Pictures are kept in ``out`` as the vision tower sees them where they fit into ``cache_bytes``.
    """
    learnt, held_out = data.splits[splits[0]], data.splits[splits[1]][: recipe.validation_people]
    base = Path(recipe.base)
    set_seed(recipe.seed)
    dtype = getattr(torch, recipe.precision)
    model, tokenizer = _load(base, recipe, dtype), load_tokenizer(base)
    vision = vision_of(model.config)
    if not isinstance(vision, SquareVision):
        raise InputError("LLaVA-NeXT cannot be fine-tuned here yet; use a LLaVA-1.5 or ShareGPT4V model")
    config = model.config
    script = Script(tokenizer, usual_template(base), config.image_token_index, int(config.image_seq_length))
    first = learnt[0]
    tokens = len(script.row(first.question, first.answer)[0])
    args = _arguments(recipe, out, device, workers)
    say = one_voice(say)
    memory = memory_needed(model, recipe, tokens, quantised=recipe.method == "qlora")
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    say(f"{trained:,} of {sum(p.numel() for p in model.parameters()):,} parameters are trained; {memory}")
    with args.main_process_first(local=False, desc="pictures"):  # it makes them for all
        side, folder = int(config.vision_config.image_size), out / PICTURES_NAME
        seen = store_pictures(learnt, side, folder, splits[0], data.id, max_bytes=cache_bytes, say=say)
        room = cache_bytes - seen.kept_bytes
        asked = store_pictures(held_out, side, folder, splits[1], data.id, max_bytes=room, say=say)
    trainer = LlavaTrainer(
        script=script,
        tokenizer=tokenizer,
        patience=recipe.patience,
        dtype=dtype,
        say=say,
        merge=None if recipe.method == "full" else lambda adapter: _merged(base, adapter, dtype),
        model=model,
        args=args,
        train_dataset=seen,
        eval_dataset=asked,
        data_collator=Collator(script, _pad(tokenizer), dtype),
    )
    sharing = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if sharing is not None and sharing.activation_checkpointing and recipe.method != "full":
        raise ConfigurationError(
            "with fsdp_activation_checkpointing an adapter would be saved without its weights, whose names change; set "
            "it to false in the accelerate configuration and give --checkpointing instead"
        )
    trainer.remove_callback(PrinterCallback)  # it prints dicts to stdout; our own lines say more
    return trainer


def _check_run(out: Path, identity: str) -> None:
    path = out / RUN_NAME
    if path.is_file() and path.read_text() != identity:
        raise InputError(f"{out} holds a run of another dataset or recipe; name another folder or remove it")


def _go_on(trainer: LlavaTrainer, recipe: Recipe, out: Path) -> None:
    """Train what is left; the trainer itself would take one more step after the last one."""
    last, state = _last_checkpoint(out)
    asked = state is not None and state.global_step >= trainer.best.get("asked", 0)
    stopped = asked and trainer.best["idle"] >= recipe.patience
    if state is not None and (stopped or state.global_step >= state.max_steps):
        trainer.state = state
        trainer.say(f"nothing is left to do after step {state.global_step:,}")
    else:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if "step" not in trainer.best:
        trainer.evaluate()


def _last_checkpoint(out: Path) -> tuple[Path | None, TrainerState | None]:
    """The newest checkpoint that was written to its end, and its state, which is written last."""
    found = [path for path in out.glob("checkpoint-*") if path.name.rpartition("-")[2].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        try:
            return path, TrainerState.load_from_json(str(path / TRAINER_STATE_NAME))
        except (OSError, ValueError):  # killed while it was written; the run will write it again
            continue
    return None, None


def _pad(tokenizer: Any) -> int:
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.unk_token_id or 0)


def _load(base: Path, recipe: Recipe, dtype: torch.dtype) -> Any:
    """The model with what is trained switched on."""
    model = load_llava(base, dtype=dtype, quantisation="4bit" if recipe.method == "qlora" else None)
    model.train()
    if recipe.method == "full":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("vision_tower" not in name)
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigurationError("LoRA needs peft: pip install 'annotator[train]'") from error
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=LAYERS,
        modules_to_save=[PROJECTOR],
    )
    with _quiet():
        return get_peft_model(model, lora)


def _merged(base: Path, adapter: Path, dtype: torch.dtype) -> Any:
    """The base in full precision with the updates of an adapter added: an ordinary LLaVA again."""
    from peft import PeftModel

    with _quiet():
        return PeftModel.from_pretrained(load_llava(base, dtype=dtype), adapter).merge_and_unload()


@contextmanager
def _quiet() -> Iterator[None]:
    """Peft asks transformers for a property by its old name; nobody here can mend that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def _arguments(recipe: Recipe, out: Path, device: str, workers: int) -> TrainingArguments:
    on_gpu = device != "cpu" and torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulate,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps or -1,
        learning_rate=recipe.rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        weight_decay=0.0,
        bf16=on_gpu and recipe.precision == "bfloat16",
        activation_checkpointing=recipe.checkpointing,
        save_strategy="steps",
        save_steps=recipe.save_steps,
        eval_strategy="steps",
        eval_steps=recipe.save_steps,
        save_total_limit=2,
        logging_steps=max(1, min(10, recipe.save_steps)),
        seed=recipe.seed,
        use_cpu=not on_gpu,
        dataloader_num_workers=workers,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        ddp_timeout=int(LONGEST_WAIT.total_seconds()),
        disable_tqdm=True,
        report_to="none",
    )


def _log(out: Path, trainer: LlavaTrainer) -> None:
    """The curves, from the trainer's own history, which its checkpoints hold."""
    log = RunLog(out, -1)
    names = {"loss": "training", "eval_mae": "validation/mae", "eval_gender_accuracy": "validation/gender_accuracy"}
    for entry in trainer.state.log_history:
        known = {column: float(entry[name]) for name, column in names.items() if name in entry}
        if known:
            log.add(int(entry["step"]), known)
    log.close(out)
