"""Which people serve as control tasks, and who gets which of them when."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from annotator.errors import InputError
from annotator.voting.stopping import Verdict, next_step
from annotator.voting.tables import Consensus

CONTROL_VOTES = 10
"""A person settled by this many votes may serve as a control."""


def control_people(consensus: Consensus, *, min_votes: int = CONTROL_VOTES) -> list[str]:
    """People known well enough to serve as controls: settled, and by at least ``min_votes`` votes."""
    settled = next_step(consensus) == Verdict.SETTLED
    return [str(name) for name in consensus.person_ids[settled & (consensus.votes >= min_votes)]]


def mix_controls(
    annotator_id: str,
    queue: Sequence[str],
    controls: Collection[str],
    answered: Collection[str],
    *,
    rate: float = 0.1,
    seed: int = 0,
) -> list[str]:
    """The annotator's queue with control people mixed in, a share ``rate`` of the whole.

    A control person is shown to an annotator at most once: whoever is in ``answered`` or in ``queue`` is not added, so
    that fewer are mixed in where they run out. Which controls, and where they stand, follows from the seed and the
    names alone; the order of the queue itself is kept.

    Raises:
        InputError: ``rate`` is not in ``[0, 1)``.

    Examples:
        >>> mixed = mix_controls("ann", [f"p{i}" for i in range(9)], ["c1", "c2"], answered=["c2"])
        >>> len(mixed), "c1" in mixed, "c2" in mixed
        (10, True, False)
    """
    if not 0 <= rate < 1:
        raise InputError(f"expected a rate of controls of at least 0 and below 1, got {rate}")
    fresh = set(controls) - set(answered) - set(queue)
    wanted = round(len(queue) * rate / (1 - rate))
    chosen = sorted(fresh, key=lambda name: _draw(seed, annotator_id, name, "which"))[:wanted]
    places = [(_draw(seed, annotator_id, name, "where"), name) for name in chosen]
    # people of the queue stand at evenly spaced places in (0, 1), the controls at random ones between them
    places += [((index + 0.5) / len(queue), name) for index, name in enumerate(queue)]
    return [name for _, name in sorted(places, key=lambda entry: entry[0])]


def _draw(seed: int, *names: str) -> float:
    """A number in [0, 1) that depends on the seed and the names only."""
    digest = hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
