"""The studies whose objects have to be read again; see `OutdatedStudy`."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

from sqlalchemy import Delete, Select, bindparam, delete, select

from ..records import OutdatedStudy
from . import schema
from .prepared import Opened, Prepared

MARKED: Select[Any] = select(schema.study.c.uid, schema.outdated.c.mark).join_from(schema.outdated, schema.study)
"""The outdated studies."""

_DROP = Prepared(delete(schema.outdated).where(schema.outdated.c.study_pk == bindparam("of")))
_INSERT = Prepared(schema.outdated.insert(), ["study_pk", "mark"])


def mark(connection: Opened, study_pks: Collection[int]) -> None:
    """Mark studies, in a transaction that keeps other writers out. Blocks."""
    _DROP.run(connection, [{"of": pk} for pk in study_pks])
    # A mark is random, since a counter would give one that was removed again.
    _INSERT.run(connection, [{"study_pk": pk, "mark": secrets.randbits(62)} for pk in study_pks])


def unmark(study: OutdatedStudy) -> Delete:
    """Return the statement that removes the mark of a study, unless it has another one by now."""
    return delete(schema.outdated).where(schema.outdated.c.mark == study.mark)
