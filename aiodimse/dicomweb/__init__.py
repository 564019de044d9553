"""What DICOMweb (PS3.18) adds to DIMSE, for whoever serves it in front of an archive: no web framework, no sockets.

Every body goes out and comes in piece by piece. `examples/dicomweb_gateway` is a service that is made of this and a
`Pool`. Reading multipart bodies wants the extra `dicomweb`.
"""

from .bodies import json_array, multipart, whole_instances
from .files import read_frame, read_metadata
from .query import query_identifier, retrieve_url, to_json
from .store import StoreAnswer, parts, store

__all__ = [
    "StoreAnswer",
    "json_array",
    "multipart",
    "parts",
    "query_identifier",
    "read_frame",
    "read_metadata",
    "retrieve_url",
    "store",
    "to_json",
    "whole_instances",
]
