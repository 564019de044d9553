"""Decodes and encodes pydicom data sets. The functions block: a large data set belongs in a thread."""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataset import Dataset

from aiodimse.config import Limits
from aiodimse.datasets.charsets import DEFAULT, STRICT_DEFAULT, UTF8, CharacterSet, NotInCharacterSet
from aiodimse.datasets.deflating import deflate, inflate
from aiodimse.datasets.identity import SOP_CLASS_UID, SOP_INSTANCE_UID, UIDS, first_values
from aiodimse.datasets.reading import read_dataset
from aiodimse.datasets.walk import known_syntax
from aiodimse.datasets.writing import write_dataset
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError
from aiodimse.standard.transfer_syntax import (
    IDENTIFIERS,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    TransferSyntax,
    lookup,
)

RE_ENCODED: Final = (*IDENTIFIERS, ExplicitVRBigEndian)
"""The transfer syntaxes between which data sets are re-encoded. In others a data set is sent only as it is stored."""

_TRANSFER_SYNTAX_UID: Final = 0x00020010

_DEFAULT_LIMITS: Final = Limits()


def decode_dataset(
    data: bytes | memoryview, transfer_syntax: str, *, limits: Limits = _DEFAULT_LIMITS, max_elements: int | None = None
) -> Dataset:
    """Decode a data set, after a check that it is sound to its last byte (walk.py).

    Values stay encoded until they are read.

    Raises:
        DatasetDecodeError: The data set cannot be decoded. It is DatasetTooLarge if the data set has more elements than
            limits.dataset_elements or max_elements, or exceeds limits.dataset_in_memory, limits.inflated_in_memory or
            limits.deflate_ratio when it is inflated. No other exception is raised.
    """
    most = limits.dataset_elements if max_elements is None else min(max_elements, limits.dataset_elements)
    size = min(limits.dataset_in_memory, limits.inflated_in_memory)
    return _decode(data, transfer_syntax, limits, size, most)


def decode_identifier(
    data: bytes | memoryview, transfer_syntax: str, *, limits: Limits = _DEFAULT_LIMITS, max_elements: int | None = None
) -> Dataset:
    """Decode as decode_dataset does, for data sets that are decoded without a request of a handler.

    limits.identifier, also after inflating, and limits.identifier_elements bound it.
    """
    most = limits.identifier_elements if max_elements is None else min(max_elements, limits.identifier_elements)
    return _decode(data, transfer_syntax, limits, limits.identifier, most)


def _decode(data: bytes | memoryview, transfer_syntax: str, limits: Limits, size: int, elements: int) -> Dataset:
    """Decode a data set. `size` is the most bytes that a deflated one may inflate to."""
    row = known_syntax(transfer_syntax)
    if row.deflated:
        data = inflate(data, max_size=size, max_ratio=limits.deflate_ratio)
    try:
        return read_dataset(data, row.implicit, row.little_endian, limits.dataset_depth, elements)
    except DatasetDecodeError:
        raise
    except Exception as error:  # pydicom cannot read what the walk accepted; the text of its error may quote a value
        raise DatasetDecodeError(f"pydicom cannot read the data set ({type(error).__name__})") from None


