"""Requests and answers of the ML backend protocol, as Label Studio 1.23 speaks it.

Only the fields that are used are declared: tokens and passwords in a request are dropped while it is read.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Refused(Exception):
    """The request cannot be answered; ``status`` is the HTTP status and the message one readable line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class SetupRequest(_Request):
    """``POST /setup``: ``schema`` is the labeling configuration. The access token that comes along is not read."""

    labeling_config: str | None = Field(default=None, alias="schema")


class PredictParams(_Request):
    """``context`` holds the regions of an annotation in progress when an annotator draws with Auto-Annotation."""

    context: Any = None


class PredictRequest(_Request):
    """``POST /predict``: tasks as Label Studio serialises them. A task is checked when its turn comes."""

    tasks: list[Any]
    label_config: str | None = None
    params: PredictParams | None = None

    @property
    def drawn(self) -> list[Any] | None:
        """The regions of the annotation in progress; ``None`` in an ordinary request."""
        context = self.params.context if self.params else None
        regions = context.get("result") if isinstance(context, dict) else None
        return regions if isinstance(regions, list) else None


class WebhookEvent(_Request):
    """``POST /webhook``: a hint that something happened. Ids only; contents are pulled, never believed."""

    action: str = Field(max_length=100)
    project: Any = None
    task: Any = None
    tasks: Any = None
    annotation: Any = None
    annotations: Any = None

    def ids(self) -> dict[str, list[int]]:
        """The ids of what is named, by kind; what has no integer id is left out."""
        named = {
            "project": [self.project],
            "task": _as_list(self.task) + _as_list(self.tasks),
            "annotation": _as_list(self.annotation) + _as_list(self.annotations),
        }
        found = {kind: [_id(thing) for thing in things] for kind, things in named.items()}
        return {kind: [one for one in ids if one is not None][:MAX_IDS] for kind, ids in found.items() if any(ids)}


MAX_IDS = 1000
"""Ids of one kind that are kept of one webhook; the rest is found by pulling."""

Model = TypeVar("Model", bound=_Request)


def parse(model: type[Model], body: bytes) -> Model:
    """Read a request's body.

    Raises:
        Refused: 400 where it is not JSON, 422 where a field is missing or wrong; the message quotes no content.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise Refused(400, f"the body is not valid JSON ({first['msg'].removeprefix('Invalid JSON: ')})") from None
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Refused(422, f"{where}: {first['msg']}") from None


def _as_list(thing: Any) -> list[Any]:
    if isinstance(thing, list):
        return thing
    return [] if thing is None else [thing]


def _id(thing: Any) -> int | None:
    number = thing.get("id") if isinstance(thing, dict) else thing
    return number if isinstance(number, int) and not isinstance(number, bool) else None
