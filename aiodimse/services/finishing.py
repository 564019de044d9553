"""Finishes the files that are saved into one folder at the same time, together."""

from __future__ import annotations

import os
from pathlib import Path
from weakref import WeakValueDictionary

from aiodimse.aio.files import off_loop, rounds_off_loop
from aiodimse.aio.rounds import Rounds
from aiodimse.datasets import Finish, finish_together

_rounds: WeakValueDictionary[str, Rounds[Finish]] = WeakValueDictionary()
"""By folder, so that a disk that hangs keeps nobody who saves to another. They exist while the folder is in use."""

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_rounds.clear)  # Their threads exist only in the parent.


async def finish(folder: str | os.PathLike[str], file: Finish) -> Path:
    """Finish a file in a thread. What is on the disk already is finished alone: to flush a long file takes long.

    Args:
        folder: The folder that was given to save into.
        file: The file.

    Raises:
        Exception: What happened to the file.

    Cancellation: waits for the step that is under way.
    """
    if file.writer.has_begun:
        await off_loop(finish_together, [file])
    else:
        path = os.fspath(folder)
        rounds = _rounds.get(path)
        if rounds is None:
            rounds = _rounds[path] = rounds_off_loop(finish_together)
        await rounds.run_to_end(file)
    return file.result()
