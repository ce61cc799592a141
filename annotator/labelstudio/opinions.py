"""What is pushed to one whole-image task: the ensemble's prediction, and one of each predictor beside it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from annotator.domain import Fused, Prediction, PreLabel
from annotator.labelstudio.controls import Controls
from annotator.labelstudio.payload import ShownImage, ShownPerson, evidence_lines, person_items, prediction


def opinions(image: ShownImage, controls: Controls, version: str) -> list[dict[str, Any]]:
    """The ensemble's prediction, then one for each predictor's version that said something of anybody."""
    versions = dict.fromkeys(one.version for shown in image.people for one in shown.predictions)
    alone = [_alone(image, controls, name) for name in versions]
    return [prediction(image, controls, version), *(one for one in alone if one["result"])]


def digest(wanted: Sequence[Mapping[str, Any]]) -> str:
    """One text for everything that a task should hold: equal where nothing needs to be pushed again."""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


def _alone(image: ShownImage, controls: Controls, version: str) -> dict[str, Any]:
    """The prediction of one predictor: boxes with its gender and age, without reasons and review choices."""
    bare = replace(controls, review=None, evidence=None)
    people = [one for shown in image.people if (one := _only(shown, version)) is not None]
    only = replace(image, people=tuple(people))
    result = []
    for shown in people:
        items = person_items(shown, only, bare)
        for item in items:
            if "meta" in item:
                item["meta"] = {"text": evidence_lines(shown, image.notices)[:1]}
        result += items
    return {"result": result, "score": None, "model_version": version}


def _only(shown: ShownPerson, version: str) -> ShownPerson | None:
    said = next((one for one in shown.predictions if one.version == version and one.has_value), None)
    if said is None:
        return None
    return replace(shown, predictions=(said,), prelabel=PreLabel(_as_fused(shown, said), 0.0, False, ()))


def _as_fused(shown: ShownPerson, said: Prediction) -> Fused:
    unknown = math.nan
    name = shown.person.person_id
    return Fused(name, said.age, said.age_sd, None, None, said.female_probability, unknown, unknown, (), said.version)
