"""The loop closed: what was settled becomes a dataset, that a model, and the model, if it is not worse, is used."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from annotator.errors import ConfigurationError, InputError
from annotator.export.dataset import Options
from annotator.export.manifest import read_manifest
from annotator.pipeline.export import export
from annotator.pipeline.export_rows import Choice, Source
from annotator.pipeline.lessons import EXPORTED_FOR, LEARNT, Lesson, lesson_of, tell, told
from annotator.pipeline.promote import Promotion, held_out, promote, register
from annotator.pipeline.settlement import settle_and_refit
from annotator.pipeline.watch import SILENT, Watch
from annotator.predictors.places import locate
from annotator.predictors.trained import Trained, in_use
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.training.stored import CROPS_NAME, PICTURES_NAME

Family = Literal["mivolo", "llava"]
DATASETS, MODELS = "datasets", "models"
SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to retrain and how.

    Args:
        replaces: the predictor, as the settings name it, whose successor is trained from its own weights.
        source: which labels are learnt from.
        recipe: changes to the family's recipe by name, such as ``steps``, ``batch``, ``rate``.
        device: ``auto`` or ``cpu``.
        split: shares of training, validation (which picks the checkpoint) and test (which decides on promotion).
    """

    replaces: str
    source: Source = "settled"
    recipe: dict[str, Any] | None = None
    device: str = "auto"
    split: dict[str, float] | None = None


class NotYet(InputError):
    """There is nothing to learn: nobody is labelled, nothing is new since the last time, or too few are held out."""


def retrain(store: Store, settings: Settings, plan: Plan, watch: Watch = SILENT) -> Promotion:
    """Export, train, register and promote; what was learnt once, whatever came of it, is not learnt again.

    New is what people said, or whom they said it of: new predictions alone, such as those of the model that was just
    promoted, are not.
    Datasets and models lie in the data folder, numbered; each dataset follows the one before, so that nobody who was
    held out is ever trained on. A run that was killed is continued by the next call.

    Raises:
        NotYet: there is nothing to learn; nothing was trained.
        InputError: it is no model that can be trained here, or its folder holds a training with another recipe.
        ConfigurationError: the recipe has no such field.
        WeightsMissing, WeightsInvalid: what the training starts from cannot be loaded.
    """
    (current,) = in_use([plan.replaces], settings)
    start = locate(current, "predictor", settings)
    if start.family not in ("mivolo", "llava"):
        raise InputError(f"'{plan.replaces}' cannot be retrained: it is a {start.family} model")
    home = settings.path(settings.data_dir)
    lesson = _lesson(store, settings, plan)
    dataset = _dataset(store, settings, plan, lesson, home / DATASETS, watch)
    try:
        held_out(dataset)
    except InputError as error:
        raise NotYet(str(error)) from error
    manifest = read_manifest(dataset)
    identity = str(manifest["id"]) if manifest else ""
    name = f"{Path(plan.replaces.rpartition(':')[2]).stem}-{dataset.name}"
    facts = {"model": name, "replaces": plan.replaces, "dataset": dataset.name}
    if current == name:  # killed after it was promoted, before that was noted
        tell(store, LEARNT, lesson, {**facts, "accepted": True})
        raise NotYet(f"{name}, which has learnt all of it, is in use already")
    out = home / MODELS / name
    watch.note(f"training {name} from {current} on dataset {identity[:12]}")
    train = _train_mivolo if start.family == "mivolo" else _train_llava
    weights, scores = train(store, settings, plan, start.path, dataset, out, watch)
    for kept in (CROPS_NAME, PICTURES_NAME):  # nobody trains in this folder again
        shutil.rmtree(out / kept, ignore_errors=True)
    model = Trained(
        name,
        start.family,
        str(weights.resolve()),
        "",
        identity,
        plan.replaces,
        scores,
        learnt_from=str(dataset.resolve()),
    )
    register(store, settings, model)
    found = promote(store, settings, name, dataset)
    tell(store, LEARNT, lesson, {**facts, "accepted": found.accepted})
    return found


