"""Where the weights behind a name lie, and how the settings want that model run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from annotator.demo import DEMO_MODELS, DEMO_NOTICE, weights_dir
from annotator.errors import ConfigurationError, WeightsMissing
from annotator.model_options import ModelOptions
from annotator.predictors.catalogue import CATALOGUE, PROFILES, Entry, Family, Kind, entry
from annotator.predictors.trained import read_trained
from annotator.settings import Settings

DETECTOR_FAMILIES = ("huggingface", "yunet", "yolo")
PREDICTOR_FAMILIES = ("mivolo", "llava")

OPTIONS: dict[Family, frozenset[str]] = {
    "huggingface": frozenset({"batch_size"}),
    "yunet": frozenset(),
    "yolo": frozenset({"batch_size"}),
    "mivolo": frozenset({"batch_size", "inputs", "crops", "dtype", "compiled"}),
    "llava": frozenset({"batch_size", "dtype", "answer", "template", "crop", "tree", "quantisation", "device_map"}),
}
"""Which options of ``[models.NAME]`` each family has, besides ``weights``."""


@dataclass(frozen=True, slots=True)
class Place:
    """Weights on this machine: the model's name, how they are read, where they lie, what must be said of them."""

    name: str
    family: Family
    path: Path
    notice: str | None = None
    options: ModelOptions = field(default_factory=ModelOptions)


def model_options(name: str, settings: Settings) -> ModelOptions:
    """How the model of that name is run: the catalogue's options, under the profile's, under ``[models.NAME]``.

    A trained model has its weights from the project's list of those.
    """
    trained = read_trained(settings)
    own = settings.models.get(name, ModelOptions())
    if name in trained:
        own = trained[name].options.merged(own)
    target = own.weights or name
    options = CATALOGUE[target].options if target in CATALOGUE else ModelOptions()
    profile = PROFILES.get(settings.profile)
    if profile and name in profile.options:
        options = options.merged(profile.options[name])
    return options.merged(own)


def locate(name: str, kind: Kind, settings: Settings) -> Place:
    """Where the weights of a named model, or of ``FAMILY:PATH``, lie.

    Raises:
        UnknownName: neither a name nor a family.
        WeightsMissing: there is nothing at the place; says what to do.
        ConfigurationError: the settings give it an option that it does not have.
    """
    options = model_options(name, settings)
    place = _place(options.weights or name, kind, settings)
    _check_options(name, place.family, options)
    return replace(place, name=name if options.weights else place.name, options=options)


def _check_options(name: str, family: Family, options: ModelOptions) -> None:
    unknown = options.model_fields_set - OPTIONS[family] - {"weights"}
    if unknown:
        raise ConfigurationError(
            f"[models.{name}] sets {', '.join(sorted(unknown))}, which {family} models do not have; they have "
            f"{', '.join(sorted(OPTIONS[family])) or 'none'}"
        )


def _place(name: str, kind: Kind, settings: Settings) -> Place:
    family, colon, path = name.partition(":")
    if colon and family in (DETECTOR_FAMILIES if kind == "detector" else PREDICTOR_FAMILIES):
        own = settings.path(Path(path).expanduser())
        if not own.exists():
            raise WeightsMissing(f"there are no weights at {own} for {kind} '{name}'; check the path")
        return Place(own.stem, cast("Family", family), own)
    found = entry(name, kind)
    if name in DEMO_MODELS:
        return _shipped(found)
    folder = settings.path(settings.models_dir) / name
    weights = folder / found.weights if found.weights else folder
    if not weights.exists():
        raise WeightsMissing(f"the weights of '{name}' are not in {folder}; run {_get_command(found)}")
    return Place(name, found.family, weights)


def _get_command(found: Entry) -> str:
    command = f"`annotator models pull {found.name}`"
    if found.by_hand:
        return f"`annotator models pull {found.name} --from FILE` with {found.by_hand}"
    return f"{command}, without network `annotator models pull {found.name} --from FOLDER`"


def _shipped(found: Entry) -> Place:
    folder = weights_dir(found.name)
    if not folder.is_dir():
        raise WeightsMissing(f"the weights of '{found.name}' are missing from this installation; install it again")
    return Place(found.name, found.family, folder, DEMO_NOTICE)
