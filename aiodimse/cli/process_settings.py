"""What serve sets for its process as a whole: open files, the garbage collector, and the turns of threads."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiodimse

resource: Any
try:
    import resource
except ImportError:  # not on Windows
    resource = None

_OWN_FILES = 64  # file descriptors of Python, the connection pool of the index, and the log
_FILES_EACH = 3  # file descriptors of an association: its socket, a file, and the store association of a C-MOVE


@contextmanager
def lasting_objects() -> Iterator[None]:
    """Keep Python's garbage collector from going through all that exists now, again and again, while the body runs.

    Modules and tables are some 70,000 objects, for which it would stop every thread for 20 ms each time.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def short_turns() -> Iterator[None]:
    """Let a thread that computes keep the interpreter for 1 ms, not for 5, while the body runs.

    The event loop waits for its turn after each call of the system. While 20 peers sent requests of 10,000 instances,
    which threads decode, it was kept for 75 to 132 ms at a time, and is for 41 to 49.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def too_few_files(limits: aiodimse.Limits) -> str | None:
    """Raise the soft limit on open files to what `limits` needs.

    Returns:
        A warning if the hard limit is lower than that; None: there are enough.
    """
    if resource is None:
        return None
    needed = limits.max_pending_connections + limits.max_associations * _FILES_EACH + _OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    most = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    except (OSError, ValueError):
        most = soft
    if most >= needed:
        return None
    return (
        f"ulimit -n is {max(soft, most)}, and {limits.max_associations} associations with"
        f" {limits.max_pending_connections} connections that wait may need {needed} files"
    )