def _lesson(store: Store, settings: Settings, plan: Plan) -> Lesson:
    """What there is to learn now.

    Raises:
        NotYet: nothing, or nothing that a successor of this predictor has not learnt.
    """
    settle_and_refit(store, settings)
    lesson = lesson_of(store, Choice(plan.source))
    if not lesson.people:
        raise NotYet(f"nobody has a label of the kind '{plan.source}' yet")
    for fact in told(store, LEARNT, lesson):
        if fact["replaces"] == plan.replaces:
            raise NotYet(f"no label is new since {fact['model']} was trained")
    return lesson


def _dataset(store: Store, settings: Settings, plan: Plan, lesson: Lesson, folder: Path, watch: Watch) -> Path:
    """The dataset that holds the lesson, or a new one after the newest."""
    for fact in reversed(told(store, EXPORTED_FOR, lesson)):
        if read_manifest(folder / fact["dataset"]):
            return folder / str(fact["dataset"])
    found = _export(store, settings, plan, folder, watch)
    tell(store, EXPORTED_FOR, lesson, {"dataset": found.name})
    return found


def _export(store: Store, settings: Settings, plan: Plan, folder: Path, watch: Watch) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    known = sorted(path for path in folder.iterdir() if path.name.isdigit() and read_manifest(path))
    target = folder / f"{len(known) + 1:04d}"
    options = Options("lagenda", "link", plan.split or SPLIT, settings.seed, balance_tail=True)
    made = export(
        store, settings, target, options=options, choice=Choice(plan.source), parent=known[-1] if known else None,
        watch=watch,
    )  # fmt: skip
    last = read_manifest(known[-1]) if known else None
    if last is not None and last["id"] == made.id:
        for path in sorted(target.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        target.rmdir()
        return known[-1]
    return target


def _train_mivolo(
    store: Store, settings: Settings, plan: Plan, base: Path, dataset: Path, out: Path, watch: Watch
) -> tuple[Path, dict[str, float]]:
    from annotator.predictors.mivolo.checkpoint import load_model
    from annotator.training.mivolo.recipe import STAGE_1, STAGE_2
    from annotator.training.mivolo.start import named_size
    from annotator.training.mivolo.train import Place, train_stage
    from annotator.training.people import read_dataset

    del store, settings
    config = load_model(base, accelerated=False).config
    stage = 1 if config.in_chans == 3 else 2
    usual = replace(STAGE_1 if stage == 1 else STAGE_2, size=named_size(config), init=str(base))
    try:
        recipe = replace(usual, **(plan.recipe or {}))
    except TypeError as error:
        raise _wrong_recipe("mivolo", error) from error
    result = train_stage(read_dataset(dataset), recipe, Place(out, plan.device, say=watch.note))
    return result.model, result.scores


def _train_llava(
    store: Store, settings: Settings, plan: Plan, base: Path, dataset: Path, out: Path, watch: Watch
) -> tuple[Path, dict[str, float]]:
    from annotator.training.mllm.conversations import read_conversations
    from annotator.training.mllm.recipe import Recipe
    from annotator.training.mllm.train import fine_tune

    talks = dataset.with_name(f"{dataset.name}-llava")
    options = Options("llava", "crop", plan.split or SPLIT, settings.seed, balance_tail=True)
    if not read_manifest(talks):  # the tables' dataset is the parent, so everybody is in the same split in both
        export(store, settings, talks, options=options, choice=Choice(plan.source), parent=dataset, watch=watch)
    try:
        recipe = Recipe(str(base), **(plan.recipe or {}))
    except TypeError as error:
        raise _wrong_recipe("llava", error) from error
    result = fine_tune(read_conversations(talks), recipe, out, device=plan.device, say=watch.note)
    return result.model, {"mae": result.mae, "gender_accuracy": result.gender_accuracy}


def _wrong_recipe(family: Family, error: TypeError) -> ConfigurationError:
    return ConfigurationError(f"the recipe for {family} models is wrong: {error}; see [retrain_recipes.{family}]")
