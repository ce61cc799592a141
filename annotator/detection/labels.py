"""Which of a detector's labels mean a person and which a face, by name."""

from __future__ import annotations

from collections.abc import Mapping

from annotator.errors import WeightsInvalid

PERSON = "person"
FACE = "face"
KINDS = (PERSON, FACE)

_NAMES = {
    **dict.fromkeys(("person", "people", "human", "pedestrian", "body", "human body"), PERSON),
    **dict.fromkeys(("face", "human face"), FACE),
}


def kinds_by_label(labels: Mapping[int, str], place: str) -> dict[int, str]:
    """``person`` or ``face`` for each label number that means one of them; other labels are left out.

    Names are compared without regard to case, ``_`` and ``-``; label numbers are never assumed.

    >>> kinds_by_label({0: "N/A", 1: "Person", 2: "bicycle", 7: "Human_face"}, "a model")
    {1: 'person', 7: 'face'}

    Raises:
        WeightsInvalid: none of the labels means a person or a face.
    """
    found = {number: _NAMES[name] for number, label in labels.items() if (name := _plain(label)) in _NAMES}
    if not found:
        some = ", ".join(list(labels.values())[:5])
        raise WeightsInvalid(f"{place} knows neither people nor faces; its labels are {some}, ...")
    return found


def _plain(label: str) -> str:
    return " ".join(str(label).lower().replace("_", " ").replace("-", " ").split())
