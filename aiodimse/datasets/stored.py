"""Reads from a file which instance it holds, and whether the file is complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from aiodimse.datasets.framing import MAX_STEPS, is_whole
from aiodimse.datasets.identity import IDENTITY_KEYS, MAX_BEGINNING, Identity, Reach, first_values
from aiodimse.datasets.part10 import FileHead, PartTenReader, head_of

_FIRST_READ = 1 << 16


def file_identity(path: str | os.PathLike[str]) -> Identity | None:
    """Read the identity of the instance in a file.

    SOP Class UID and SOP Instance UID are those of the file meta information if the data set does not have them.

    Args:
        path: The path of a DICOM file (PS3.10).

    Returns:
        The identity; None if the data set cannot be read as far as Series Instance UID (0020,000E), or that is not
        within its first 16 MiB.

    Raises:
        NotDICOM: The file is not a DICOM file.
        OSError: The file cannot be read.
    """
    with PartTenReader(path) as reader:
        head, data, wanted = reader.head, b"", _FIRST_READ
        while True:
            data += reader.read(wanted - len(data))
            values, reach = first_values(data, head.transfer_syntax, IDENTITY_KEYS, MAX_BEGINNING)
            is_all = len(data) >= head.size
            if reach is Reach.PASSED or (reach is Reach.ENDED and is_all):
                study, series, patient = (values.get(tag, "") for tag in IDENTITY_KEYS[2:])
                return Identity(head.sop_class_uid, head.sop_instance_uid, study, series, patient)
            if is_all or len(data) >= MAX_BEGINNING:
                return None
            wanted = 16 * len(data)


def is_whole_file(
    file: str | os.PathLike[str] | BinaryIO, *, max_steps: int = MAX_STEPS, if_unknown: bool = False
) -> bool:
    """Return whether the data set in a file is complete: its last element ends exactly at the end of the file.

    The elements are passed over, not read: this takes a few reads even if the file is large. A deflated data set is
    inflated for it.

    Args:
        file: The path of a DICOM file (PS3.10), or the open file, whose position is changed.
        max_steps: How many elements, items and fragments may be passed over. A million take about a second.
        if_unknown: What is returned if it has more than these, or inflates to more than 64 MiB and 32 times its size.

    Returns:
        True if it is complete; also True if only NULs follow its last element. False if it is cut off, or in a private
        transfer syntax.

    Raises:
        NotDICOM: The file is not a DICOM file.
        OSError: The file cannot be read.

    Example:
        ```python
        if not aiodimse.is_whole_file(path):
            print(f"{path} is cut off")
        ```
    """
    if isinstance(file, (str, os.PathLike)):
        with PartTenReader(file) as reader:
            head = reader.head
        with Path(file).open("rb", buffering=0) as opened:
            return is_whole(opened, *_place(head), max_steps=max_steps, if_unknown=if_unknown)
    return is_whole(file, *_place(head_of(file)), max_steps=max_steps, if_unknown=if_unknown)


def _place(head: FileHead) -> tuple[int, int, str]:
    return head.data_offset, head.size, head.transfer_syntax
