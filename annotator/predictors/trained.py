"""Models that were trained in this project: what they are, what they learnt from, and which of them is used.

They are listed in ``trained.json`` of the project's data folder, which every door reads before it opens models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from annotator.errors import StorageError, UnknownName
from annotator.files import write_whole
from annotator.model_options import ModelOptions
from annotator.settings import Settings

FILE_NAME = "trained.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """One trained model. ``replaces`` is the predictor, as the settings name it, whose place it may take.

    ``dataset`` is the id of the dataset version that it was trained on, ``sha256`` names its weights, ``scores`` are
    those on the held-out people, and ``promoted`` says that it is used instead of ``replaces``. ``learnt_from`` is the
    folder of that dataset, empty where it is not known.
    """

    name: str
    family: str
    weights: str
    sha256: str
    dataset: str
    replaces: str
    scores: Mapping[str, float] = field(default_factory=dict)
    promoted: bool = False
    learnt_from: str = ""

    @property
    def options(self) -> ModelOptions:
        """As a ``[models.NAME]`` table would say it."""
        return ModelOptions(weights=f"{self.family}:{self.weights}")


def read_trained(settings: Settings) -> dict[str, Trained]:
    """All trained models by name, in the order of their registration.

    Raises:
        StorageError: the list cannot be read.
    """
    path = _path(settings)
    if not path.is_file():
        return {}
    try:
        return {entry["name"]: Trained(**entry) for entry in json.loads(path.read_text("utf-8"))}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StorageError(f"cannot read the trained models in {path}: {error}; mend or remove it") from error


def keep_trained(settings: Settings, model: Trained) -> None:
    """Write one model to the list; one that is promoted takes the place of the others with the same ``replaces``."""
    known = read_trained(settings)
    known[model.name] = model
    rows = [
        asdict(one) | {"promoted": one.promoted and not (model.promoted and _rivals(one, model))}
        for one in known.values()
    ]
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(rows, indent=2) + "\n").encode())


def find_trained(name: str, settings: Settings) -> Trained:
    """The trained model of that name.

    Raises:
        UnknownName: there is none.
    """
    known = read_trained(settings)
    if name not in known:
        raise UnknownName("trained model", name, list(known) or ["none yet: annotator models register"])
    return known[name]


def in_use(names: list[str], settings: Settings) -> list[str]:
    """Predictors' names, each replaced by the trained model that was promoted to its place."""
    promoted = {one.replaces: one.name for one in read_trained(settings).values() if one.promoted}
    return [promoted.get(name, name) for name in names]


def _rivals(one: Trained, other: Trained) -> bool:
    return one.name != other.name and one.replaces == other.replaces


def _path(settings: Settings) -> Path:
    return settings.path(settings.data_dir) / FILE_NAME
