"""The tables, and how an older version of them becomes this one.

What is searched has columns and rows of its own, all in text that sorts: UIDs, Patient IDs, and in `term` the folded
component groups of names, dates as YYYYMMDD and so on. All attributes that are kept are in one column beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

VERSION = 2
"""Of the tables. An index of an older version is migrated where `MIGRATIONS` has a way, else rebuilt."""

MIGRATIONS: Mapping[int, Sequence[str]] = {}
"""Statements that make an index of this version one of the next."""

_ESCAPE = "\x01"


class _KeyText(TypeDecorator[str]):
    """Text that is compared, and comes back as it was.

    Names of files and what peers call a UID may hold what no database takes: NUL and lone surrogates. PostgreSQL sorts
    by bytes, as SQLite does.
    """

    impl = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        if value is None or (value.isascii() and value.isprintable()) or clean(value) == value:
            return value
        return _ESCAPE + value.encode("utf-8", "surrogatepass").hex()

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        if value is None or not str(value).startswith(_ESCAPE):
            return None if value is None else str(value)
        return bytes.fromhex(value[1:]).decode("utf-8", "surrogatepass")


def clean(text: str) -> str:
    """Return the text without what no database takes."""
    return text.replace("\0", "\ufffd").replace(_ESCAPE, "\ufffd").encode("utf-8", "replace").decode()


_Number = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")  # which SQLite numbers by itself
_Key = _KeyText()


def _number() -> Column[int]:
    return Column("pk", _Number, primary_key=True, autoincrement=True)


metadata: MetaData = MetaData()

meta: Table = Table("aiodimse_meta", metadata, Column("name", String(32), primary_key=True), Column("value", Text))

patient: Table = Table(
    "patient",
    metadata,
    _number(),
    Column("patient_id", _Key, nullable=False),
    Column("issuer", _Key, nullable=False),
    Column("name", _Key, nullable=False),  # where there is no Patient ID, else empty
    UniqueConstraint("patient_id", "issuer", "name"),
)

study: Table = Table(
    "study",
    metadata,
    _number(),
    Column("patient_pk", _Number, ForeignKey("patient.pk"), nullable=False),
    Column("uid", _Key, nullable=False),
    Column("told", Text, nullable=False),
    Column("counters", Text, nullable=False),
    UniqueConstraint("patient_pk", "uid"),
    Index("study_uid", "uid"),
)

series: Table = Table(
    "series",
    metadata,
    _number(),
    Column("study_pk", _Number, ForeignKey("study.pk"), nullable=False),
    Column("uid", _Key, nullable=False),
    Column("told", Text, nullable=False),
    Column("instances", Integer, nullable=False),
    UniqueConstraint("study_pk", "uid"),
    Index("series_uid", "uid"),
)

instance: Table = Table(
    "instance",
    metadata,
    _number(),
    Column("series_pk", _Number, ForeignKey("series.pk"), index=True),  # of an object of no study there is none
    Column("model", String(32), nullable=False),
    Column("uid", _Key, nullable=False, unique=True),
    Column("sop_class_uid", _Key, nullable=False),
    Column("transfer_syntax", _Key, nullable=False),
    Column("location", _Key, nullable=False),
    Column("told", Text, nullable=False),
    Index("instance_model", "model", "pk", postgresql_where=text("model <> ''"), sqlite_where=text("model <> ''")),
)

term: Table = Table(
    "term",
    metadata,
    Column("study_pk", _Number, ForeignKey("study.pk", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", Integer, nullable=False),
    Column("value", _Key, nullable=False),
    Index("term_value", "kind", "value", "study_pk"),
)

file: Table = Table(
    "file",
    metadata,
    Column("location", _Key, primary_key=True),
    Column("folder", _Key, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("finding", String(16), nullable=False),
    Column("uid", _Key, nullable=False, index=True),
)

transaction: Table = Table(
    "commitment",
    metadata,
    Column("uid", _Key, primary_key=True),
    Column("calling_ae_title", _Key, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("refs", Text, nullable=False),
)
