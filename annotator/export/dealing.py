"""Splits for a dataset in the making: look-alikes together, classes even, earlier splits kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from annotator.evaluation.groups import GROUP_YEARS
from annotator.export.fingerprints import FingerprintStore, hashes_of
from annotator.export.near import near_groups
from annotator.export.split import Dealer, rank
from annotator.export.spool import Spool


@dataclass(frozen=True, slots=True)
class Grouping:
    """How images are kept together.

    ``fingerprints`` finds images that show the same; without it only given groups count. ``earlier`` are the splits,
    ``(sha256, split)``, that an earlier dataset had: they stay. ``step`` hears of images that were looked at.
    """

    fingerprints: FingerprintStore | None = None
    earlier: Iterable[tuple[str, str]] = field(default_factory=tuple)
    step: Callable[[int], None] = lambda _: None


def assign_splits(
    spool: Spool,
    shares: Mapping[str, float] | None,
    seed: int,
    grouping: Grouping,
    read: Callable[[str], bytes],
    max_pixels: int,
) -> int:
    """Give every image its split; without ``shares`` there is nothing to do.

    Returns how many images could not be looked at and therefore stand alone.
    """
    if shares is None:
        return 0
    alone = 0
    if grouping.fingerprints is not None:
        images = ((image.sha256, image.uri) for image in spool.images())
        known = grouping.fingerprints.want(images, read, max_pixels, grouping.step)
        alone = sum(1 for _ in spool.images()) - len(known)
        spool.join(hashes_of(known, near_groups(grouping.fingerprints)))
    spool.follow(grouping.earlier)
    spool.assign(_dealt(spool, dict(shares), seed))
    return alone


def _dealt(spool: Spool, shares: Mapping[str, float], seed: int) -> Iterator[tuple[str, str]]:
    dealer = Dealer(shares)
    for team, people, earlier in spool.groups(lambda team: rank(team, seed)):
        # a picture that was held out once must not be trained on, so of several earlier splits the smallest one stays
        fixed = min((name for name in earlier if name in shares), key=lambda name: (shares[name], name), default=None)
        yield dealer.deal(_classes(people), fixed), team


def _classes(people: Counter[tuple[int, str]]) -> dict[Hashable, int]:
    """Labelled people by five-year group and gender."""
    classes: Counter[Hashable] = Counter()
    for (age, gender), count in people.items():
        classes[(-1 if age < 0 else age // GROUP_YEARS, gender)] += count
    return dict(classes)
