"""Getting weights: a repository of the Hugging Face hub, or a local folder, becomes one that the registry finds."""

from __future__ import annotations

import fnmatch
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from annotator.errors import InputError, ServiceError, StorageError, UnknownName, WeightsInvalid, WeightsMissing
from annotator.files import write_whole
from annotator.predictors.catalogue import CATALOGUE, REMOTE, Entry
from annotator.predictors.digests import file_digest
from annotator.predictors.weights import SOURCE_FILE
from annotator.settings import Settings

TOWER_FILES = ("*.json", "*.bin", "*.safetensors")

Say = Callable[[str], None]
Progress = Callable[[int], None]


def pull(name: str, settings: Settings, say: Say, progress: Progress, source: Path | None = None) -> Path:
    """The folder with a model's weights, fetched (and converted) if it is not there yet.

    An interrupted download goes on where it stopped; the folder appears when everything is in it, with a record of
    where each file came from. ``say`` is told what is about to be fetched, and under which licence; ``progress`` how
    many more bytes have come. With ``source`` nothing is downloaded: it is a file or folder of this machine, such as a
    clone of the repository or a pulled folder of another machine (or a folder that holds these by their names).

    Raises:
        UnknownName: there is no such model.
        InputError: its weights ship with this package, lie behind an endpoint, or must be given by ``source``.
        ServiceError: the hub cannot be reached or refuses.
        WeightsMissing: ``source`` does not hold the model.
        WeightsInvalid: a file is not what the hub or the catalogue says, or does not convert.
        StorageError: there is no room or no permission.
    """
    entry = _pullable(name, source)
    folder = settings.path(settings.models_dir) / entry.name
    if folder.exists():
        return folder
    part = folder.with_name(f".{folder.name}.part")
    try:
        part.mkdir(parents=True, exist_ok=True)
        if source is None:
            _download_all(entry, part, settings, say, progress)
        else:
            _copy_all(entry, part, source, say)
        if entry.convert and not _is_converted(part / "weights"):
            _convert(part)
        (part / "weights").rename(folder)
        shutil.rmtree(part)
    except ServiceError as error:
        raise ServiceError(f"{error}; {_elsewhere(entry, folder)}") from error
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder.parent}: {error.strerror or error}; free space or set models_dir"
        ) from error
    return folder


def _elsewhere(entry: Entry, folder: Path) -> str:
    return (
        f"run `annotator models pull {entry.name}` where there is network, copy the folder {folder.name} from its "
        f"models_dir here and run `annotator models pull {entry.name} --from FOLDER`; or set HF_ENDPOINT to a mirror"
    )


def _pullable(name: str, source: Path | None) -> Entry:
    entry = CATALOGUE.get(name)
    if name in REMOTE:
        raise InputError(f"'{name}' has no weights: it is an endpoint, set [chat.{name}] in annotator.toml")
    if entry is None:
        raise UnknownName("model", name, list(CATALOGUE))
    if entry.by_hand and source is None:
        raise InputError(f"'{name}' is {entry.by_hand}; fetch it, then `annotator models pull {name} --from FILE`")
    if entry.repository is None and not entry.by_hand:
        raise InputError(f"the weights of '{name}' ship with annotator; there is nothing to pull")
    return entry


def _download_all(entry: Entry, part: Path, settings: Settings, say: Say, progress: Progress) -> None:
    from annotator.predictors.hub import fetch, look_up

    endpoint = settings.hub_endpoint
    origins = [(entry.repository, entry.revision, entry.files, "weights")]
    if entry.tower:
        origins.append((entry.tower, None, TOWER_FILES, "tower"))
    found = [
        (look_up(str(name), revision, files, endpoint), part / folder) for name, revision, files, folder in origins
    ]
    size = sum(repository.size for repository, _ in found) / 1e9
    say(f"fetching {entry.repository} ({size:.3g} GB, {entry.licence}) into {part.parent}")
    if not entry.is_pinned:
        say(f"{entry.repository} is not pinned: what it is now, commit {found[0][0].commit}")
    records: list[dict[str, object]] = []
    for repository, folder in found:
        digests = fetch(repository, folder, entry.sha256, endpoint, progress)
        records.append({"repository": repository.name, "commit": repository.commit, "files": digests})
    _record(part / "weights", entry, records)


