"""What a labeling configuration offers: its controls, found by what they ask and not by what they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from xml.etree.ElementTree import Element, ParseError, fromstring

from annotator.errors import InputError

WHOLE_IMAGE = "config_whole_image.xml"
PERSON_VOTE = "config_person_vote.xml"
MAX_CONFIG_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Controls:
    """Names and values of one whole-image configuration; ``None`` where it does not have the optional control.

    ``data_key`` is the key of a task's data that holds the image's address.
    """

    data_key: str
    image: str
    box: str
    person: str
    face: str | None
    gender: str
    male: str
    female: str
    age: str
    review: str | None = None
    review_choices: frozenset[str] = field(default_factory=frozenset)
    evidence: str | None = None
    flags: str | None = None
    relation: str | None = None


def config_text(name: str) -> str:
    """The XML of a configuration that comes with the project: ``WHOLE_IMAGE`` or ``PERSON_VOTE``."""
    return (files("annotator.labelstudio") / name).read_text(encoding="utf-8")


def read_controls(xml: str) -> Controls:
    """Find the controls in a labeling configuration.

    Raises:
        InputError: it is not XML, or something that a pre-label needs is missing; names each missing thing.
    """
    root = _parse(xml)
    boxes = _find(root, "RectangleLabels", lambda tag: _value(tag, ("person",)) is not None)
    image = _image_of(root, boxes)
    on_image = image.get("name") if image is not None else None
    gender = _find(root, "Choices", lambda tag: _per_region(tag) and bool(_value(tag, _MALE) and _value(tag, _FEMALE)))
    age = _find(root, "Number", _per_region)
    found = {
        '<Image name="image" value="$image"/>': image,
        '<RectangleLabels> with <Label value="person"/>, pointed at the image': boxes,
        '<Choices perRegion="true"> with male and female': gender,
        '<Number perRegion="true"> for the age': age,
    }
    missing = [what for what, tag in found.items() if tag is None or not tag.get("name")]
    if missing or image is None or boxes is None or gender is None or age is None:
        raise InputError(f"the labeling configuration lacks {'; '.join(missing)}")
    _check_target((boxes, gender, age), on_image)
    review = _find(root, "Choices", lambda tag: _per_region(tag) and _value(tag, _REVIEW) is not None)
    evidence = _find(root, "TextArea", _per_region)
    flags = _find(root, "Choices", lambda tag: not _per_region(tag) and _value(tag, ("no_person",)) is not None)
    return Controls(
        data_key=image.get("value", "").removeprefix("$"),
        image=on_image or "",
        box=boxes.get("name", ""),
        person=_value(boxes, ("person",)) or "",
        face=_value(boxes, ("face",)),
        gender=gender.get("name", ""),
        male=_value(gender, _MALE) or "",
        female=_value(gender, _FEMALE) or "",
        age=age.get("name", ""),
        review=_name(review),
        review_choices=frozenset(_values(review)) if review is not None else frozenset(),
        evidence=_name(evidence),
        flags=_name(flags),
        relation=next((tag.get("value") for tag in root.iter("Relation") if tag.get("value") == "face_of"), None),
    )


_MALE = ("male", "m")
_FEMALE = ("female", "f")
_REVIEW = ("age_disagrees", "gender_disagrees", "low_confidence")


def _parse(xml: str) -> Element:
    if len(xml) > MAX_CONFIG_BYTES:
        raise InputError(f"the labeling configuration is larger than {MAX_CONFIG_BYTES:,} characters")
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        # entities are how an XML bomb is built, and no labeling configuration needs them
        raise InputError("the labeling configuration has a DOCTYPE or ENTITY; remove it")
    try:
        return fromstring(xml)  # noqa: S314
    except ParseError as error:
        raise InputError(f"the labeling configuration is not valid XML: {error}") from error


def _find(root: Element, tag: str, fits: Callable[[Element], bool]) -> Element | None:
    return next((element for element in root.iter(tag) if fits(element)), None)


def _image_of(root: Element, boxes: Element | None) -> Element | None:
    """The image that the boxes are drawn on; without boxes, the first image."""
    target = boxes.get("toName") if boxes is not None else None
    return _find(
        root,
        "Image",
        lambda tag: tag.get("value", "").startswith("$") and (target is None or tag.get("name") == target),
    )


def _check_target(tags: Iterable[Element], image: str | None) -> None:
    for tag in tags:
        if tag.get("toName") != image:
            raise InputError(f'<{tag.tag} name="{tag.get("name")}"> must have toName="{image}"')


def _per_region(tag: Element) -> bool:
    return tag.get("perRegion", "").lower() == "true"


def _values(tag: Element) -> list[str]:
    return [child.get("value", "") for child in tag.iter() if child.tag in ("Label", "Choice")]


def _value(tag: Element, wanted: tuple[str, ...]) -> str | None:
    return next((value for value in _values(tag) if value.strip().lower() in wanted), None)


def _name(tag: Element | None) -> str | None:
    return tag.get("name") if tag is not None else None
