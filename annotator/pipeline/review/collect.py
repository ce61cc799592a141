"""Pictures that others put into Label Studio: its tasks as a source of images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from urllib.parse import unquote, urljoin, urlsplit

from annotator.images.items import SourceItem
from annotator.labelstudio import administration as studio
from annotator.labelstudio.answers import marker_of
from annotator.pipeline.reading import Reader
from annotator.pipeline.review.matching import match_tasks
from annotator.pipeline.review.studio import find_projects, open_studio
from annotator.settings import Settings
from annotator.store.session import Store


def studio_items(store: Store, settings: Settings, project: int | None = None) -> Iterator[SourceItem]:
    """The pictures of tasks whose image is not registered yet; ``None`` is our own whole-image project.

    Raises:
        ConfigurationError: Label Studio's address or key is not set.
        ServiceError: Label Studio does not do as asked, or our project is not set up.
    """
    with open_studio(settings) as client:
        number = project if project is not None else find_projects(store, settings, client).whole
        tasks = studio.export_tasks(client, number, everything=True)
    known = match_tasks(store, settings, number, tasks)
    reader = Reader(settings)
    for task in tasks:
        address = task["data"].get("image")
        if task["id"] in known or marker_of(task) or not isinstance(address, str):
            continue
        uri = urljoin(settings.label_studio_url or "", address)
        yield SourceItem(_name(address), uri, partial(reader.read, uri))


def _name(address: str) -> str:
    """What a person would call the picture: the last part of its path, without Label Studio's random prefix."""
    return unquote(urlsplit(address).path.rsplit("/", 1)[-1]) or address
