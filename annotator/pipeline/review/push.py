"""Sending out: pre-labels to whole-image tasks, and people who need human eyes to vote tasks."""

from __future__ import annotations

from dataclasses import dataclass

from annotator.pipeline.reading import Reader
from annotator.pipeline.review.ask import AskReport, push_votes
from annotator.pipeline.review.bucket import Bucket, renew_addresses
from annotator.pipeline.review.studio import alone, find_projects, open_studio
from annotator.pipeline.review.whole import Push, WholeReport, push_whole
from annotator.pipeline.version import version_in_force
from annotator.pipeline.watch import SILENT, Watch
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from annotator.store.session import Store


@dataclass(frozen=True, slots=True)
class PushReport:
    """What was sent to both projects, under which version."""

    version: str
    whole: WholeReport
    votes: AskReport


def push(store: Store, settings: Settings, models: ModelSet, watch: Watch = SILENT) -> PushReport:
    """Bring Label Studio up to date with the database; a second run changes nothing, an interrupted one is continued.

    Raises:
        ConfigurationError: Label Studio's address or key, or the local files' folder is not set.
        ServiceError: the projects are not set up, or Label Studio does not do as asked.
        StorageError: pictures cannot be written.
    """
    version = version_in_force(store, settings, models)
    with alone(settings), open_studio(settings) as client:
        projects = find_projects(store, settings, client)
        work = Push(store, settings, models, client, projects.whole, version, Reader(settings), watch)
        whole = push_whole(work)
        votes = push_votes(store, settings, client, projects.vote, watch)
        bucket = Bucket.of(settings)
        if bucket is not None:
            renew_addresses(client, bucket, (projects.whole, projects.vote))
    return PushReport(version, whole, votes)
