"""The parts of DICOMweb (PS3.18) that translate to DIMSE, for a service in front of an archive.

No web framework and no sockets are used, and every body is read and written in pieces. `examples/dicomweb_gateway` is a
service that is made of this and a `Pool`. Reading multipart bodies needs the extra `dicomweb`.
"""

from .bodies import begun, json_array, multipart, page, whole_file, whole_instances
from .files import NoSuchFrame, read_frame, read_metadata
from .media_types import choose_media_type
from .query import fuzzy_warning, path_uids, query_identifier, retrieve_url, to_json, whole_number
from .rendering import read_one_frame, window
from .store import StoreAnswer, UnsupportedMediaType, parts, store

__all__ = [
    "NoSuchFrame",
    "StoreAnswer",
    "UnsupportedMediaType",
    "begun",
    "choose_media_type",
    "fuzzy_warning",
    "json_array",
    "multipart",
    "page",
    "parts",
    "path_uids",
    "query_identifier",
    "read_frame",
    "read_metadata",
    "read_one_frame",
    "retrieve_url",
    "store",
    "to_json",
    "whole_file",
    "whole_instances",
    "whole_number",
    "window",
]