def encode_dataset(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Encode a data set in Implicit, Explicit or Deflated Explicit VR Little Endian or in Explicit VR Big Endian.

    Args:
        dataset: The data set, which is not changed. Elements of groups 0000 and 0002 are left out.
        transfer_syntax: The UID of one of the four.

    Raises:
        DatasetEncodeError: The data set cannot be encoded, or it is another transfer syntax. That would have to change
            the pixels; encode_stored encodes a data set in its own transfer syntax.
    """
    return _write(dataset, _re_encoded(transfer_syntax))


def encode_response(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Encode as encode_dataset does, except that text never fails.

    If the Specific Character Set of the data set lacks a character, all text is encoded in ISO_IR 192, and (0008,0005)
    says so (PS3.4 C.2.2.2).
    """
    row = _re_encoded(transfer_syntax)
    try:
        return _write(dataset, row, default=STRICT_DEFAULT)
    except NotInCharacterSet:
        return _write(dataset, row, character_set=UTF8)


def _re_encoded(transfer_syntax: str) -> TransferSyntax:
    row = lookup(transfer_syntax)
    if row is None or row not in RE_ENCODED:
        raise DatasetEncodeError(f"data sets are not re-encoded to transfer syntax {transfer_syntax}")
    return row


def encode_stored(dataset: Dataset) -> bytes:
    """Encode a data set in its own transfer syntax (see dataset_uids), whichever that is. Pixel Data is not changed.

    Raises:
        DatasetEncodeError: The data set cannot be encoded, or only one of Pixel Data and transfer syntax is
            encapsulated.
    """
    uid = dataset_uids(dataset)[2]
    row = lookup(uid)
    if row is None:
        raise DatasetEncodeError(f"transfer syntax {uid} is not one of the standard's")
    return _write(dataset, row)


def _write(
    dataset: Dataset,
    row: TransferSyntax,
    *,
    default: CharacterSet = DEFAULT,
    character_set: CharacterSet | None = None,
) -> bytes:
    data = b"".join(
        write_dataset(
            dataset,
            implicit=row.implicit,
            little_endian=row.little_endian,
            encapsulated=row.encapsulated,
            default=default,
            character_set=character_set,
        )
    )
    return deflate(data) if row.deflated else data


def transcode(
    data: bytes | memoryview, source: str, target: str, *, limits: Limits = _DEFAULT_LIMITS
) -> bytes | memoryview:
    """Re-encode a data set in another transfer syntax of RE_ENCODED, without changing its values.

    Raises:
        DatasetDecodeError: The data set is damaged.
        DatasetEncodeError: The data set cannot be encoded in the target.
    """
    if source == target:
        return data
    return encode_dataset(decode_dataset(data, source, limits=limits), target)


def can_transcode(source: str, target: str) -> bool:
    """Return whether `transcode` supports both transfer syntaxes: they are in RE_ENCODED."""
    return source in RE_ENCODED and target in RE_ENCODED


# --- UIDs -------------------------------------------------------------------------------------------------------------


def dataset_uids(dataset: Dataset) -> tuple[str, str, str]:
    """Return SOP Class UID, SOP Instance UID and transfer syntax of a data set to be stored; "" for a missing UID.

    The transfer syntax is that of its file meta information, otherwise the one from which it was decoded, otherwise
    Explicit VR Little Endian.
    """
    sop_class, sop_instance = _uid(dataset, SOP_CLASS_UID), _uid(dataset, SOP_INSTANCE_UID)
    meta = getattr(dataset, "file_meta", None)
    transfer_syntax = _uid(meta, _TRANSFER_SYNTAX_UID) if meta is not None else ""
    if not transfer_syntax:
        transfer_syntax = {
            (True, True): ImplicitVRLittleEndian,
            (False, False): ExplicitVRBigEndian,
        }.get(dataset.original_encoding, ExplicitVRLittleEndian)  # type: ignore[arg-type]
    return sop_class, sop_instance, transfer_syntax


def _uid(dataset: Dataset, tag: int) -> str:
    """Return a UID from its element. pydicom is not asked for the value: it warns of invalid ones and quotes them."""
    element = dataset.get_item(tag)
    value: Any = element.value if element is not None else None
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip(" \0")
    return str(value) if isinstance(value, str) else ""


def first_uids(data: bytes | memoryview, transfer_syntax: str) -> tuple[str, str]:
    """Return SOP Class UID and SOP Instance UID from the beginning of an encoded data set; "" for a missing one.

    The bytes may be cut off anywhere: only what comes up to (0008,0018) is read. Never raises.
    """
    found, _ = first_values(data, transfer_syntax, UIDS, 1 << 16)
    return found.get(SOP_CLASS_UID, ""), found.get(SOP_INSTANCE_UID, "")
