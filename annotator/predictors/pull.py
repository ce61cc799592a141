"""Getting weights: a pinned repository of the Hugging Face hub becomes a folder that the registry finds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotator.demo import DEMO_MODELS, weights_dir
from annotator.errors import InputError, ServiceError, StorageError, UnknownName
from annotator.predictors.catalogue import CATALOGUE, ENTRIES, Entry
from annotator.settings import Settings


@dataclass(frozen=True, slots=True)
class Listed:
    """One named model, and whether its weights are on this machine."""

    name: str
    kind: str
    licence: str
    gigabytes: float
    repository: str | None
    revision: str | None
    is_here: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def listing(settings: Settings) -> list[Listed]:
    """All named models in the order of the catalogue."""
    return [
        Listed(
            entry.name,
            entry.kind,
            entry.licence,
            entry.gigabytes,
            entry.repository,
            entry.revision,
            (weights_dir(entry.name) if entry.name in DEMO_MODELS else _folder(entry, settings)).exists(),
        )
        for entry in ENTRIES
    ]


def pull(name: str, settings: Settings, say: Callable[[str], None]) -> Path:
    """The folder with a model's weights, downloaded (and converted) if it is not there yet.

    An interrupted download goes on where it stopped; the folder appears when everything is in it. ``say`` is told what
    is about to be fetched, and under which licence.

    Raises:
        UnknownName: there is no such model.
        InputError: its weights ship with this package.
        ServiceError: the hub cannot be reached or refuses.
        StorageError: there is no room or no permission.
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        raise UnknownName("model", name, list(CATALOGUE))
    if entry.repository is None:
        raise InputError(f"the weights of '{name}' ship with annotator; there is nothing to pull")
    folder = _folder(entry, settings)
    if not folder.exists():
        say(f"fetching {entry.repository} ({entry.gigabytes:g} GB, {entry.licence}) into {folder.parent}")
        _get(entry, entry.repository, folder)
    return folder


def _folder(entry: Entry, settings: Settings) -> Path:
    return settings.path(settings.models_dir) / entry.name


def _get(entry: Entry, repository: str, folder: Path) -> None:
    part = folder.with_name(f".{folder.name}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
        _download(repository, entry.revision, part / "weights", entry.files)
        if entry.convert:
            _convert(entry, part)
        (part / "weights").rename(folder)
        shutil.rmtree(part)
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder.parent}: {error.strerror or error}; free space or set models_dir"
        ) from error


def _convert(entry: Entry, part: Path) -> None:
    from annotator.predictors.llava.convert import convert

    if entry.tower:
        _download(entry.tower, None, part / "tower", ("*.json", "*.bin", "*.safetensors"))
    converted = part / "converted"
    convert(part / "weights", converted, part / "tower" if entry.tower else None)
    shutil.rmtree(part / "weights")
    converted.rename(part / "weights")


def _download(repository: str, revision: str | None, folder: Path, files: tuple[str, ...]) -> None:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=list(files))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.TransportError) as error:
        raise ServiceError(
            f"cannot reach the Hugging Face hub for {repository}; run the command where there is network and copy "
            f"the models folder here, or set HF_ENDPOINT to a mirror"
        ) from error
    except HfHubHTTPError as error:
        raise ServiceError(f"the Hugging Face hub refused {repository}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
