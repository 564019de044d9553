"""How old and how large studies are. The functions block, and run in a reading thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import FromClause, Select, and_, func, or_, select

from ..records import Finding, StudyAge
from . import schema
from .reading import Fetch

_MODIFIED: Any = func.max(schema.file.c.modified)
_SIZE: Any = func.sum(schema.file.c.size)


def _files_of_studies() -> FromClause:
    file, instance, series, study = schema.file, schema.instance, schema.series, schema.study
    is_object = and_(instance.c.uid == file.c.uid, file.c.finding == Finding.OBJECT.value)
    return (
        file.join(instance, is_object)
        .join(series, series.c.pk == instance.c.series_pk)
        .join(study, study.c.pk == series.c.study_pk)
    )


def oldest_studies(fetch: Fetch, limit: int, after: StudyAge | None) -> list[StudyAge]:
    """See `Index.oldest_studies`."""
    uid = schema.study.c.uid
    query: Select[Any] = select(uid, _MODIFIED, _SIZE).select_from(_files_of_studies()).group_by(uid)
    if after is not None:
        is_later = and_(after.modified == _MODIFIED, uid > after.study_instance_uid)
        query = query.having(or_(after.modified < _MODIFIED, is_later))
    rows: Sequence[Any] = fetch(query.order_by(_MODIFIED, uid).limit(limit))
    return [StudyAge(row[0], int(row[1]), int(row[2])) for row in rows]


def newest_modified(fetch: Fetch) -> int:
    """See `Index.newest_modified`."""
    query = select(func.coalesce(_MODIFIED, 0)).where(schema.file.c.finding == Finding.OBJECT.value)
    return int(fetch(query)[0][0])


def stored_bytes(fetch: Fetch) -> int:
    """See `Index.stored_bytes`."""
    return int(fetch(select(func.coalesce(_SIZE, 0)).select_from(_files_of_studies()))[0][0])
