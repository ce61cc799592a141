"""Which images go to training, validation and test: by hash, so that an image never changes sides."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping

from annotator.errors import InputError

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
RESERVED = frozenset(("annotations", "images", "manifest", "provenance"))


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


def split_of(group: str, shares: Mapping[str, float], seed: int) -> str:
    """The split of a group of images.

    It depends on the group, the seed and the shares alone: a dataset that grows keeps every image where it was. The
    shares are therefore met on average, not to the image.
    """
    digest = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    place = int.from_bytes(digest[:7], "big") / 2**56
    upper = 0.0
    for name, share in shares.items():
        upper += share
        if place < upper:
            return name
    return name
