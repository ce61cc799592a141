"""Which images go to training, validation and test: groups of look-alikes whole, every class by its share."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Hashable, Mapping

from annotator.errors import InputError

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
RESERVED = frozenset(("annotations", "images", "manifest", "provenance", "readme", "card"))


def parse_split(text: str) -> dict[str, float]:
    """``train=.8,val=.1,test=.1`` as shares by name, in that order.

    >>> parse_split("train=.8, test=.2")
    {'train': 0.8, 'test': 0.2}

    Raises:
        InputError: it is not written like this, or :func:`check_split` refuses it.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.partition("="))
        try:
            value = float(share)
        except ValueError:
            raise InputError(f"'{part.strip()}' is no share; write it like train=.8,val=.1,test=.1") from None
        if name in shares:
            raise InputError(f"the split names '{name}' twice")
        shares[name] = value
    check_split(shares)
    return shares


def check_split(shares: Mapping[str, float]) -> None:
    """Names must be plain and free, shares positive, and their sum 1.

    Raises:
        InputError: they are not.
    """
    for name, share in shares.items():
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise InputError(f"'{name}' cannot name a split; use small letters, such as train, val, test")
        if not (math.isfinite(share) and share > 0):
            raise InputError(f"the share of '{name}' must be positive, not {share:g}")
    total = sum(shares.values())
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise InputError(f"the shares of the split add up to {total:g}, not to 1")


def rank(group: str, seed: int) -> int:
    """The place of a group in the order in which groups are dealt out; its sha256 with the seed decides, nothing else.

    >>> rank("a", 0) == rank("a", 0) != rank("a", 1)
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}\0{group}".encode()).digest()[:7], "big")


class Dealer:
    """Deals groups of images out to splits so that each split has its share of every class.

    Groups come in the order of their :func:`rank`. Each goes where its classes are furthest behind their shares
    (iterative stratification, Sechidis et al. 2011, for groups instead of single examples). Classes are any hashable
    things; members also count as :data:`ANYBODY` and groups as :data:`GROUPS`, which keeps the sizes right.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._names = tuple(shares)
        self._shares = tuple(shares.values())
        self._seen: dict[Hashable, int] = {}
        self._have: dict[Hashable, list[int]] = {}

    def deal(self, classes: Mapping[Hashable, int], fixed: str | None = None) -> str:
        """The split of a group with so many members of each class; ``fixed`` says where it has to go."""
        counts = {ANYBODY: sum(classes.values()), GROUPS: 1, **classes}
        for name, count in counts.items():
            self._seen[name] = self._seen.get(name, 0) + count
        place = self._names.index(fixed) if fixed in self._names else self._neediest(counts)
        for name, count in counts.items():
            self._have.setdefault(name, [0] * len(self._names))[place] += count
        return self._names[place]

    def _neediest(self, counts: Mapping[Hashable, int]) -> int:
        needs = [0.0] * len(self._names)
        for name, count in counts.items():
            have, seen = self._have.get(name), self._seen[name]
            for place, share in enumerate(self._shares):
                needs[place] += count * (share * seen - (have[place] if have else 0))
        return max(range(len(needs)), key=needs.__getitem__)


ANYBODY, GROUPS = "anybody", "groups"
"""The class that everybody is in, and the one of groups."""
