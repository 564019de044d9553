"""Where an archive keeps its objects."""

from __future__ import annotations

import os

from .folder import FolderStorage
from .interface import Arrived, Found, Stamp, Storage, StorageAway, StorageGone

__all__ = ["Arrived", "FolderStorage", "Found", "Stamp", "Storage", "StorageAway", "StorageGone", "storage_at"]


def storage_at(location: str | os.PathLike[str] | Storage, *, follow_links: bool = False) -> Storage:
    """Return the storage at a location.

    Args:
        location: A folder, s3://BUCKET/PREFIX, or a storage.
        follow_links: Whether to follow links that lead out of a folder.

    Raises:
        ModuleNotFoundError: obstore, of the extra `s3`, is not installed.
        ValueError: The URL of a bucket is wrong.
    """
    if isinstance(location, str) and location.startswith("s3://"):
        try:
            from .s3 import S3Storage
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('a bucket needs obstore: pip install "aiodimse[s3]"', name=error.name) from None
        return S3Storage(location)
    if isinstance(location, (str, os.PathLike)):
        return FolderStorage(location, follow_links=follow_links)
    return location
