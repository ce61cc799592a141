"""One ``Settings`` object: annotator.toml, overridden by ``ANNOTATOR_*`` variables, overridden by flags."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from annotator.endpoint import Endpoint
from annotator.errors import ConfigurationError, ProjectNotFound
from annotator.model_options import ModelOptions
from annotator.storage_options import StorageOptions, checked, remember

CONFIG_NAME = "annotator.toml"
SECRETS_DIR = "ANNOTATOR_SECRETS_DIR"
"""Names a folder with one file for each secret, such as ``annotator_broker_url``; containers have /run/secrets."""


def default_models_dir() -> Path:
    """Where pulled weights go when nothing else is said: ``$XDG_CACHE_HOME/annotator/models``."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "annotator" / "models"


class Settings(BaseSettings):
    """All settings of one project; every field can be set as ``ANNOTATOR_<FIELD>`` in the environment."""

    model_config = SettingsConfigDict(env_prefix="ANNOTATOR_", extra="forbid", validate_default=True)

    root: Path = Field(default=Path(), description="the project's folder; relative paths start here")
    database_url: str = Field(default="sqlite:///annotator.db", description="SQLAlchemy URL of the database")
    profile: str = Field(default="demo", description="a named set of detector and predictors")
    detector: str | None = Field(default=None, description="detector by name, instead of the profile's")
    predictors: list[str] | None = Field(default=None, description="predictors by name, instead of the profile's")
    models_dir: Path = Field(default_factory=default_models_dir, description="where pulled weights lie")
    data_dir: Path = Field(default=Path("annotator-data"), description="where converted images and crops are written")
    benchmarks_dir: Path = Field(default=Path("benchmarks"), description="where benchmarks lie, a folder each")
    chat: dict[str, Endpoint] = Field(
        default_factory=dict, description="OpenAI-compatible endpoints, by predictor name"
    )
    models: dict[str, ModelOptions] = Field(
        default_factory=dict, description="how a model is run, by its name: tables [models.NAME]"
    )
    hub_endpoint: str | None = Field(default=None, description="mirror of the Hugging Face hub, before HF_ENDPOINT")
    yolo_sha256: str | None = Field(default=None, description="sha256 of the YOLO file that may be loaded")
    licences: dict[str, str] = Field(
        default_factory=dict, description="licence of the images by the beginning of their name or address"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    seed: int = Field(default=0, description="seed of every random choice")

    max_image_bytes: int = Field(default=100_000_000, gt=0, description="larger files are refused")
    max_image_pixels: int = Field(default=50_000_000, gt=0, description="larger images are refused")
    batch_images: int = Field(default=48, gt=0, description="images that are in memory at a time")
    batch_pixels: int = Field(
        default=300_000_000, gt=0, description="pixels that are in memory at a time, 3 bytes each"
    )

    review_rate: float = Field(default=0.2, ge=0, le=1, description="share of people that goes to review")
    audit_rate: float = Field(default=0.02, ge=0, le=1, description="random share of the unflagged that goes to review")
    target_error: float | None = Field(default=None, gt=0, description="review everyone expected to err more, in years")

    cascade_error: float | None = Field(
        default=None,
        gt=0,
        description="predictors after the first see only people on whom the first is expected to err more, in years",
    )

    settle_min_votes: int = Field(default=3, ge=1, description="votes before a person can be settled")
    settle_max_votes: int = Field(default=10, ge=1, description="votes after which an expert is asked")
    settle_age_sd: float = Field(default=2.5, gt=0, description="posterior sd in years at which an age is settled")
    settle_gender_probability: float = Field(default=0.95, gt=0.5, le=1, description="P(gender) that settles it")

    ensemble_votes: bool = Field(
        default=False, description="the ensemble votes along on people with human votes, weighed like any annotator"
    )

    backend_user: str | None = Field(default=None, description="basic-auth user of the ML backend")
    backend_password: SecretStr | None = Field(default=None, description="basic-auth password of the ML backend")
    label_studio_url: str | None = Field(default=None, description="address of Label Studio")
    label_studio_api_key: SecretStr | None = Field(default=None, description="legacy or personal access token")
    backend_webhook_secret: SecretStr | None = Field(default=None, description="what X-Annotator-Secret must carry")
    backend_threads: int = Field(default=2, ge=1, description="images that the ML backend works on at a time")
    backend_seconds: float = Field(default=95, gt=0, description="after this the backend answers with what it has")
    fetch_seconds: float = Field(default=30, gt=0, description="longest download of one image, all of it")
    allow_hosts: list[str] = Field(default_factory=list, description="private hosts that images may be fetched from")
    local_files_root: Path | None = Field(default=None, description="Label Studio's LOCAL_FILES_DOCUMENT_ROOT")
    label_studio_files_root: Path | None = Field(
        default=None, description="the same folder as Label Studio sees it, where that is another path"
    )
    backend_url: str = Field(default="http://127.0.0.1:9090", description="the ML backend as Label Studio reaches it")

    review_name: str = Field(default="People", min_length=3, description="how our projects in Label Studio are called")
    review_control_rate: float = Field(default=0.1, ge=0, lt=1, description="share of control people in vote tasks")
    review_min_controls: int = Field(default=5, ge=1, description="control votes before an annotator can fail them")
    review_max_mae: float = Field(default=12, gt=0, description="years off the controls from which on one fails them")
    review_min_gender: float = Field(default=0.7, ge=0, le=1, description="share of control genders one must match")
    review_count_whole: bool = Field(
        default=False, description="ages and genders of whole-image annotations count as votes, although not blind"
    )
    review_replace_failed: bool = Field(
        default=False, description="open votes of annotators who fail the controls are replaced"
    )

    storages: Annotated[dict[str, StorageOptions], AfterValidator(checked)] = Field(
        default_factory=dict,
        description="object storages by scheme: [storages.s3], [storages.gs], [storages.az]",
    )
    pictures_url: str | None = Field(
        default=None,
        description="s3://bucket/prefix for what Label Studio shows, by signed addresses, instead of local_files_root",
    )
    pictures_days: float = Field(default=7, gt=0, le=7, description="how long signed addresses of pictures are good")

    broker_url: SecretStr | None = Field(
        default=None, description="redis://... that carries jobs to workers; without one they run inside the command"
    )
    broker_prefix: str = Field(default="annotator:", description="prefix of this project's keys in Redis")
    watch: list[str] = Field(default_factory=list, description="places that the nightly job looks for new images in")
    jobs_schedule: str | None = Field(default=None, description="when the nightly job runs, as cron text")
    jobs_timezone: str = Field(default="UTC", description="time zone of the schedules, such as Europe/Berlin")
    retrain_schedule: str | None = Field(default=None, description="when the job 'retrain' runs, as cron text")
    retrain_predictors: list[str] = Field(
        default_factory=list, description="predictors that it trains; by default the project's MiVOLO models"
    )
    retrain_recipes: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="changes to its recipes: [retrain_recipes.mivolo], [retrain_recipes.llava]"
    )
    retrain_time_limit: float = Field(default=86_400, ge=10, description="longest time in seconds for one training")
    jobs_batch_images: int = Field(default=128, ge=1, le=10_000, description="images of one task; 64 to 256 are good")
    jobs_lease_seconds: float = Field(
        default=30, ge=1, le=55, description="a worker not heard of for so long has lost its batch"
    )
    jobs_time_limit: float = Field(default=1800, ge=10, description="longest time in seconds for one batch")
    jobs_report: Path = Field(default=Path("report.html"), description="where the nightly job writes the report")
    jobs_webhook_url: SecretStr | None = Field(default=None, description="gets a summary of each night as JSON")
    log_format: Literal["text", "json"] = Field(default="text", description="how workers and the backend write logs")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, the environment, files of secrets named as its variables, annotator.toml (its path is in ``root``)."""
        root = Path(init_settings.init_kwargs.get("root", "."))  # type: ignore[attr-defined]
        toml = TomlConfigSettingsSource(settings_cls, root / CONFIG_NAME)
        secrets = os.environ.get(SECRETS_DIR)
        files = [SecretsSettingsSource(settings_cls, secrets)] if secrets and Path(secrets).is_dir() else []
        return init_settings, env_settings, *files, toml

    def path(self, relative: Path | str) -> Path:
        """A path as the project sees it: relative ones start at ``root``."""
        return self.root / relative

    @property
    def resolved_database_url(self) -> str:
        """``database_url`` with a relative SQLite path made absolute from ``root``."""
        prefix = "sqlite:///"
        if not self.database_url.startswith(prefix) or ":memory:" in self.database_url:
            return self.database_url
        return prefix + str((self.root / self.database_url[len(prefix) :]).resolve())

    @property
    def own_places(self) -> frozenset[Path]:
        """Files and folders that the project itself keeps, absolute and without links: no images of anybody's."""
        own = {self.path(CONFIG_NAME), self.path(self.data_dir)}
        url = self.resolved_database_url
        if url.startswith("sqlite:///") and ":memory:" not in url:
            database = url.removeprefix("sqlite:///").partition("?")[0]
            own |= {Path(database + end) for end in ("", "-wal", "-shm", "-journal")}
        root = self.root.resolve()  # a data folder that holds the project holds the images as well
        return frozenset(place.resolve() for place in own if not root.is_relative_to(place.resolve()))


def find_project(start: Path | None = None) -> Path:
    """The folder that holds annotator.toml: ``start``, a parent of it, or its only child that has one.

    The last rule lets ``annotator init x && annotator ingest ...`` work without a ``cd`` in between.

    Raises:
        ProjectNotFound: there is none.
        ConfigurationError: several child folders have one.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder
    children = sorted(path.parent for path in here.glob(f"*/{CONFIG_NAME}"))
    if len(children) == 1:
        return children[0]
    if children:
        names = ", ".join(child.name for child in children)
        raise ConfigurationError(f"several projects here ({names}); name one with --project")
    raise ProjectNotFound


def load_settings(root: Path, **overrides: Any) -> Settings:
    """The settings of the project in ``root``; ``overrides`` are flags, ``None`` values mean "not given".

    Raises:
        ConfigurationError: a value is wrong, or annotator.toml is not TOML; names the setting.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        settings = Settings(root=root, **given)
        remember(settings.storages)
        return settings
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ConfigurationError(f"setting '{name}' in {CONFIG_NAME} or ANNOTATOR_*: {first['msg']}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{root / CONFIG_NAME} is not valid TOML: {error}") from error
