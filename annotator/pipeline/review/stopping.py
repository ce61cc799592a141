"""After the votes came in: who is settled, who is asked more people about, who is left to an expert."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from annotator.domain import LabelSource
from annotator.labelstudio import administration as studio
from annotator.labelstudio.answers import marker_of
from annotator.labelstudio.client import LabelStudio
from annotator.pipeline.decisions import decisions
from annotator.pipeline.refit import RefitReport, refit
from annotator.pipeline.review.ballots import allowed_fingerprints, reports_by_person, source_of, withdraw
from annotator.pipeline.review.rules import REPLACED, Judged, Next, Standing, next_state
from annotator.pipeline.review.studio import task_of
from annotator.pipeline.settle import settle, standing
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import (
    AnnotatorRow,
    EventRow,
    LabelRow,
    PersonRow,
    ReviewTaskRow,
    TaskKind,
    TaskState,
    VoteRow,
)
from annotator.voting.machine import ENSEMBLE
from annotator.voting.stopping import Verdict

UNSURE = -1
"""``wanted_votes`` while Label Studio is being told of another number: it may hold either, and is told again."""


@dataclass(frozen=True, slots=True)
class StopReport:
    """Review tasks by what they are now, how many were given to more people, who failed the controls, and how many
    of their votes were replaced; the labels that there are now, and what became of the calibration.
    """

    tasks: Mapping[str, int]
    raised: int
    failing: tuple[str, ...]
    replaced: int
    labels: Mapping[str, int]
    fit: RefitReport


def stop(
    store: Store,
    settings: Settings,
    client: LabelStudio,
    project: int,
    tasks: Sequence[Mapping[str, Any]],
    judged: Sequence[Judged],
) -> StopReport:
    """Settle, bring every review task to where the stop rule wants it, then calibrate anew if there is reason to.

    Args:
        store: the database, with the votes that were just pulled.
        settings: hold the stop rule and what becomes of votes of those who fail the controls.
        client: Label Studio.
        project: the vote project.
        tasks: its annotated tasks, as exported.
        judged: all ballots as they were judged.
    """
    settled = settle(store, settings)
    failing = failing_annotators(store, settings)
    replaced = _replace(store, failing, judged) if settings.review_replace_failed else 0
    if replaced:
        settled = settle(store, settings)
    counts, raised, deleted = _move(store, settings, client, project, _answers(tasks), reports_by_person(judged))
    _withdraw_skips(store, project, [task for task in tasks if task["id"] in deleted])
    return StopReport(dict(sorted(counts.items())), raised, failing, replaced, settled.labels, refit(store, settings))


def failing_annotators(store: Store, settings: Settings) -> tuple[str, ...]:
    """Annotators whose answers on control people are too far off, by the last settlement."""
    with store.read() as session:
        rows = session.scalars(
            select(AnnotatorRow)
            .where(AnnotatorRow.controls >= settings.review_min_controls, AnnotatorRow.annotator_id != ENSEMBLE)
            .order_by(AnnotatorRow.annotator_id)
        ).all()
    return tuple(row.annotator_id for row in rows if _fails(row, settings))


def _fails(row: AnnotatorRow, settings: Settings) -> bool:
    too_far = row.age_mae is not None and row.age_mae > settings.review_max_mae
    return too_far or (row.gender_accuracy is not None and row.gender_accuracy < settings.review_min_gender)


def _replace(store: Store, failing: Sequence[str], judged: Sequence[Judged]) -> int:
    """Open votes of these annotators do not count any more, so that others are asked; votes on controls stay."""
    done = select(LabelRow.person_key).where(LabelRow.source.in_((LabelSource.SETTLED, LabelSource.GIVEN)))
    with store.write() as session:
        allowed = allowed_fingerprints(session)
        kept = {(one.ballot.source, one.ballot.name) for one in judged if one.ballot.answer.fingerprint in allowed}
        known = select(PersonRow.id).where(PersonRow.truth_age.is_not(None) | PersonRow.truth_gender.is_not(None))
        query = select(VoteRow).where(
            VoteRow.annotator_id.in_(failing),
            VoteRow.counts,
            VoteRow.person_key.not_in(done),
            VoteRow.person_key.not_in(known),
        )
        rows = [row for row in session.scalars(query) if (row.source, row.annotation_id) not in kept]
        for row in rows:
            row.counts, row.remark = False, REPLACED
        for name, count in Counter(row.annotator_id for row in rows).items():
            session.add(EventRow(kind="votes_replaced", subject=name, data={"votes": count}))
    return len(rows)


def _withdraw_skips(store: Store, project: int, deleted: Sequence[Mapping[str, Any]]) -> None:
    """All that was said on tasks that we deleted: nobody had answered them."""
    names = [str(one["id"]) for task in deleted for one in task["annotations"]]
    with store.read() as session:
        query = select(VoteRow).where(VoteRow.source == source_of(project), VoteRow.annotation_id.in_(names))
        rows = session.scalars(query).all()
    withdraw(store, rows)


def _answers(tasks: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Annotations of each task that are no skips, as Label Studio counts them against a task's overlap."""
    ours = [task for task in tasks if marker_of(task)]
    return {int(task["id"]): sum(not one["was_cancelled"] for one in task["annotations"]) for task in ours}


