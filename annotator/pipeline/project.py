"""Making a project: its settings file, and a database with this version's tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from annotator.errors import UnknownName
from annotator.files import write_whole
from annotator.pipeline.template import config_text
from annotator.predictors.catalogue import PROFILES
from annotator.settings import CONFIG_NAME, Settings, load_settings
from annotator.store.schema import HEAD, current_revision, upgrade
from annotator.store.session import make_engine


@dataclass(frozen=True, slots=True)
class Created:
    """What became of the settings file and the database: ``created``, ``kept`` or ``upgraded``."""

    settings: Settings
    config: Path
    config_was: str
    database_was: str


def create_project(root: Path, profile: str = "demo") -> Created:
    """Writes annotator.toml into ``root`` (an existing one stays) and creates or upgrades the database.

    Raises:
        UnknownName: there is no such profile.
        ConfigurationError: an existing annotator.toml is wrong.
        DatabaseError: the database was written by a newer version.
    """
    if profile not in PROFILES:
        raise UnknownName("profile", profile, list(PROFILES))
    root.mkdir(parents=True, exist_ok=True)
    config = root / CONFIG_NAME
    is_new = not config.exists()
    if is_new:
        write_whole(config, config_text(profile).encode())
    settings = load_settings(root)
    return Created(settings, config, "created" if is_new else "kept", upgrade_database(settings))


def upgrade_database(settings: Settings) -> str:
    """Brings the project's database to this version; says whether it was ``created``, ``kept`` or ``upgraded``."""
    engine = make_engine(settings.resolved_database_url)
    try:
        before = current_revision(engine)
        upgrade(engine)
    finally:
        engine.dispose()
    if before == HEAD:
        return "kept"
    return "upgraded" if before else "created"
