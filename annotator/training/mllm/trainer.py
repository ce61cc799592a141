"""transformers' Trainer with what LLaVA needs: a cheap loss, the published layout, figures people understand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
from annotator.training.mllm.conversations import Pictures
from annotator.training.mllm.script import Script, supervised

BEST_NAME = "best.json"
MODEL_NAME = "model"
ADAPTER_NAME = "adapter"


class LlavaTrainer(Trainer):
    """Trains on the answers' tokens alone, and keeps the checkpoint whose answers are best.

    ``merge`` gives the whole model of an adapter; without it the model is saved as it is.
    """

    control: Any

    def __init__(
        self,
        *,
        script: Script,
        tokenizer: Any,
        patience: int,
        people: int,
        say: Callable[[str], None],
        merge: Callable[[Path], Any] | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.script, self.tokenizer, self.say, self.merge = script, tokenizer, say, merge
        self.people, self.out = people, Path(self.args.output_dir)
        self.add_callback(_Stop(self, patience))
        path = self.out / BEST_NAME
        self.best: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {"score": math.inf, "idle": 0}

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
        score = balance(mae, 1.0 - accuracy)
        figures = {f"{metric_key_prefix}_mae": mae, f"{metric_key_prefix}_gender_accuracy": accuracy}
        self.log(figures)
        self.say(f"step {self.state.global_step:,}: validation MAE {mae:.2f}, gender {accuracy:.1%}")
        if score < self.best["score"]:
            step = float(self.state.global_step)
            self.best = {"score": score, "idle": 0, "step": step, "mae": mae, "gender_accuracy": accuracy}
            self._keep()
        else:
            self.best["idle"] += 1
        if self.is_world_process_zero():
            write_whole(self.out / BEST_NAME, json.dumps(self.best).encode())
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _ask(self, pictures: Pictures) -> tuple[list[float], list[float]]:
        model = self.accelerator.unwrap_model(self.model)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        was_training = model.training
        _calm(model)
        scorer = _scorer(model, self.tokenizer, self.script)
        vision = vision_of(model.config)
        age_errors, hits = [], []
        count = min(self.people, len(pictures))
        for start in range(0, count, 16):
            rows = range(start, min(start + 16, count))
            sights = [vision.look(pictures.picture(row)) for row in rows]
            scores = scorer.score(vision.gather(sights, model.device, model.dtype))
            for row, score in zip(rows, scores, strict=True):
                said = summarise(score.log_probabilities, scorer.tree.answers)
                truth = pictures.conversations[row]
                age_errors.append(abs(said.median - truth.age))
                hits.append(float((said.female_probability >= 0.5) == truth.female))
        model.train(was_training)
        return age_errors, hits

    def _keep(self) -> None:
        if not self.is_world_process_zero():
            return
        model = self.accelerator.unwrap_model(self.model)
        if self.merge is not None:
            model.save_pretrained(self.out / ADAPTER_NAME)
            model = self.merge(self.out / ADAPTER_NAME)
        save_llava(model, self.tokenizer, self.out / MODEL_NAME, template=self.script.template)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint: the llava-hf layout, or the adapter."""
        del state_dict
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        model = self.accelerator.unwrap_model(self.model)
        if self.merge is not None:
            model.save_pretrained(folder)
        else:
            save_llava(model, self.tokenizer, folder, template=self.script.template)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The other way."""
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
