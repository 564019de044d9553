"""On the PYTHONPATH of a process: disks and databases that do not answer once the file HUNG_WHEN is there.

HUNG says which: "fsync", "index" (each statement of SQLite), "open" (DICOM files that are read), or "list" (the folder
that is called "served").
"""

import io
import os
import sqlite3.dbapi2
import threading
from collections.abc import Callable
from typing import Any

_WHEN = os.environ["HUNG_WHEN"]
_exists = os.path.exists


def _hang() -> None:
    if _exists(_WHEN):
        os.close(os.open(f"{_WHEN}.{os.getpid()}.{threading.get_ident()}", os.O_CREAT | os.O_WRONLY))
        threading.Event().wait()


def _hanging(function: Callable[..., Any], concerns: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if concerns(*args):
            _hang()
        return function(*args, **kwargs)

    return call


def _of_dicom(path: object, *_: object) -> bool:
    return str(path).endswith(".dcm")


class _Cursor(sqlite3.Cursor):
    def execute(self, *args: Any) -> Any:
        _hang()
        return super().execute(*args)


class _Connection(sqlite3.Connection):
    def cursor(self, *_: Any) -> Any:
        return super().cursor(_Cursor)


kind = os.environ["HUNG"]
if kind == "fsync":
    os.fsync = _hanging(os.fsync)
elif kind == "index":
    connect = sqlite3.dbapi2.connect
    sqlite3.dbapi2.connect = lambda *args, **kwargs: connect(*args, factory=_Connection, **kwargs)  # type: ignore
elif kind == "open":
    io.open = _hanging(io.open, _of_dicom)  # type: ignore[assignment]
    os.open = _hanging(os.open, _of_dicom)
else:
    os.scandir = _hanging(os.scandir, lambda path=".", *_: str(path).endswith("served"))  # type: ignore[assignment]
