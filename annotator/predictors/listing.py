"""What can be named: the models of the catalogue, and those that the settings add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from annotator.demo import DEMO_MODELS, weights_dir
from annotator.predictors.catalogue import ENTRIES, REMOTE, Entry
from annotator.settings import Settings


@dataclass(frozen=True, slots=True)
class Listed:
    """One named model. ``state`` is ``here``, ``to pull``, ``to bring`` (by hand), ``endpoint`` or ``to configure``;
    ``known`` what of its origin is fixed: ``name``, ``commit``, ``commit and sha256``.
    """

    name: str
    kind: str
    state: str
    licence: str
    inputs: str
    gigabytes: float | None
    memory_gb: float | None
    repository: str | None
    revision: str | None
    pinned: bool
    known: str
    sha256: Mapping[str, str]
    options: Mapping[str, Any]

    @property
    def is_here(self) -> bool:
        """Whether it can be used now."""
        return self.state in ("here", "endpoint")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "is_here": self.is_here}


def listing(settings: Settings) -> list[Listed]:
    """All named models: the catalogue in its order, then endpoints, then models of the settings' own."""
    rows = [_listed(entry, settings) for entry in ENTRIES]
    known = {entry.name for entry in ENTRIES}
    for name in dict.fromkeys((*REMOTE, *settings.chat)):
        rows.append(_endpoint(name, settings))
    for name, options in settings.models.items():
        if name not in known and options.weights:
            rows.append(_own(name, settings))
    return rows


def _listed(entry: Entry, settings: Settings) -> Listed:
    folder = weights_dir(entry.name) if entry.name in DEMO_MODELS else settings.path(settings.models_dir) / entry.name
    state = "here" if folder.exists() else "to bring" if entry.by_hand else "to pull"
    options = entry.options.merged(settings.models[entry.name]) if entry.name in settings.models else entry.options
    return Listed(
        entry.name, entry.kind, state, entry.licence, entry.inputs, entry.gigabytes, entry.memory_gb,
        entry.repository, entry.revision, entry.is_pinned, entry.known, entry.sha256,
        options.model_dump(exclude_unset=True),
    )  # fmt: skip


def _endpoint(name: str, settings: Settings) -> Listed:
    endpoint = settings.chat.get(name)
    place = f"{endpoint.model} at {endpoint.base_url}" if endpoint else None
    state = "endpoint" if endpoint else "to configure"
    return Listed(
        name,
        "predictor",
        state,
        "its operator's terms",
        "the person's crop",
        None,
        None,
        place,
        None,
        False,
        "",
        {},
        {},
    )


def _own(name: str, settings: Settings) -> Listed:
    options = settings.models[name].model_dump(exclude_unset=True)
    return Listed(
        name, "own", "here", "that of its weights", "", None, None, options["weights"], None, False, "", {}, options
    )
