"""The tables, and the migrations from older versions.

Whatever is searched has columns and rows of its own, in text that sorts correctly: UIDs, Patient IDs, and in `term` the
case-folded component groups of names, dates as YYYYMMDD and so on. One column beside them has all attributes that are
kept.
"""

from __future__ import annotations

import hashlib
import json
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
    TextClause,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from ...models import ATTRIBUTES
from ...one_level import MODELS
from ..records import Finding

VERSION = 4
"""The version of the tables. An older index is migrated if `MIGRATIONS` has the statements, otherwise it is rebuilt."""

MIGRATIONS: Mapping[int, Sequence[str]] = {
    2: [
        """CREATE TABLE outdated (
            study_pk BIGINT NOT NULL, mark BIGINT NOT NULL, PRIMARY KEY (study_pk),
            FOREIGN KEY(study_pk) REFERENCES study (pk) ON DELETE CASCADE
        )""",
        "DROP INDEX ix_file_uid",
        "CREATE INDEX file_duplicate ON file (uid) WHERE finding = 'duplicate'",
    ],
    3: [
        """CREATE TABLE received (
            study_uid {key} NOT NULL, received_at BIGINT NOT NULL, PRIMARY KEY (study_uid)
        )""",
    ],
}
"""For a version, the statements that turn its tables into those of the next version, in SQLite and in PostgreSQL.
{key} is the type of text that is compared."""


def digest_of_kept() -> str:
    """Return a digest of the attributes that are kept at each level and of each model of one level.

    An index with another digest cannot answer for them: its objects were read by other rows of models.py or
    one_level.py. The digest is the same with every version of Python.
    """
    levels = {int(level): keywords for level, keywords in ATTRIBUTES.items()}
    models = [(model.name, list(map(str, model.storage)), model.keywords) for model in MODELS]
    return hashlib.sha256(json.dumps([levels, models]).encode()).hexdigest()


_ESCAPE = "\x01"


class _KeyText(TypeDecorator[str]):
    """Text that is compared, and is read back exactly as it was written.

    Names of files and UIDs from peers may contain what no database accepts: NUL and lone surrogates. They are escaped.
    PostgreSQL is told to sort by bytes, as SQLite does.
    """

    impl = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        if value is None or is_plain(value) or clean(value) == value:
            return value
        return _ESCAPE + value.encode("utf-8", "surrogatepass").hex()

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        if value is None or not str(value).startswith(_ESCAPE):
            return None if value is None else str(value)
        return bytes.fromhex(value[1:]).decode("utf-8", "surrogatepass")


def is_plain(text: str) -> bool:
    """Return whether a text is written to a database as it is, which is seen at a glance: it is printable ASCII."""
    return text.isascii() and text.isprintable()


def clean(text: str) -> str:
    """Replace the characters that no database accepts."""
    return text.replace("\0", "\ufffd").replace(_ESCAPE, "\ufffd").encode("utf-8", "replace").decode()


_Number = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")  # SQLite numbers only rows of this type by itself
KEY: TypeDecorator[str] = _KeyText()
"""The type of text that is compared."""


def _number() -> Column[int]:
    return Column("pk", _Number, primary_key=True, autoincrement=True)


metadata: MetaData = MetaData()

meta: Table = Table("aiodimse_meta", metadata, Column("name", String(32), primary_key=True), Column("value", Text))

patient: Table = Table(
    "patient",
    metadata,
    _number(),
    Column("patient_id", KEY, nullable=False),
    Column("issuer", KEY, nullable=False),
    Column("name", KEY, nullable=False),  # empty unless there is no Patient ID
    UniqueConstraint("patient_id", "issuer", "name"),
)

study: Table = Table(
    "study",
    metadata,
    _number(),
    Column("patient_pk", _Number, ForeignKey("patient.pk"), nullable=False),
    Column("uid", KEY, nullable=False),
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
    Column("uid", KEY, nullable=False),
    Column("told", Text, nullable=False),
    Column("instances", Integer, nullable=False),
    UniqueConstraint("study_pk", "uid"),
    Index("series_uid", "uid"),
)

instance: Table = Table(
    "instance",
    metadata,
    _number(),
    Column("series_pk", _Number, ForeignKey("series.pk"), index=True),  # null: the object belongs to no study
    Column("model", String(32), nullable=False),
    Column("uid", KEY, nullable=False, unique=True),
    Column("sop_class_uid", KEY, nullable=False),
    Column("transfer_syntax", KEY, nullable=False),
    Column("location", KEY, nullable=False),
    Column("told", Text, nullable=False),
    Index("instance_model", "model", "pk", postgresql_where=text("model <> ''"), sqlite_where=text("model <> ''")),
)

outdated: Table = Table(
    "outdated",
    metadata,
    Column("study_pk", BigInteger, ForeignKey("study.pk", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("mark", BigInteger, nullable=False),
)

term: Table = Table(
    "term",
    metadata,
    Column("study_pk", _Number, ForeignKey("study.pk", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", Integer, nullable=False),
    Column("value", KEY, nullable=False),
    Index("term_value", "kind", "value", "study_pk"),
)

IS_DUPLICATE: TextClause = text(f"finding = '{Finding.DUPLICATE.value}'")
"""Whether a file is a duplicate, in the words of the index on them: databases do not use it for a bound value."""

file: Table = Table(
    "file",
    metadata,
    Column("location", KEY, primary_key=True),
    Column("folder", KEY, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("finding", String(16), nullable=False),
    Column("uid", KEY, nullable=False),
    Index("file_duplicate", "uid", postgresql_where=IS_DUPLICATE, sqlite_where=IS_DUPLICATE),
)

received: Table = Table(
    "received",
    metadata,
    Column("study_uid", KEY, primary_key=True),  # not its number: a study that is read again may get another one
    Column("received_at", BigInteger, nullable=False),
)

transaction: Table = Table(
    "commitment",
    metadata,
    Column("uid", KEY, primary_key=True),
    Column("calling_ae_title", KEY, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("refs", Text, nullable=False),
)
