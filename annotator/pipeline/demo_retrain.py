"""The demo's loop closed: weakened models learn from one round of review, and are measured on unseen pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from annotator.demo import weights_dir
from annotator.demo.figures import write_pictures
from annotator.demo.votes import ANNOTATORS, simulate_votes
from annotator.evaluation.bootstrap import Interval, bootstrap_means
from annotator.images.lagenda import csv_items
from annotator.pipeline.demo_score import known_people
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.project import create_project
from annotator.pipeline.promote import Losses, losses
from annotator.pipeline.retrain import Plan, retrain
from annotator.pipeline.settle import settle
from annotator.pipeline.votes import record_votes
from annotator.pipeline.watch import SILENT, Watch
from annotator.predictors.registry import open_models, open_predictor
from annotator.settings import Settings
from annotator.store.session import open_store
from annotator.training.people import KnownPerson

UNSEEN_SEED = 51_000_000
"""Far from the seeds of demos and of the shipped weights' training."""

NOISE = {"mivolo": 0.3, "llava": 1.0}
"""Noise in the layers that give the answer, in standard deviations of their weights, that makes the models weak."""

RECIPES: Mapping[str, dict[str, Any]] = {
    "mivolo": {"steps": 120, "batch": 32, "rate": 4e-4, "evaluate_every": 40, "drop": 0.0},
    "llava": {"steps": 90, "batch": 16, "rate": 3e-4, "save_steps": 30, "validation_people": 150},
}


@dataclass(frozen=True, slots=True)
class Change:
    """One model before and after: MAE in years and share of right genders on unseen people, each with its interval."""

    name: str
    promoted: bool
    why: str
    people: int
    mae: tuple[Interval, Interval]
    gender_accuracy: tuple[Interval, Interval]


def run_retraining(
    root: Path, *, pictures: int = 200, unseen: int = 100, seed: int = 0, watch: Watch = SILENT
) -> list[Change]:
    """Weaken both models, pre-label with them, let simulated annotators vote on everybody, retrain, and measure.

    Everything lies in ``root``, a project of its own. The unseen pictures come from another seed: neither the
    training nor the review sees them.
    """
    watch.note(f"drawing {pictures} pictures to learn from and {unseen} unseen ones")
    truth = write_pictures(root / "pictures", pictures, seed)
    people = _people(write_pictures(root / "unseen", unseen, UNSEEN_SEED + seed))
    weak = {family: _weaken(family, root / f"weak-{family}", seed) for family in NOISE}
    names = [f"{family}:{folder}" for family, folder in weak.items()]
    settings = create_project(root, "demo").settings.model_copy(
        update={"profile": "demo", "seed": seed, "predictors": names, "review_rate": 1.0}
    )
    before = {name: _losses(name, settings, people) for name in names}
    with open_store(settings.resolved_database_url) as store:
        ingest(store, settings, [str(root / "pictures")], watch)
        prelabel(store, settings, open_models(settings), watch=watch)
        known = known_people(store, truth)
        asked = sorted(known.truths.items())
        record_votes(store, simulate_votes(asked, seed=seed, votes_per_person=len(ANNOTATORS)))
        settle(store, settings)
        changes = []
        for name, family in zip(names, weak, strict=True):
            plan = Plan(name, "settled", dict(RECIPES[family]), "cpu")
            found = retrain(store, settings, plan, watch)
            used = found.name if found.accepted else name
            changes.append(
                _change(found.name, found.accepted, found.why, before[name], _losses(used, settings, people))
            )
    return changes


def _people(table: Path) -> list[KnownPerson]:
    """Everybody drawn, with the boxes of the pen."""
    found = []
    for item in csv_items(table, 0):
        for number, person in enumerate(item.persons):
            others = [other for k, other in enumerate(item.persons) if k != number]
            faces = tuple(other.face for other in others if other.face)
            bodies = tuple(other.body for other in others if other.body)
            age, gender = person.truth.age, person.truth.gender
            female = None if gender is None else gender == "female"
            image = table.parent / item.name
            found.append(KnownPerson(image, person.body, person.face, faces, bodies, age, female, 1.0))
    return found


def _weaken(family: str, folder: Path, seed: int) -> Path:
    """The shipped weights with noise in the layers that give the answer."""
    torch.manual_seed(seed)
    if family == "mivolo":
        from annotator.predictors.mivolo.checkpoint import load_model
        from annotator.predictors.mivolo.saving import save_pretrained

        model = load_model(weights_dir("demo-mivolo"), accelerated=False)
        _disturb([model.head.weight, model.aux_head.weight], NOISE[family])
        save_pretrained(folder, model, model.meta)
        return folder
    from annotator.predictors.llava.checkpoint import load_llava, load_tokenizer, save_llava

    source = weights_dir("demo-mllm")
    llava = load_llava(source)
    _disturb([llava.model.multi_modal_projector.linear_2.weight, llava.lm_head.weight], NOISE[family])
    save_llava(llava, load_tokenizer(source), folder)
    return folder


@torch.no_grad()
def _disturb(weights: list[torch.Tensor], share: float) -> None:
    for one in weights:
        one.add_(share * one.std() * torch.randn_like(one))


def _losses(name: str, settings: Settings, people: list[KnownPerson]) -> Losses:
    return losses(open_predictor(name, settings).get(), people)


def _change(name: str, promoted: bool, why: str, before: Losses, after: Losses) -> Change:
    table = np.stack([before.age, after.age, 1.0 - before.gender, 1.0 - after.gender], axis=1)
    mae_before, mae_after, gender_before, gender_after = bootstrap_means(table, image=before.image)
    return Change(name, promoted, why, len(table), (mae_before, mae_after), (gender_before, gender_after))
