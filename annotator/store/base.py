"""The declarative base: constraint names, and column types that mean the same on SQLite and Postgres."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, DateTime, Enum, Integer, MetaData, String
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from annotator.domain import ReviewReason

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""How constraints are called, so that a migration can name what it drops."""

Key = BigInteger().with_variant(Integer(), "sqlite")
"""Surrogate keys: 64 bits everywhere (SQLite numbers rows itself only in INTEGER columns)."""


class Base(DeclarativeBase):
    """Parent of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON}


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no time zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; a moment without a time zone is refused."""
        if value is not None and value.tzinfo is None:
            raise ValueError("times need a time zone")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database, always with UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Reasons(TypeDecorator[tuple[ReviewReason, ...]]):
    """Review reasons as ``age_disagreement,no_face``: few different texts, so that counting them is a GROUP BY."""

    impl = String(200)
    cache_ok = True

    def process_bind_param(self, value: tuple[ReviewReason, ...] | None, dialect: Dialect) -> str | None:
        """Joined by commas, in the given order."""
        return None if value is None else ",".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[ReviewReason, ...] | None:
        """Split again."""
        return None if value is None else tuple(ReviewReason(name) for name in value.split(",") if name)


def choice(kind: type[StrEnum], name: str) -> Enum:
    """A text column that holds one of an enumeration's values, guarded by the CHECK constraint ``name``."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        name=name,
        length=20,
        values_callable=lambda members: [member.value for member in members],
    )
