"""Pre-labels as Label Studio reads them: one prediction for one task of the whole-image project.

Coordinates are percent of the EXIF-oriented image, as the browser shows it. Region ids are made of the person's id, so
that the same person has the same region in every prediction and in every annotation made from one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotator.domain import MAX_AGE, Box, Fused, Gender, Person, Prediction, PreLabel, ReviewReason
from annotator.labelstudio.controls import Controls

Item = dict[str, Any]
"""One element of a prediction's ``result``."""

UNSURE_YEARS = 5.0
"""The priority, in years of expected error, at which a prediction's score is one half."""

REVIEW_CHOICES: Mapping[ReviewReason, str] = {
    ReviewReason.AGE_DISAGREEMENT: "age_disagrees",
    ReviewReason.GENDER_DISAGREEMENT: "gender_disagrees",
    ReviewReason.LOW_CONFIDENCE: "low_confidence",
    ReviewReason.WIDE_INTERVAL: "wide_interval",
    ReviewReason.REFUSED: "refused",
    ReviewReason.NO_FACE: "no_face",
    ReviewReason.SMALL_CROP: "small_crop",
    ReviewReason.OVERLAP: "overlap",
    ReviewReason.AUDIT: "random_check",
}
"""How the configuration spells each reason. ``control`` is absent on purpose: a control task looks like any other."""

REASON_WORDS: Mapping[ReviewReason, str] = {
    ReviewReason.AGE_DISAGREEMENT: "the models' ages differ",
    ReviewReason.GENDER_DISAGREEMENT: "the models disagree on the gender",
    ReviewReason.LOW_CONFIDENCE: "the models are not sure",
    ReviewReason.WIDE_INTERVAL: "the age is uncertain",
    ReviewReason.REFUSED: "a model gave no answer",
    ReviewReason.NO_FACE: "no face was found",
    ReviewReason.SMALL_CROP: "the person is small",
    ReviewReason.OVERLAP: "another person covers this one",
    ReviewReason.AUDIT: "picked at random as a check",
}


@dataclass(frozen=True, slots=True)
class ShownPerson:
    """One person with all that an annotator is shown of them."""

    person: Person
    predictions: tuple[Prediction, ...]
    prelabel: PreLabel


@dataclass(frozen=True, slots=True)
class ShownImage:
    """One image's people; ``width`` and ``height`` in pixels of the EXIF-oriented image.

    ``notices`` maps a predictor's name to what must be said wherever a prediction of it is shown.
    """

    width: int
    height: int
    people: tuple[ShownPerson, ...]
    notices: Mapping[str, str] = field(default_factory=dict)


def prediction(image: ShownImage, controls: Controls, model_version: str) -> dict[str, Any]:
    """The prediction of one task: ``{"result": [...], "score": ..., "model_version": ...}``.

    ``score`` is low where people should look first, because Label Studio's uncertainty order is lowest score first.
    """
    result = [item for shown in image.people for item in person_items(shown, image, controls)]
    if not result and controls.flags is not None:
        flag = {"from_name": controls.flags, "to_name": controls.image, "type": "choices"}
        result = [{**flag, "id": "no-person", "value": {"choices": ["no_person"]}}]
    return {"result": result, "score": attention_score(image.people), "model_version": model_version}


def attention_score(people: Iterable[ShownPerson]) -> float:
    """``1 / (1 + p / 5)`` of the most urgent person's priority ``p`` (years), rounded; 0.5 where nobody was found.

    >>> attention_score(())
    0.5
    """
    priorities = [shown.prelabel.priority for shown in people]
    if not priorities:
        return 0.5
    worst = max(priority if math.isfinite(priority) else math.inf for priority in priorities)
    return round(1 / (1 + max(0.0, worst) / UNSURE_YEARS), 4)


def person_items(shown: ShownPerson, image: ShownImage, controls: Controls) -> list[Item]:
    """Boxes, relation, gender, age, review choices and evidence of one person; empty where no box can be drawn.

    A person of whom only the face was found gets a person box of the face's size, because the configuration asks
    gender and age of person boxes.
    """
    person = shown.person
    face = percent_box(person.face, image.width, image.height)
    body = percent_box(person.body, image.width, image.height) or face
    if body is None:
        return []
    items = _body_items(shown, body, image, controls)
    if face is not None and controls.face is not None:
        items += _face_items(person, face, image, controls)
    return items


def percent_box(box: Box | None, width: int, height: int) -> dict[str, float] | None:
    """A box as ``x``, ``y``, ``width``, ``height`` in percent of the image, inside it; ``None`` where nothing is left.

    >>> percent_box(Box(-10, 0, 50, 25), 100, 50)
    {'x': 0.0, 'y': 0.0, 'width': 50.0, 'height': 50.0, 'rotation': 0}
    """
    if box is None or width <= 0 or height <= 0 or not all(map(math.isfinite, box.as_tuple())):
        return None
    inside = box.clipped(width, height)
    x, y = round(100 * inside.x0 / width, 4), round(100 * inside.y0 / height, 4)
    right, bottom = round(100 * inside.x1 / width, 4), round(100 * inside.y1 / height, 4)
    if right <= x or bottom <= y:
        return None
    return {"x": x, "y": y, "width": round(right - x, 4), "height": round(bottom - y, 4), "rotation": 0}


