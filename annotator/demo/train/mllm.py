"""Trains demo-mllm: a LLaVA of 1.3 million parameters that answers the paper's prompt, token by token.

First the vision tower alone learns age and gender with a small head that is thrown away; then the whole model learns
to write ``[female; 40]``. Early in that, the age that it should write is drawn near the true one, which tells the model
that 39 and 41 are nearly right; in the last part of the training it is the true age alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from annotator.demo.looks import OLDEST
from annotator.demo.train.loop import Run, Trainer, seed_everything
from annotator.demo.train.samples import Arrays, Sizes, cached, people_samples
from annotator.domain import Gender
from annotator.predictors.llava.checkpoint import save_llava
from annotator.predictors.llava.preprocess import normalise
from annotator.predictors.llava.prompt import QUESTION, answer_ids, answer_text, build_prompt_ids, find_template

RECIPE = Run(seed=0, steps=2000, batch=48, pictures=9000, rate=1.2e-3, decay=0.03)
TOWER_STEPS = 2.5
"""Steps that the vision tower trains alone, as a share of the recipe's steps."""

TEMPLATE = "vicuna_v1"
PATCH = 14
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
_AGES = OLDEST + 1


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer of the prompt's own text: long pieces, but each digit and bracket on its own.

    Spaces do not part pieces, so the prompt is about twenty tokens long. Training it twice gives the same pieces.
    """
    core = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106
    alone = Regex(r"\d|\]|;|female|male| ?\[|\n|ASSISTANT:")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(alone, "isolated"), pre_tokenizers.Metaspace(prepend_scheme="never", split=False)]
    )
    core.decoder = decoders.Metaspace(prepend_scheme="never", split=False)
    trainer = trainers.BpeTrainer(vocab_size=4000, special_tokens=SPECIAL, show_progress=False, min_frequency=1)
    prompt = find_template(TEMPLATE).render(QUESTION)
    digits = "".join(f" [{gender.value}; {age}]" for gender in Gender for age in (12, 34, 56, 78, 90))
    core.train_from_iterator([prompt, digits], trainer)
    named = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), SPECIAL, strict=False))
    return PreTrainedTokenizerFast(tokenizer_object=core, **named)


def mllm_config(tokenizer: PreTrainedTokenizerFast, side: int) -> LlavaConfig:
    """The sizes of demo-mllm: a CLIP tower of five layers (four are used, as in LLaVA) and a Llama of two."""
    vision = CLIPVisionConfig(
        hidden_size=96, intermediate_size=288, num_hidden_layers=5, num_attention_heads=3, image_size=side,
        patch_size=PATCH, projection_dim=96,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=512, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(side // PATCH) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )


def train_mllm(folder: Path, run: Run, sizes: Sizes) -> None:
    """Train on whole-person crops and write a llava-hf folder."""
    seed_everything(run.seed)
    name = f"people-{run.seed}-{run.pictures}-{sizes.mivolo}-{sizes.mllm}"
    data = cached(run.cache, name, lambda: people_samples(run.seed, run.pictures, sizes))
    tokenizer = make_tokenizer()
    model = LlavaForConditionalGeneration(mllm_config(tokenizer, sizes.mllm)).train()
    rng = np.random.default_rng([run.seed, 4])
    tower_run = replace(run, steps=max(1, round(TOWER_STEPS * run.steps)))
    _train_tower(model, data, tower_run, rng)
    trainer = Trainer(model, run)
    script = Script(tokenizer, model.config)
    for step in range(run.steps):
        rows = _rows(data, rng, run.batch)
        trainer.step(step, _answer_loss(model, script, data, rows, rng, step / run.steps))
    save_llava(trainer.averaged, tokenizer, folder)


class Script:
    """Token ids of the prompt and of every answer, padded to one length with the end token's label masked."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, config: LlavaConfig) -> None:
        prompt = build_prompt_ids(tokenizer, TEMPLATE, QUESTION, config.image_token_index, config.image_seq_length)
        texts = [answer_text(gender, age) for gender in (Gender.MALE, Gender.FEMALE) for age in range(_AGES)]
        answers = [[*ids, tokenizer.eos_token_id] for ids in answer_ids(tokenizer, TEMPLATE, QUESTION, texts)]
        longest = max(map(len, answers))
        pad = tokenizer.pad_token_id
        self.inputs = torch.tensor([prompt + ids + [pad] * (longest - len(ids)) for ids in answers])
        self.labels = torch.tensor([ids + [-100] * (longest - len(ids)) for ids in answers])
        self.length = longest

    def row(self, female: np.ndarray, age: np.ndarray) -> Tensor:
        """Rows of ``inputs`` and ``labels`` for genders and whole ages."""
        return torch.from_numpy(female.astype(np.int64) * _AGES + age.astype(np.int64))


def _answer_loss(
    model: Any, script: Script, data: Arrays, rows: np.ndarray, rng: np.random.Generator, progress: float
) -> Tensor:
    """Cross-entropy of the answer's tokens, the age drawn near the true one early in the training."""
    spread = max(0.0, 3.0 * (1.0 - progress / 0.8))
    age = np.asarray(data["age"][rows]) + spread * rng.standard_normal(len(rows))
    age = np.clip(np.rint(age), 0, OLDEST)
    chosen = script.row(np.asarray(data["female"][rows]), age)
    output = model(
        input_ids=script.inputs[chosen],
        pixel_values=_images(data, rows, rng),
        logits_to_keep=script.length + 1,
        use_cache=False,
    )
    logits = output.logits[:, :-1]
    return functional.cross_entropy(logits.flatten(0, 1), script.labels[chosen].flatten(), ignore_index=-100)


def _train_tower(model: Any, data: Arrays, run: Run, rng: np.random.Generator) -> None:
    """Teach the vision tower with a distribution over ages and a gender logit; the head is not kept."""
    tower = model.model.vision_tower
    learner = nn.ModuleDict({"tower": tower, "head": nn.Linear(model.config.vision_config.hidden_size, _AGES + 1)})
    trainer = Trainer(learner, run)
    grid = torch.arange(_AGES, dtype=torch.float32)
    for step in range(run.steps):
        rows = _rows(data, rng, run.batch)
        states = tower(_images(data, rows, rng), output_hidden_states=True).hidden_states[-2]
        output = learner["head"](states[:, 1:].mean(dim=1))
        age = torch.from_numpy(np.asarray(data["age"][rows]).astype(np.float32))
        female = torch.from_numpy(np.asarray(data["female"][rows]).astype(np.float32))
        target = torch.softmax(-0.5 * ((grid - age[:, None]) / 3.0) ** 2, dim=1)
        loss = functional.cross_entropy(output[:, :_AGES], target)
        trainer.step(step, loss + 2.0 * functional.binary_cross_entropy_with_logits(output[:, _AGES], female))
    tower.load_state_dict(trainer.averaged["tower"].state_dict())


def _rows(data: Arrays, rng: np.random.Generator, size: int) -> np.ndarray:
    return np.sort(rng.choice(len(data["age"]), size, replace=False))


def _images(data: Arrays, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
    images = normalise(torch.from_numpy(np.asarray(data["whole"][rows])), torch.float32)
    mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5).view(-1, 1, 1, 1)
    bright = torch.from_numpy(rng.uniform(0.92, 1.08, (len(rows), 1, 1, 1)).astype(np.float32))
    return torch.where(mirrored, images.flip(-1), images) * bright