def _move(
    store: Store,
    settings: Settings,
    client: LabelStudio,
    project: int,
    answers: Mapping[int, int],
    problems: Mapping[int, int],
) -> tuple[Counter[str], int, set[int]]:
    """Every review task to its next state; Label Studio is told before we believe it, and again after a break.

    Returns tasks by what they are now, how many were given to more people, and which ones were deleted.
    """
    counts: Counter[str] = Counter()
    raised = 0
    deleted = set()
    moves = [
        (row, next_state(task, min_votes=settings.settle_min_votes, max_votes=settings.settle_max_votes))
        for row, task in _standings(store, settings, project, answers, problems)
    ]
    _be_unsure(store, [row for row, after in moves if _is_told(row, after, project)])
    for row, after in moves:
        name = row.external
        if _is_told(row, after, project):
            number = task_of(name, project) or 0
            name = _give_to(client, project, number, after, name)
            deleted |= set() if name else {number}
            raised += after.wanted > row.wanted_votes
        _keep(store, row, after, name)
        is_open = after.state is TaskState.OPEN
        counts[after.kind.value if is_open and after.kind is TaskKind.EXPERT else after.state.value] += 1
    return counts, raised, deleted


def _is_told(row: ReviewTaskRow, after: Next, project: int) -> bool:
    """Whether Label Studio has to hear of this move."""
    return after.wanted != row.wanted_votes and task_of(row.external, project) is not None


def _be_unsure(store: Store, rows: Sequence[ReviewTaskRow]) -> None:
    with store.write() as session:
        values = [{"id": row.id, "wanted_votes": UNSURE} for row in rows]
        if values:
            session.execute(update(ReviewTaskRow), values)


def _standings(
    store: Store, settings: Settings, project: int, answers: Mapping[int, int], problems: Mapping[int, int]
) -> list[tuple[ReviewTaskRow, Standing]]:
    consensus, steps = standing(store, settings)
    names = list(consensus.person_ids) if consensus else []
    verdicts = {str(name): Verdict(step) for name, step in zip(names, steps, strict=True)}
    with store.read() as session:
        decided = decisions(session)
        rows = session.execute(
            select(ReviewTaskRow, PersonRow)
            .join(PersonRow, PersonRow.id == ReviewTaskRow.person_key)
            .order_by(ReviewTaskRow.id)
        ).all()
        counted: dict[int, int] = defaultdict(int)
        for key in session.scalars(select(VoteRow.person_key).where(VoteRow.counts)):
            counted[key] += 1
    return [
        (
            row,
            Standing(
                kind=row.kind,
                wanted=settings.settle_min_votes if row.wanted_votes == UNSURE else row.wanted_votes,
                answers=answers.get(task_of(row.external, project) or 0, 0),
                counted=counted[person.id],
                problems=problems.get(person.id, 0),
                verdict=verdicts.get(person.person_id, Verdict.ASK),
                is_current=person.active and person.revision == row.round,
                is_given=person.truth_age is not None and person.truth_gender is not None,
                is_decided=person.person_id in decided,
            ),
        )
        for row, person in rows
    ]


def _give_to(client: LabelStudio, project: int, number: int, after: Next, name: str | None) -> str | None:
    """Have Label Studio give a task to so many people; its name, ``None`` where the task is gone.

    A task that nobody answered and nobody should answer any more is deleted.
    """
    if after.wanted == 0:
        studio.delete_tasks(client, project, [number])
        return None
    return name if studio.set_overlap(client, number, after.wanted) else None


def _keep(store: Store, row: ReviewTaskRow, after: Next, name: str | None) -> None:
    if (row.kind, row.state, row.wanted_votes, row.external) == (after.kind, after.state, after.wanted, name):
        return
    values = {"kind": after.kind, "state": after.state, "wanted_votes": after.wanted, "external": name}
    with store.write() as session:
        session.execute(update(ReviewTaskRow).where(ReviewTaskRow.id == row.id).values(values))
