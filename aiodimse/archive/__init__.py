"""A complete Query/Retrieve provider for a folder of DICOM files, built on the public API.

    import aiodimse
    from aiodimse.archive import Archive, provide

    async with await Archive.open("/data/dicom", progress=print) as archive:
        server = aiodimse.Server(ae_title="ARCHIVE")
        provide(server, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})
        async with server.listen("0.0.0.0", 11112) as listening:
            await listening.serve_forever()

For a provider of your own, for example over a database, there are `matching` (PS3.4 C.2.2.2 as pure functions),
`models` (the information models as rows) and the `Index` interface. A worklist needs only `KeyAttributes`.
"""

from __future__ import annotations

from .archive import Archive
from .checking import CheckReport, check
from .header import NotAnObject, header_of, read_header
from .index import Counts, Entry, File, Finding, Header, Index, Match, MemoryIndex, ObjectRefused, StudyAge
from .key_attributes import KeyAttributes
from .matching import Key, Rules, matches
from .models import Level, Model
from .provider import Observer, provide
from .queries import IdentifierError, Query, check_nothing_found, find_query, retrieve_query
from .responses import response
from .retention import Removed, Retention
from .scan import ScanReport

__all__ = [
    "Archive",
    "CheckReport",
    "Counts",
    "Entry",
    "File",
    "Finding",
    "Header",
    "IdentifierError",
    "Index",
    "Key",
    "KeyAttributes",
    "Level",
    "Match",
    "MemoryIndex",
    "Model",
    "NotAnObject",
    "ObjectRefused",
    "Observer",
    "Query",
    "Removed",
    "Retention",
    "Rules",
    "ScanReport",
    "StudyAge",
    "check",
    "check_nothing_found",
    "find_query",
    "header_of",
    "matches",
    "provide",
    "read_header",
    "response",
    "retrieve_query",
]
