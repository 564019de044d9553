"""Makes an Instance from what a caller or a handler gives us to send."""

from __future__ import annotations

import os

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.files import read_off_loop
from aiodimse.config import Limits
from aiodimse.errors import DatasetEncodeError
from aiodimse.services.instance import DatasetInstance, Instance, InstanceSource, ReferencedFile, open_file


async def instance_of(source: InstanceSource, limits: Limits | None = None) -> Instance:
    """Make an Instance from what a caller gives us. `limits` are those of the association that will send it.

    Raises:
        NotDICOM: A file is not DICOM.
        InstanceConflict: A file holds another instance than it must.
        OSError: A file cannot be read.
        TypeError: It cannot be sent.
        DatasetEncodeError: A data set does not say which instance it is.
    """
    instance = await _instance_of(source)
    if limits is not None:
        instance.limits = limits
    return instance


async def _instance_of(source: InstanceSource) -> Instance:
    if isinstance(source, Instance):
        return identified(source)
    if isinstance(source, Dataset):
        return identified(DatasetInstance(source))
    if isinstance(source, (str, os.PathLike)):
        return identified(await read_off_loop(open_file, source))
    if isinstance(source, ReferencedFile):
        return identified(await read_off_loop(open_file, source.path, source.sop_instance_uid))
    raise _no_instance(source)


def _no_instance(source: object) -> TypeError:
    kind = type(source).__name__
    return TypeError(f"an instance is a path, a ReferencedFile, a Dataset or an Instance, not {kind}")


def kind_of(source: InstanceSource) -> tuple[str, str]:
    """Return the SOP class and transfer syntax of what a caller gives us. The beginning of a file is read at once.

    Raises as `instance_of` does.
    """
    if isinstance(source, Dataset):
        source = DatasetInstance(source)
    if isinstance(source, ReferencedFile):
        source = source.path
    if isinstance(source, (str, os.PathLike)):
        head = datasets.read_head(source)
        return head.sop_class_uid, head.transfer_syntax
    if not isinstance(source, Instance):
        raise _no_instance(source)
    return source.sop_class_uid, source.transfer_syntax


def identified(instance: Instance) -> Instance:
    """Return an instance if it has both UIDs, which a C-STORE has to name (PS3.7 9.1.1.1).

    Raises:
        DatasetEncodeError: A UID is missing.
    """
    for uid, what in ((instance.sop_class_uid, "SOP Class UID"), (instance.sop_instance_uid, "SOP Instance UID")):
        if not uid or not uid.isascii():
            raise DatasetEncodeError(f"an instance without a {what}")
    return instance