def evidence_lines(shown: ShownPerson, notices: Mapping[str, str]) -> list[str]:
    """Why people should look, what each model said, what the ensemble made of it, and the models' notices.

    ``control`` is never among the reasons.
    """
    words = _reason_words(shown)
    lines = [("Please check: " if shown.prelabel.review else "Note: ") + "; ".join(words)] if words else []
    lines += [_prediction_line(one) for one in shown.predictions]
    lines.append(_fused_line(shown.prelabel.fused))
    return lines + _notice_lines(shown.predictions, notices)


def _notice_lines(predictions: Sequence[Prediction], notices: Mapping[str, str]) -> list[str]:
    """Each notice once, with the models that it is about."""
    about: dict[str, list[str]] = {}
    for one in predictions:
        if one.predictor in notices:
            about.setdefault(notices[one.predictor], []).append(one.predictor)
    return [f"{', '.join(names)}: {notice}" for notice, names in about.items()]


def _body_items(shown: ShownPerson, box: dict[str, float], image: ShownImage, controls: Controls) -> list[Item]:
    person, fused = shown.person, shown.prelabel.fused
    make = _Maker(person.person_id, box, image, controls)
    lines = evidence_lines(shown, image.notices)
    region = make.item(controls.box, "rectanglelabels", [controls.person], person.body_score or person.face_score)
    items = [region]
    if fused.female_probability is not None and math.isfinite(fused.female_probability):
        value = controls.female if fused.gender is Gender.FEMALE else controls.male
        sure = max(fused.female_probability, 1 - fused.female_probability)
        items.append(make.item(controls.gender, "choices", [value], sure))
    if fused.age is not None and math.isfinite(fused.age):
        years = min(max(round(fused.age), 0), MAX_AGE)
        items.append(make.item(controls.age, "number", years, 1 - fused.large_error_probability))
    choices = _review_choices(shown, controls)
    if choices and controls.review is not None:
        items.append(make.item(controls.review, "choices", choices))
    if controls.evidence is not None:
        items.append(make.item(controls.evidence, "textarea", ["\n".join(f"• {line}" for line in lines)]))
    else:
        region["meta"] = {"text": lines}
    return items


def _face_items(person: Person, box: dict[str, float], image: ShownImage, controls: Controls) -> list[Item]:
    region_id = f"{person.person_id}-face"
    make = _Maker(region_id, box, image, controls)
    face = make.item(controls.box, "rectanglelabels", [controls.face], person.face_score)
    face["parentID"] = person.person_id
    if controls.relation is None:
        return [face]
    return [
        face,
        {
            "type": "relation",
            "from_id": region_id,
            "to_id": person.person_id,
            "direction": "right",
            # no label: the arrow says it, and a label would hide the face under it
            "labels": [],
        },
    ]


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the items of one region: all carry its id, its box and the image's size."""

    region_id: str
    box: dict[str, float]
    image: ShownImage
    controls: Controls

    def item(self, name: str, kind: str, value: Any, score: float | None = None) -> Item:
        """One item; ``kind`` names both the item's type and the key of its value (a text area's is ``text``)."""
        made: Item = {
            "id": self.region_id,
            "from_name": name,
            "to_name": self.controls.image,
            "type": kind,
            "original_width": self.image.width,
            "original_height": self.image.height,
            "image_rotation": 0,
            "value": {**self.box, "text" if kind == "textarea" else kind: value},
        }
        if score is not None and math.isfinite(score):
            made["score"] = round(min(max(score, 0.0), 1.0), 4)
        return made


def _review_choices(shown: ShownPerson, controls: Controls) -> list[str]:
    names = (REVIEW_CHOICES.get(reason) for reason in shown.prelabel.reasons)
    return [name for name in dict.fromkeys(names) if name in controls.review_choices]


def _reason_words(shown: ShownPerson) -> list[str]:
    words = []
    for reason in dict.fromkeys(shown.prelabel.reasons):
        if reason is ReviewReason.AGE_DISAGREEMENT:
            words.append(_age_difference(shown.predictions))
        elif reason in REASON_WORDS:
            words.append(REASON_WORDS[reason])
    return words


def _age_difference(predictions: Sequence[Prediction]) -> str:
    ages = [one.age for one in predictions if one.age is not None]
    words = REASON_WORDS[ReviewReason.AGE_DISAGREEMENT]
    return f"{words} by {max(ages) - min(ages):.0f} years" if len(ages) > 1 else words


def _prediction_line(one: Prediction) -> str:
    if one.has_value:
        said = ", ".join(filter(None, (_gender_words(one.female_probability), _age_words(one.age, one.age_sd))))
    else:
        said = one.status.value.replace("_", " ") + (f" ({one.reason})" if one.reason else "")
    return f"{one.predictor}: {said}"


def _fused_line(fused: Fused) -> str:
    said = ", ".join(filter(None, (_gender_words(fused.female_probability), _age_words(fused.age, None))))
    if fused.age_low is not None and fused.age_high is not None:
        said += f", likely {max(0.0, fused.age_low):.0f} to {fused.age_high:.0f}"
    return f"together: {said}" if said else "together: nothing is known, please fill in"


def _gender_words(female_probability: float | None) -> str:
    gender = Gender.from_probability(female_probability)
    if gender is None or female_probability is None:
        return ""
    return f"{gender.value} {100 * max(female_probability, 1 - female_probability):.0f} %"


def _age_words(age: float | None, sd: float | None) -> str:
    if age is None:
        return ""
    return f"{age:.1f} years" + (f" (sd {sd:.1f})" if sd is not None else "")