def _copy_all(entry: Entry, part: Path, source: Path, say: Say) -> None:
    """From a local place: a file, a clone of the repository, or a folder that was pulled elsewhere."""
    source = source.expanduser()
    say(f"taking '{entry.name}' from {source} ({entry.licence})")
    shutil.rmtree(part)
    part.mkdir()
    weights = part / "weights"
    if source.is_file():
        if entry.weights is None:
            raise WeightsMissing(f"'{entry.name}' is a folder of files, {source} is a single one")
        weights.mkdir()
        shutil.copyfile(source, weights / entry.weights)
        _record(weights, entry, [_copied(source.name, weights, entry)])
        return
    _copy(_inside(source, entry.name, entry.repository), weights, entry)
    if (weights / SOURCE_FILE).exists():
        check_files(weights)
        return
    records = [_copied(str(source), weights, entry)]
    tower = _inside(source, entry.tower) if entry.tower else source
    if tower != source:
        shutil.copytree(tower, part / "tower", ignore=shutil.ignore_patterns(".*"))
    _record(weights, entry, records)


def _inside(source: Path, *names: str | None) -> Path:
    """The folder of ``source`` that has one of the names, or ``source`` itself."""
    inner = (source / name.rsplit("/", 1)[-1] for name in names if name)
    return next((folder for folder in inner if folder.is_dir()), source)


def _copy(source: Path, weights: Path, entry: Entry) -> None:
    if not source.is_dir():
        raise WeightsMissing(f"there is no folder {source}; name the one with the files of {entry.repository}")
    pulled = (source / SOURCE_FILE).is_file()
    wanted = ("*",) if pulled else entry.files or (entry.weights or "*",)
    files = [file for file in source.iterdir() if any(fnmatch.fnmatch(file.name, pattern) for pattern in wanted)]
    files = [file for file in files if file.is_file()]
    if not any(file.suffix in (".bin", ".safetensors", ".pt", ".tar") for file in files):
        raise WeightsMissing(f"{source} holds none of {', '.join(wanted)} of '{entry.name}'")
    weights.mkdir()
    for file in files:
        shutil.copyfile(file, weights / file.name)


def _copied(origin: str, weights: Path, entry: Entry) -> dict[str, object]:
    """The record of copied files.

    Raises:
        WeightsInvalid: one is not what the catalogue says.
    """
    digests = {file.name: file_digest(file) for file in sorted(weights.iterdir())}
    for name, wanted in entry.sha256.items():
        if digests.get(name) != wanted:
            raise WeightsInvalid(f"{name} from {origin} has sha256 {digests.get(name)}, not {wanted}")
    return {"repository": origin, "commit": None, "files": digests}


def _record(weights: Path, entry: Entry, records: list[dict[str, object]]) -> None:
    """Beside the weights: whence they came, and the sha256 of each file as it came."""
    content = {"name": entry.name, "licence": entry.licence, "sources": records}
    write_whole(weights / SOURCE_FILE, (json.dumps(content, indent=2) + "\n").encode())


def _is_converted(weights: Path) -> bool:
    config = json.loads((weights / "config.json").read_text("utf-8"))
    return str(config.get("model_type")) == "llava" and "vision_config" in config


def _convert(part: Path) -> None:
    from annotator.predictors.llava.convert import convert

    converted, tower = part / "converted", part / "tower"
    shutil.rmtree(converted, ignore_errors=True)
    convert(part / "weights", converted, tower if tower.exists() else None)
    record = json.loads((part / "weights" / SOURCE_FILE).read_text("utf-8"))
    record["converted"] = {file.name: file_digest(file) for file in sorted(converted.iterdir())}
    write_whole(converted / SOURCE_FILE, (json.dumps(record, indent=2) + "\n").encode())
    shutil.rmtree(part / "weights")
    converted.rename(part / "weights")


def check_files(weights: Path) -> dict[str, str] | None:
    """The sha256 of each file that the record beside pulled weights names; ``None`` where there is no record.

    Raises:
        WeightsInvalid: a file is missing or is not what was pulled.
    """
    try:
        record = json.loads((weights / SOURCE_FILE).read_text("utf-8"))
        wanted: dict[str, str] = record.get("converted") or record["sources"][0]["files"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, IndexError) as error:
        raise WeightsInvalid(f"{weights / SOURCE_FILE} is damaged; remove the folder and pull it again") from error
    for name, digest in wanted.items():
        file = weights / name
        if not file.is_file() or file_digest(file) != digest:
            state = "is missing" if not file.is_file() else "is not what was pulled"
            raise WeightsInvalid(f"{file} {state}; remove the folder and pull it again")
    return wanted
