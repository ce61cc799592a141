"""What is different between two dataset versions: people who came, went or changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotator.export.reading import checked_manifest

COLUMNS = ("age", "gender", "source", "split", "image_sha256")
SHOWN = 20
"""People who are listed by name for each kind of change."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Labels of ``a`` and ``b``: how many are in both, only in one, and changed in what.

    ``mean_age_change`` is the mean of |age in b - age in a| in years over people with both. ``settings`` are those of
    the manifests that differ, as ``name: (a, b)``. ``examples`` lists up to 20 people for each kind of change.
    """

    a: str
    b: str
    same_id: bool
    labels: tuple[int, int]
    common: int
    added: int
    removed: int
    changed: dict[str, int]
    mean_age_change: float | None
    moved_between_splits: dict[str, int]
    settings: dict[str, tuple[Any, Any]]
    examples: dict[str, list[str]]


def diff(a: Path, b: Path) -> Difference:
    """Compare two datasets of ours, of any format.

    Raises:
        InputError: a folder is none.
    """
    first, second = (checked_manifest(folder) for folder in (a, b))
    joined = (
        _labels(a)
        .join(_labels(b), "person_id", join_type="full outer", left_suffix="_a", right_suffix="_b", coalesce_keys=True)
        .sort_by("person_id")
    )
    in_a, in_b = pc.is_valid(joined["image_sha256_a"]), pc.is_valid(joined["image_sha256_b"])
    both = joined.filter(pc.and_(in_a, in_b))
    changes = {name: _differs(both[f"{name}_a"], both[f"{name}_b"]) for name in ("age", "gender", "source", "split")}
    parts = {
        "added": joined.filter(pc.invert(in_a)),
        "removed": joined.filter(pc.invert(in_b)),
        **{name: both.filter(mask) for name, mask in changes.items()},
    }
    return Difference(
        a=first["id"],
        b=second["id"],
        same_id=first["id"] == second["id"],
        labels=(first["counts"]["labels"], second["counts"]["labels"]),
        common=both.num_rows,
        added=parts["added"].num_rows,
        removed=parts["removed"].num_rows,
        changed={name: parts[name].num_rows for name in changes},
        mean_age_change=pc.mean(pc.abs(pc.subtract(both["age_b"], both["age_a"]))).as_py(),
        moved_between_splits=_moves(parts["split"]),
        settings=_settings(first, second),
        examples={name: part["person_id"].slice(0, SHOWN).to_pylist() for name, part in parts.items()},
    )


def _labels(folder: Path) -> Any:
    return pq.read_table(folder / "provenance.parquet", columns=["person_id", *COLUMNS])


def _differs(a: Any, b: Any) -> Any:
    """Where two columns differ, a missing value being equal to another one only."""
    unequal = pc.fill_null(pc.not_equal(a, b), False)
    return pc.or_(unequal, pc.xor(pc.is_valid(a), pc.is_valid(b)))


def _moves(part: Any) -> dict[str, int]:
    counted = pa.table({"a": part["split_a"], "b": part["split_b"]}).group_by(["a", "b"]).aggregate([([], "count_all")])
    rows = counted.to_pylist()
    return {f"{row['a'] or 'none'} -> {row['b'] or 'none'}": row["count_all"] for row in sorted(rows, key=str)}


def _settings(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = ("format", "images", "split", "seed", "method", "predictors", "balance_tail", "parent")
    pairs = {name: (a.get(name), b.get(name)) for name in names}
    chosen = {*a["settings"], *b["settings"]}
    pairs |= {name: (a["settings"].get(name), b["settings"].get(name)) for name in sorted(chosen)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
