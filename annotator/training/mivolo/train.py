"""Training a MiVOLO, one stage at a time; a run that was killed goes on and ends in the same weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from annotator.errors import InputError
from annotator.evaluation.metrics import balance
from annotator.export.tail import TailWeights
from annotator.files import write_whole
from annotator.predictors.mivolo.architecture import ModelMeta
from annotator.predictors.mivolo.saving import save_checkpoint
from annotator.training.average import Average, cosine, decay_groups
from annotator.training.crops import CropStore, store_crops
from annotator.training.density import density_weights
from annotator.training.logs import RunLog, diverged
from annotator.training.mivolo.learner import Targets, Taught, multitask_loss, normalise
from annotator.training.mivolo.recipe import Recipe
from annotator.training.mivolo.score import INPUTS, evaluate
from annotator.training.mivolo.start import sized, start
from annotator.training.order import Order
from annotator.training.people import Dataset
from annotator.training.processes import LONGEST_WAIT, leads, one_voice
from annotator.training.stored import CROPS_NAME

MODEL_NAME = "model.pth.tar"
STATE_NAME = "state.pt"
RUN_NAME = "run.json"
MAX_AGE = 122.0
"""Ages are normalised over 0 to 122 years, as those of MiVOLO v2, unless the given weights do it otherwise."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how a run works: nothing here changes the weights on one device.

    Crops are kept in ``crops`` (by default ``out/crops``) where they fit into ``cache_bytes``; stages may share them.
    """

    out: Path
    device: str = "auto"
    workers: int = 0
    cache_bytes: float = 8e9
    crops: Path | None = None
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Result:
    """The best weights of a run, their step and their figures on the validation split, and samples a second."""

    model: Path
    step: int
    scores: dict[str, float]
    samples_per_second: float


def train_stage(
    dataset: Dataset, recipe: Recipe, place: Place, *, validation: str = "val", training: str = "train"
) -> Result:
    """Train one stage into ``place.out``: the best weights, the state to go on from, a log and its curves.

    Raises:
        InputError: a split is missing or empty, ``out`` holds another run, or the weights became no numbers.
        WeightsMissing: what it should start from is not there.
    """
    for name in (training, validation):
        if not dataset.splits.get(name):
            raise InputError(f"the dataset has nobody in its split '{name}'; it has {', '.join(dataset.splits)}")
    run = _Run(dataset, recipe, place, training, validation)
    return run.train()


class _Samples(torch.utils.data.Dataset[tuple[Tensor, float, int]]):
    """Places of the order to augmented crops; each place has a generator of its own."""

    def __init__(self, crops: CropStore, order: Order, recipe: Recipe) -> None:
        self._crops, self._order, self._recipe = crops, order, recipe
        self._rows = crops.usable() if recipe.stage == 2 else np.flatnonzero(crops.seen[:, 0])

    def __getitem__(self, place: int) -> tuple[Tensor, float, int]:
        row = int(self._rows[self._order[place]])
        crops, seen = self._crops[row]
        rng = np.random.default_rng([self._recipe.seed, 2, place])
        seen = seen if self._recipe.stage == 2 else seen & np.array([True, False])
        changed = self._recipe.augmentation(np.asarray(crops), seen, rng)
        kept = changed if self._recipe.stage == 2 else changed[:1]
        person = self._crops.people[row]
        age = math.nan if person.age is None else person.age
        return torch.from_numpy(np.ascontiguousarray(kept)), age, -1 if person.female is None else int(person.female)


class _Run:
    def __init__(self, dataset: Dataset, recipe: Recipe, place: Place, training: str, validation: str) -> None:
        from accelerate import Accelerator
        from accelerate.utils import InitProcessGroupKwargs

        self.recipe, self.place = recipe, place
        place.out.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(
            mixed_precision=recipe.precision, cpu=place.device == "cpu", step_scheduler_with_optimizer=False,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
        )  # fmt: skip
        self.say = one_voice(place.say)
        config = sized(recipe.size, recipe.stage, recipe.drop)
        # convolutions of crops that lie this way take a fifth less time with weights that do too
        self.model = start(config, recipe.init, recipe.seed).to(memory_format=torch.channels_last)
        self.meta: ModelMeta = getattr(self.model, "meta", None) or ModelMeta.of(config, 0.0, MAX_AGE)
        self._identity = {"recipe": recipe.as_dict(), "dataset": dataset.id, "training": training}
        with self.accelerator.main_process_first():  # it makes them for all
            self.crops = self._stored(dataset, training, config.img_size, place.cache_bytes)
            room = place.cache_bytes - self.crops.kept_bytes
            self.validation = self._stored(dataset, validation, config.img_size, room)
        self._prepare()

    def _stored(self, dataset: Dataset, split: str, side: int, room: float) -> CropStore:
        folder = self.place.crops or self.place.out / CROPS_NAME
        return store_crops(dataset.splits[split], side, folder, split, dataset.id, max_bytes=room, say=self.say)

    def _prepare(self) -> None:
        recipe, people = self.recipe, self.crops.people
        ages = np.array([math.nan if person.age is None else person.age for person in people])
        weights = np.array([person.weight for person in people])
        if recipe.balance_tail and (weights == 1.0).all():
            counted = np.unique(ages[~np.isnan(ages)].astype(int), return_counts=True)
            tail = TailWeights.of(zip(*(column.tolist() for column in counted), strict=True))
            weights = np.array([1.0 if math.isnan(age) else tail.weight(int(age)) for age in ages])
        rows = self.crops.usable() if recipe.stage == 2 else np.flatnonzero(self.crops.seen[:, 0])
        if not len(rows):
            raise InputError("nobody in the training split has a usable crop")
        self.samples = _Samples(self.crops, Order(weights[rows], recipe.seed), recipe)
        self.learner: nn.Module = Taught(self.model) if recipe.stem_readers else self.model
        self.average = Average(self.model, recipe.average)
        groups = decay_groups(self.learner, recipe.decay)
        optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), fused=True)
        device = self.accelerator.device
        self.average.model.to(device)
        self.density = torch.from_numpy(density_weights(ages)).float().to(device)
        self.prepared, self.optimizer = self.accelerator.prepare(self.learner, optimizer)
        self.step, self.best = 0, {"step": 0.0, "score": math.inf}

    def train(self) -> Result:
        """All steps that are left; then the result of the best ones."""
        self._resume()
        log = RunLog(self.place.out, self.step) if leads() else None
        started, first = time.perf_counter(), self.step
        loss = 0.0
        for step, batches in self._batches():
            loss += self._learn(step, batches)
            self.step = step + 1
            if self.step % self.recipe.evaluate_every == 0 or self.step == self.recipe.steps:
                seconds = time.perf_counter() - started
                count = (self.step - 1) % self.recipe.evaluate_every + 1
                self._look(log, loss / count, (self.step - first) * self._samples_a_step() / seconds)
                loss = 0.0
        seconds = time.perf_counter() - started
        if log is not None:
            log.close(self.place.out)
        done = (self.step - first) * self._samples_a_step()
        return self._finish(done / seconds if done else self._earlier_speed())

    def _earlier_speed(self) -> float:
        """Samples a second of the run that left nothing to do."""
        path = self.place.out / RUN_NAME
        return float(json.loads(path.read_text())["samples_per_second"]) if path.is_file() else 0.0

    def _samples_a_step(self) -> int:
        return self.recipe.batch * self.recipe.accumulate * int(self.accelerator.num_processes)

    def _batches(self) -> Iterator[tuple[int, list[Any]]]:
        """``(step, its passes)``; each process takes its own part of the order."""
        size, passes = self.recipe.batch, self.recipe.accumulate
        workers, rank = self.accelerator.num_processes, self.accelerator.process_index
        places = [
            [((step * passes + number) * workers + rank) * size + slot for slot in range(size)]
            for step in range(self.step, self.recipe.steps)
            for number in range(passes)
        ]
        loader: Any = DataLoader(
            self.samples,
            batch_sampler=places,
            num_workers=self.place.workers,
            pin_memory=self.accelerator.device.type == "cuda",
            persistent_workers=self.place.workers > 0,
        )
        stream = iter(loader)
        for step in range(self.step, self.recipe.steps):
            yield step, [next(stream) for _ in range(passes)]

    def _learn(self, step: int, batches: list[Any]) -> float:
        """One optimizer step; chance inside the model is a function of the seed and the step."""
        torch.manual_seed((self.recipe.seed * 1_000_003 + step) * 64 + self.accelerator.process_index)
        self.prepared.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * cosine(step, self.recipe.steps, self.recipe.warmup)
        total = 0.0
        for number, (crops, age, gender) in enumerate(batches):
            is_last = number + 1 == len(batches)
            with nullcontext() if is_last else self.accelerator.no_sync(self.prepared):
                loss = self._loss(crops, age, gender) / len(batches)
                self.accelerator.backward(loss)
            total += float(loss.detach())
        self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.model, step)
        return total

    def _loss(self, crops: Tensor, age: Tensor, gender: Tensor) -> Tensor:
        device = self.accelerator.device
        targets = Targets(age.to(device, torch.float32), gender.to(device))
        with self.accelerator.autocast():
            outputs = self.prepared(normalise(crops.to(device, non_blocking=True)))
        if isinstance(outputs, Tensor):
            outputs = [outputs]
        recipe = self.recipe
        losses = [
            multitask_loss(one, targets, self.meta, self.density, recipe.age_share, recipe.linear_from)
            for one in outputs
        ]
        return torch.stack([losses[0], *(self.recipe.stem_readers * loss for loss in losses[1:])]).sum()

    def _look(self, log: RunLog | None, loss: float, speed: float) -> None:
        """Evaluate the averaged weights, keep them where they are the best, and save the state.

        Each process looks at a part of the people, so that none waits for another; all come to the same scores.
        """
        shown = INPUTS if self.recipe.stage == 2 else {"face": INPUTS["face"]}
        scores: dict[str, float] = {}
        for name in shown:
            part = self.accelerator.process_index, int(self.accelerator.num_processes)
            losses = evaluate(self.average.model, self.meta, self.validation, name, self.accelerator.device, part)
            scores |= {f"{name}/mae": losses.mae, f"{name}/gender_accuracy": losses.gender_accuracy}
        mae = scores[f"{next(iter(shown))}/mae"]
        accuracy = scores[f"{next(iter(shown))}/gender_accuracy"]
        if math.isinf(mae):
            raise diverged(self.step, self.place.out, self.recipe.rate)
        score = balance(mae, 1.0 - accuracy)
        self.say(
            f"step {self.step:,} of {self.recipe.steps:,}: loss {loss:.3f}, validation MAE {mae:.2f}, "
            f"gender {accuracy:.1%}, {speed:.0f} samples/s"
        )
        if score < self.best["score"]:
            self.best = {"step": float(self.step), "score": score, **scores}
            if log is not None:
                save_checkpoint(self.place.out / MODEL_NAME, self.model, self.meta, ema=self.average.model.state_dict())
        if log is not None:
            log.add(self.step, {"training": loss, **scores})
            self._save()

    def _save(self) -> None:
        scaler = self.accelerator.scaler
        state = {
            "identity": json.dumps(self._identity, sort_keys=True),
            "step": self.step,
            "best": self.best,
            "learner": self.accelerator.unwrap_model(self.prepared).state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        part = self.place.out / f"{STATE_NAME}.part"
        torch.save(state, part)
        part.replace(self.place.out / STATE_NAME)

    def _resume(self) -> None:
        path = self.place.out / STATE_NAME
        if not path.is_file():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != json.dumps(self._identity, sort_keys=True):
            raise InputError(
                f"{self.place.out} holds a run of another dataset or recipe; name another folder or remove it"
            )
        self.accelerator.unwrap_model(self.prepared).load_state_dict(state["learner"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.best = state["step"], state["best"]
        if 0 < self.step < self.recipe.steps:
            self.say(f"going on after step {self.step:,}")

    def _finish(self, speed: float) -> Result:
        scores = {name: value for name, value in self.best.items() if "/" in name}
        result = Result(self.place.out / MODEL_NAME, int(self.best["step"]), scores, round(speed, 1))
        facts = {
            **self._identity,
            "step": result.step,
            "scores": scores,
            "samples_per_second": result.samples_per_second,
        }
        if leads():
            write_whole(self.place.out / RUN_NAME, (json.dumps(facts, indent=2) + "\n").encode())
        self.accelerator.wait_for_everyone()  # what comes next may start from what was written
        return result
