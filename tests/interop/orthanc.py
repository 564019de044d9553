"""Orthanc: a real archive, store, find, get and move provider, and C-STORE user when it serves a C-MOVE."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from interop.programs import Provider, need
from ports import free_port


class Orthanc(Provider):
    """Orthanc without its web server, AE title ORTHANC, empty. destinations: AE title -> port on this machine."""

    title = "ORTHANC"

    def __init__(self, folder: Path, destinations: Mapping[str, int] | None = None) -> None:
        storage = folder / "storage"
        storage.mkdir(parents=True)
        port = free_port()
        config = folder / "orthanc.json"
        settings = {
            "Name": "interop",
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "Plugins": [],
            "HttpServerEnabled": False,
            "DicomPort": port,
            "DicomAet": self.title,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "UnknownSopClassAccepted": True,
            "DicomModalities": {
                title.lower(): {"AET": title, "Host": "127.0.0.1", "Port": to}
                for title, to in (destinations or {}).items()
            },
            "SynchronousCMove": True,
            "ConcurrentJobs": 1,
        }
        config.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        super().__init__([need("Orthanc"), "--verbose", str(config)], port, folder)
