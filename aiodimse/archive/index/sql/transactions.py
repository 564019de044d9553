"""The storage commitments that are not yet reported. The functions block."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select

from ..records import Transaction, TransactionName
from . import schema
from .reading import Fetch
from .rows import load_transaction, transaction_row

_TABLE = schema.transaction
_COLUMNS = _TABLE.c


def put(connection: Connection, transaction: Transaction, most: float, most_of_peer: float) -> Transaction | None:
    """See `Index.put_transaction`. Other writers are kept out, so what is counted stays true until it is stored."""
    row = connection.execute(select(_TABLE).where(*_is(transaction.name))).first()
    if row is not None:
        return load_transaction(row)
    titles = connection.execute(select(_COLUMNS.calling_ae_title)).scalars().all()
    if not transaction.has_room(titles, most, most_of_peer):
        return None
    connection.execute(_TABLE.insert(), transaction_row(transaction))
    return transaction


def names(fetch: Fetch) -> list[TransactionName]:
    """See `Index.transactions`."""
    query = select(_COLUMNS.calling_ae_title, _COLUMNS.uid).order_by(_COLUMNS.created)
    return [TransactionName(row.calling_ae_title, row.uid) for row in fetch(query)]


def stored(fetch: Fetch, name: TransactionName) -> Transaction | None:
    """See `Index.transaction`."""
    found = fetch(select(_TABLE).where(*_is(name)))
    return load_transaction(found[0]) if found else None


def drop(connection: Connection, transaction: Transaction) -> None:
    """See `Index.drop_transaction`."""
    connection.execute(_TABLE.delete().where(*_is(transaction.name)))


def _is(name: TransactionName) -> tuple[ColumnElement[bool], ...]:
    return _COLUMNS.uid == name.uid, _COLUMNS.calling_ae_title == name.calling_ae_title
