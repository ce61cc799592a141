"""The loop closed: what was settled becomes a dataset, that a model, and the model, if it is not worse, is used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from annotator.errors import InputError
from annotator.export.dataset import Options
from annotator.export.manifest import read_manifest
from annotator.pipeline.export import export
from annotator.pipeline.export_rows import Choice, Source
from annotator.pipeline.promote import Promotion, promote, register
from annotator.pipeline.watch import SILENT, Watch
from annotator.predictors.places import locate
from annotator.predictors.trained import Trained, in_use
from annotator.settings import Settings
from annotator.store.session import Store

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


def retrain(store: Store, settings: Settings, plan: Plan, watch: Watch = SILENT) -> Promotion:
    """Export, train, register and promote; called again with nothing new it trains nothing twice.

    Datasets and models lie in the data folder, numbered; each dataset follows the one before, so that nobody who was
    held out is ever trained on. A run that was killed is continued by the next call.

    Raises:
        InputError: there are too few labels.
        WeightsMissing, WeightsInvalid: what the training starts from cannot be loaded.
    """
    (current,) = in_use([plan.replaces], settings)
    start = locate(current, "predictor", settings)
    if start.family not in ("mivolo", "llava"):
        raise InputError(f"'{plan.replaces}' cannot be retrained: it is a {start.family} model")
    home = settings.path(settings.data_dir)
    dataset = _dataset(store, settings, plan, home / DATASETS, watch)
    manifest = read_manifest(dataset)
    identity = str(manifest["id"]) if manifest else ""
    name = f"{Path(plan.replaces.rpartition(':')[2]).stem}-{dataset.name}"
    out = home / MODELS / name
    watch.note(f"training {name} from {current} on dataset {identity[:12]}")
    train = _train_mivolo if start.family == "mivolo" else _train_llava
    weights, scores = train(store, settings, plan, start.path, dataset, out, watch)
    model = Trained(name, start.family, str(weights.resolve()), "", identity, plan.replaces, scores)
    register(store, settings, model)
    return promote(store, settings, name, dataset)


def _dataset(store: Store, settings: Settings, plan: Plan, folder: Path, watch: Watch) -> Path:
    """The newest dataset, or a new one after it where labels have changed since."""
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
    recipe = replace(usual, **(plan.recipe or {}))
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
    # the tables' dataset is the parent, so everybody is in the same split in both
    export(store, settings, talks, options=options, choice=Choice(plan.source), parent=dataset, watch=watch)
    recipe = Recipe(str(base), **(plan.recipe or {}))
    result = fine_tune(read_conversations(talks), recipe, out, device=plan.device, say=watch.note)
    return result.model, {"mae": result.mae, "gender_accuracy": result.gender_accuracy}
