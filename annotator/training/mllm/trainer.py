"""transformers' Trainer with what LLaVA needs: a cheap loss, the published layout, figures people understand."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor
from torch.nn import functional
from transformers import Trainer, TrainerCallback

from annotator.evaluation.metrics import balance
from annotator.files import write_whole
from annotator.predictors.llava.checkpoint import load_llava, save_llava
from annotator.predictors.llava.prompt import QUESTION, build_prompt, end_tokens, find_template
from annotator.predictors.llava.scoring import TreeScorer
from annotator.predictors.llava.tree import answer_tree, summarise
from annotator.predictors.llava.vision import vision_of
from annotator.training.logs import diverged
from annotator.training.mllm.conversations import Pictures
from annotator.training.mllm.script import Script, supervised

BEST_NAME = "best.json"
MODEL_NAME = "model"
ADAPTER_NAME = "adapter"
BATCH = 16
"""Validation people who are asked about at a time."""


class LlavaTrainer(Trainer):
    """Trains on the answers' tokens alone, and keeps the checkpoint whose answers are best.

    ``merge`` gives the whole model of an adapter; without it the model is saved as it is. The best one is saved in
    ``dtype``, also where training holds more exact weights.
    """

    control: Any

    def __init__(
        self,
        *,
        script: Script,
        tokenizer: Any,
        patience: int,
        dtype: torch.dtype,
        say: Callable[[str], None],
        merge: Callable[[Path], Any] | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.script, self.tokenizer, self.say, self.merge = script, tokenizer, say, merge
        self.dtype, self.out = dtype, Path(self.args.output_dir)
        self.add_callback(_Stop(self, patience))
        path = self.out / BEST_NAME
        best = json.loads(path.read_text()) if path.is_file() else {"score": math.inf, "idle": 0, "asked": 0}
        self.best: dict[str, float] = broadcast_object_list([best])[0]  # all have to decide alike

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy of the supervised tokens, of which alone logits are computed.

        Over accumulated passes and devices it is the mean over all their tokens, as transformers 5 has it.
        """
        inputs = dict(inputs)
        keep, targets = supervised(inputs.pop("labels"))
        output = model(**inputs, logits_to_keep=keep, use_cache=False)
        total = functional.cross_entropy(output.logits.float(), targets, reduction="sum")
        if num_items_in_batch is None:
            loss = total / max(1, len(targets))
        else:
            loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, output) if return_outputs else loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Ask the model about validation people and keep it where it is the best so far."""
        pictures: Pictures = eval_dataset or self.eval_dataset
        age_errors, hits = self._ask(pictures)
        mae, accuracy = float(np.mean(age_errors)), float(np.mean(hits))
        step = float(self.state.global_step)
        if math.isinf(mae):
            raise diverged(self.state.global_step, self.out, self.args.learning_rate)
        score = balance(mae, 1.0 - accuracy)
        figures = {f"{metric_key_prefix}_mae": mae, f"{metric_key_prefix}_gender_accuracy": accuracy}
        self.log(figures)
        self.say(f"step {self.state.global_step:,}: validation MAE {mae:.2f}, gender {accuracy:.1%}")
        is_new = step > self.best.get("asked", 0)  # a run that was killed before its checkpoint was whole asks again
        if score < self.best["score"]:
            self.best = {"score": score, "idle": 0, "step": step, "mae": mae, "gender_accuracy": accuracy}
            self._keep()
        else:
            self.best["idle"] += is_new
        self.best["asked"] = max(step, self.best.get("asked", 0))
        if self.is_world_process_zero():
            write_whole(self.out / BEST_NAME, json.dumps(self.best).encode())
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _ask(self, pictures: Pictures) -> tuple[list[float], list[float]]:
        """Errors of ages and hits of genders; processes that have the whole model each ask about a part."""
        model = self.accelerator.unwrap_model(self.model)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        was_training = model.training
        _calm(model)
        scorer = _scorer(model, self.tokenizer, self.script)
        vision = vision_of(model.config)
        found: list[tuple[float, float]] = []
        count = len(pictures)
        # where weights are shared out each step gathers them, so all take the same steps and one's answers count
        rank, ranks = (0, 1) if self._is_shared else (self.accelerator.process_index, self.accelerator.num_processes)
        with _gathered(self.model):
            for start in range(BATCH * rank, count, BATCH * ranks):
                rows = range(start, min(start + BATCH, count))
                sights = [vision.look(pictures.picture(row)) for row in rows]
                scores = scorer.score(vision.gather(sights, model.device, model.dtype))
                for row, score in zip(rows, scores, strict=True):
                    if np.isnan(score.log_probabilities).any():
                        found.append((math.inf, 0.0))
                        continue
                    said = summarise(score.log_probabilities, scorer.tree.answers)
                    truth = pictures.conversations[row]
                    is_hit = (said.female_probability >= 0.5) == truth.female
                    found.append((abs(said.median - truth.age), float(is_hit)))
        model.train(was_training)
        found = gather_object(found) if ranks > 1 else broadcast_object_list([found])[0]
        return [error for error, _ in found], [hit for _, hit in found]

    @property
    def _is_shared(self) -> bool:
        """Whether each process has but a part of the weights."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _keep(self) -> None:
        # every process has a part of shared weights, so every one takes part in gathering them
        state = self.accelerator.get_state_dict(self.model_wrapped) if self._is_shared else None
        if not self.is_world_process_zero():
            return
        place = self.out / MODEL_NAME
        part, old = (place.with_name(f"{MODEL_NAME}.{end}") for end in ("part", "old"))
        if old.is_dir() and not place.is_dir():  # killed between the two renames below
            old.rename(place)
        for stale in (part, old):
            shutil.rmtree(stale, ignore_errors=True)
        if self.merge is None:
            self._write(part, state, self.dtype)
        else:
            self._write(self.out / ADAPTER_NAME, state)
            save_llava(self.merge(self.out / ADAPTER_NAME), self.tokenizer, part, template=self.script.template)
        if place.is_dir():  # the best so far stays until the better one is whole
            place.rename(old)
        part.rename(place)
        shutil.rmtree(old, ignore_errors=True)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """A checkpoint; the trainer gives gathered weights where they are shared out among processes."""
        if self.args.should_save:
            self._write(Path(output_dir or self.args.output_dir), state_dict)

    def _write(self, folder: Path, state: Mapping[str, Tensor] | None, dtype: torch.dtype | None = None) -> None:
        """The llava-hf layout, or the adapter; ``state`` are the weights where the model itself has a part of them."""
        folder.mkdir(parents=True, exist_ok=True)
        model = self.accelerator.unwrap_model(self.model)
        if self.merge is None:
            save_llava(model, self.tokenizer, folder, dtype, self.script.template, state)
        else:
            model.save_pretrained(folder, state_dict=state)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The other way; shared weights are loaded by the trainer from what it wrote itself beside ours."""
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        model = model or self.model
        if self.merge is not None:
            from peft import load_peft_weights, set_peft_model_state_dict

            set_peft_model_state_dict(model, load_peft_weights(resume_from_checkpoint, device="cpu"))
        else:
            model.load_state_dict(load_llava(resume_from_checkpoint, dtype=model.dtype).state_dict())


class _Stop(TrainerCallback):
    """Ends the training after some evaluations without a better one."""

    def __init__(self, trainer: LlavaTrainer, patience: int) -> None:
        self._trainer, self._patience = trainer, patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Called by the trainer."""
        if self._trainer.best["idle"] >= self._patience:
            self._trainer.say(f"no better checkpoint in {self._patience} evaluations: stopped")
            control.should_training_stop = True
        return control


@contextmanager
def _gathered(model: Any) -> Iterator[None]:
    """With the outermost weights of FSDP there: the model inside an adapter is asked, which does not gather them."""
    if not hasattr(model, "unshard"):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


def _calm(model: Any) -> None:
    """Evaluation mode, but not for 4-bit layers: on some CPUs their first evaluation repacks weights that train on."""
    model.eval()
    for module in model.modules():
        if type(module).__name__ == "Linear4bit" and str(module.weight.device) == "cpu":
            module.training = True


def _scorer(model: Any, tokenizer: Any, script: Script) -> TreeScorer:
    prompt = build_prompt(tokenizer, script.template, QUESTION, script.image_token)
    tree = answer_tree(tokenizer, script.template, QUESTION, full=False)
    return TreeScorer(model, prompt, tree, ends=end_tokens(tokenizer, find_template(script.template)))
