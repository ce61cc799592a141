"""Which answers count, and what happens to a person next. Pure: no database, no Label Studio."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from annotator.labelstudio.answers import Answer
from annotator.store.tables import TaskKind, TaskState
from annotator.voting.stopping import Verdict

PROBLEM_VOTES = 2
"""So many people who report a problem send a person to an expert."""

REPLACED = "replaced: its annotator failed the controls"
NOT_BLIND = "not blind: given on the whole picture, beside the models' answers"


@dataclass(frozen=True, slots=True)
class Ballot:
    """One answer about one person; ``name`` is its id within ``source``.

    ``is_current`` is false where the person's box has since become quite another one.
    """

    source: str
    name: str
    person_key: int
    person_id: str
    answer: Answer
    is_blind: bool = True
    is_current: bool = True


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether a ballot counts; where not, why."""

    ballot: Ballot
    counts: bool
    remark: str | None


def annotator_name(user: int | None) -> str:
    """How a Label Studio user is called in our database: no name, no address.

    >>> annotator_name(7)
    'ls-7'
    """
    return f"ls-{user}" if user is not None else "ls-unknown"


def judge(
    ballots: Iterable[Ballot], allowed: Collection[str], replaced: Collection[tuple[str, str]], *, count_whole: bool
) -> list[Judged]:
    """Judge all ballots about one person.

    Args:
        ballots: in any order, of any source.
        allowed: fingerprints of answers by others that a lead has let through.
        replaced: ``(source, name)`` of ballots whose annotator failed the controls.
        count_whole: whether answers on whole pictures count.

    Of several countable ballots by one annotator the last one counts.
    """
    judged = []
    last: dict[int | None, Ballot] = {}
    for ballot in sorted(ballots, key=lambda one: (*one.answer.order, one.source, one.name)):
        remark = _objection(ballot, allowed, replaced, count_whole)
        judged.append((ballot, remark))
        if remark is None:
            last[ballot.answer.author] = ballot
    return [_verdict(ballot, remark, last.get(ballot.answer.author)) for ballot, remark in judged]


def reports_problem(judged: Judged) -> bool:
    """Whether a ballot says that there is something wrong with the person's box."""
    return bool(judged.remark and judged.remark.startswith("problem: "))


@dataclass(frozen=True, slots=True)
class Standing:
    """One review task as it stands.

    ``answers`` are its annotations in Label Studio without skips, ``counted`` the votes on its person that count,
    ``problems`` the people who reported one, ``is_decided`` whether an expert has closed the case. ``is_current`` is
    whether the person still has the boxes that were shown.
    """

    kind: TaskKind
    wanted: int
    answers: int
    counted: int
    problems: int
    verdict: Verdict
    is_current: bool
    is_given: bool
    is_decided: bool = False


@dataclass(frozen=True, slots=True)
class Next:
    """What a review task becomes; ``wanted`` is how many people Label Studio is to give it to in all."""

    kind: TaskKind
    state: TaskState
    wanted: int


def next_state(task: Standing, *, min_votes: int, max_votes: int) -> Next:
    """The stop rule for one task: settled, asked of more people, or left to an expert."""
    if not task.is_current or (task.is_given and task.kind is not TaskKind.CONTROL):
        return Next(task.kind, TaskState.CLOSED, task.answers)
    if task.kind is TaskKind.CONTROL:
        full = task.answers >= task.wanted
        return Next(task.kind, TaskState.SETTLED if full else TaskState.OPEN, task.wanted)
    if task.is_decided:
        return Next(TaskKind.EXPERT, TaskState.SETTLED, max(task.answers, 1))
    kind = TaskKind.REVIEW if task.kind is TaskKind.EXPERT else task.kind
    if task.verdict is Verdict.SETTLED:
        return Next(kind, TaskState.SETTLED, task.answers)
    if task.verdict is Verdict.EXPERT or task.problems >= PROBLEM_VOTES:
        return Next(TaskKind.EXPERT, TaskState.OPEN, max(task.answers, 1))
    # answers that do not count leave their place to somebody else
    missing = max(min_votes - task.counted, 1)
    return Next(kind, TaskState.OPEN, task.answers + min(missing, max(max_votes - task.counted, 1)))


def _objection(
    ballot: Ballot, allowed: Collection[str], replaced: Collection[tuple[str, str]], count_whole: bool
) -> str | None:
    answer = ballot.answer
    if answer.is_skipped:
        return "skipped"
    if answer.author is None:
        return "nobody's: Label Studio names no author"
    if answer.was_touched and answer.fingerprint not in allowed:
        return f"written by {annotator_name(answer.editor)} in the name of {annotator_name(answer.author)}"
    if answer.problems:
        return f"problem: {', '.join(answer.problems)}"
    if answer.age is None and answer.gender is None:
        return "empty"
    if not ballot.is_current:
        return "given on an earlier box"
    if not ballot.is_blind and not count_whole:
        return NOT_BLIND
    is_replaced = (ballot.source, ballot.name) in replaced and answer.fingerprint not in allowed
    return REPLACED if is_replaced else None


def _verdict(ballot: Ballot, remark: str | None, last: Ballot | None) -> Judged:
    if remark is None and last is not ballot:
        return Judged(ballot, False, "a later vote by the same annotator counts")
    return Judged(ballot, remark is None, remark)
