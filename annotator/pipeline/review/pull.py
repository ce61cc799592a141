"""Taking in: corrected boxes and votes, by a full reconciliation; webhooks are hints that one is worth while."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from annotator.labelstudio import administration as studio
from annotator.pipeline.review.ballots import BallotReport, allow, reconcile, source_of, vote_ballots
from annotator.pipeline.review.boxes import BoxReport, pull_boxes
from annotator.pipeline.review.stopping import StopReport, stop
from annotator.pipeline.review.studio import alone, find_projects, open_studio
from annotator.pipeline.watch import SILENT, Watch
from annotator.settings import Settings
from annotator.store.session import Store


@dataclass(frozen=True, slots=True)
class PullReport:
    """What came in, and what the stop rule made of it. ``unknown`` counts annotated vote tasks of nobody we know."""

    boxes: BoxReport
    votes: BallotReport
    stop: StopReport
    unknown: int


def pull(store: Store, settings: Settings, *, allowed: Collection[str] = (), watch: Watch = SILENT) -> PullReport:
    """Make the database equal to what Label Studio holds; a second run changes nothing.

    ``allowed`` are annotations (by number) that count although somebody else than their author wrote them.

    Raises:
        ConfigurationError: Label Studio's address or key is not set.
        InputError: an allowed annotation does not exist.
        ServiceError: the projects are not set up, or Label Studio does not do as asked.
    """
    with alone(settings), open_studio(settings) as client:
        projects = find_projects(store, settings, client)
        watch.note("reading annotations")
        pictures = studio.export_tasks(client, projects.whole, everything=False)
        people = studio.export_tasks(client, projects.vote, everything=False)
        boxes, ballots = pull_boxes(store, settings, projects.whole, pictures)
        votes, unknown = vote_ballots(store, projects.vote, people)
        ballots += votes
        if allowed:
            allow(store, ballots, allowed)
        sources = (source_of(projects.whole), source_of(projects.vote))
        report, judged = reconcile(store, settings, ballots, sources)
        return PullReport(boxes, report, stop(store, settings, client, projects.vote, people, judged), unknown)
