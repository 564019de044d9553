"""Where an archive keeps its objects."""

from __future__ import annotations

from .folder import FolderStorage
from .interface import Found, Stamp, Storage, StorageGone

__all__ = ["FolderStorage", "Found", "Stamp", "Storage", "StorageGone"]
