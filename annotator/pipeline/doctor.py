"""What is wrong with a project's surroundings, and how to mend it: `annotator doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from annotator.errors import AnnotatorError
from annotator.pipeline.findings import Finding, Level
from annotator.pipeline.version import current_fit, ensemble_version
from annotator.predictors.registry import ModelSet, open_models
from annotator.settings import Settings
from annotator.store.session import Store, hidden, open_store, sqlite_file

FREE_GIGABYTES = 2.0
"""Less free space than this is worth a word."""


def examine(settings: Settings) -> list[Finding]:
    """Look at the database, the broker, the weights, the device, the disk, and at Label Studio where one is set.

    A part that cannot be looked at because another one is broken is left out.
    """
    database = _database(settings)
    models, weights = _models(settings)
    found = [database, *_broker(settings), weights, *guarded("device", lambda: [_device(settings)]), *_disks(settings)]
    if not settings.label_studio_url:
        unset = "not set; needed for the review only"
        return [*found, Finding("Label Studio", Level.NOTE, unset, "set label_studio_url and label_studio_api_key")]
    from annotator.pipeline.review.checkup import check_studio

    if database.level is Level.PROBLEM or models is None:
        return found
    with open_store(settings.resolved_database_url) as store:
        version = ensemble_version(models, current_fit(store, models))
        return [*found, *guarded("Label Studio", lambda: check_studio(store, settings, version))]


def guarded(area: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """What ``look`` finds; an error that it raises on purpose is a finding as well."""
    try:
        return look()
    except AnnotatorError as error:
        return [Finding(area, Level.PROBLEM, str(error))]


def _database(settings: Settings) -> Finding:
    url = settings.resolved_database_url
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return Finding("database", Level.PROBLEM, f"there is no {file}", "run annotator init")
    try:
        with open_store(url) as store:
            people = _people(store)
    except AnnotatorError as error:
        return Finding("database", Level.PROBLEM, str(error))
    except Exception as error:  # noqa: BLE001 - a driver's own errors: whatever it is, the database cannot be used
        return Finding(
            "database", Level.PROBLEM, f"{hidden(url)}: {type(error).__name__}", "check database_url and its server"
        )
    return Finding("database", Level.OK, f"{hidden(url)}, {people:,} people")


def _broker(settings: Settings) -> Iterator[Finding]:
    """The Redis that carries jobs to workers; nothing where none is set, since jobs run inside the command then."""
    if settings.broker_url is None:
        return
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(settings.broker_url.get_secret_value(), socket_connect_timeout=3) as broker:
            version = broker.info("server")["redis_version"]
            policy = broker.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    except (RedisError, ValueError) as error:
        mend = "check broker_url and that Redis runs; without broker_url jobs run inside the command"
        yield Finding("broker", Level.PROBLEM, f"does not answer: {type(error).__name__}", mend)
        return
    if policy != "noeviction":
        words = f"Redis {version} may throw messages away ({policy}); they would be sent again, later"
        yield Finding("broker", Level.NOTE, words, "set maxmemory-policy noeviction")
    else:
        yield Finding("broker", Level.OK, f"Redis {version}")


def _people(store: Store) -> int:
    from sqlalchemy import func, select

    from annotator.store.tables import PersonRow

    with store.read() as session:
        return session.scalar(select(func.count()).select_from(PersonRow)) or 0


def _models(settings: Settings) -> tuple[ModelSet | None, Finding]:
    try:
        models = open_models(settings)
        names = [model.name for model in models.predictors]
        versions = [model.version for model in models.predictors]  # reads the weights' checksums
    except AnnotatorError as error:
        return None, Finding("weights", Level.PROBLEM, str(error))
    detector = models.detector.name if models.detector else "given boxes alone"
    what = f"profile {settings.profile}: {detector}, {', '.join(names)}" if versions else "no predictors"
    return models, Finding("weights", Level.OK, what)


def _device(settings: Settings) -> Finding:
    import torch

    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        return Finding(
            "device", Level.PROBLEM, f"device = {settings.device}, but PyTorch sees no GPU",
            "install the driver and a CUDA build of PyTorch, or set device = \"cpu\"",
        )  # fmt: skip
    if torch.cuda.is_available() and settings.device != "cpu":
        return Finding("device", Level.OK, torch.cuda.get_device_name())
    return Finding("device", Level.OK, f"CPU, {torch.get_num_threads()} threads")


def _disks(settings: Settings) -> Iterator[Finding]:
    for name, place in (("project", settings.root), ("models", settings.path(settings.models_dir))):
        folder = _existing(place.resolve())
        free = shutil.disk_usage(folder).free / 1e9
        what = f"{free:.1f} GB free for {name} at {folder}"
        if free < FREE_GIGABYTES:
            yield Finding("disk", Level.PROBLEM, what, "free some space")
        else:
            yield Finding("disk", Level.OK, what)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
