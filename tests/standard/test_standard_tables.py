"""Transfer syntaxes, reasons and extended negotiation."""

from __future__ import annotations

import copy
import pickle

import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from rows import for_each_row

from aiodimse.standard import extended, reason, sop_class, transfer_syntax

REGISTRY = {
    uid: (keyword, bool(retired))
    for uid, (_, kind, _, retired, keyword) in UID_dictionary.items()
    if kind == "Transfer Syntax"
}


def test_every_transfer_syntax_of_the_registry_has_a_row():
    rows = {row: (row.keyword, row.retired) for row in transfer_syntax.ALL}
    assert {uid: fact for uid, fact in rows.items() if uid in REGISTRY} == REGISTRY
    newer = {"JPEGXLLossless", "JPEGXLJPEGRecompression", "JPEGXL", "DeflatedImageFrameCompression"}
    assert {keyword for keyword, _ in rows.values()} >= newer
    # pynetdicom adds these to pydicom's dictionary when it is imported, which another test may do first.
    assert {keyword for uid, (keyword, _) in rows.items() if uid not in REGISTRY} <= newer


@for_each_row(transfer_syntax.NETWORK, lambda row: row.keyword)
def test_transfer_syntax(row: transfer_syntax.TransferSyntax):
    assert getattr(transfer_syntax, row.keyword) is row
    assert transfer_syntax.lookup(row) is row
    if row in REGISTRY:
        known = UID(row)
        assert (row.implicit, row.little_endian) == (known.is_implicit_VR, known.is_little_endian)
        whole = "Deflate" in row.keyword and row.keyword != "DeflatedImageFrameCompression"  # which deflates frames
        assert row.deflated == whole
        # pydicom counts the JPIP syntaxes as encapsulated; PS3.5 A.6 has no pixels in them at all.
        assert row.encapsulated == (known.is_encapsulated and not row.keyword.startswith("JPIP"))


def test_defaults_hold_implicit_vr():
    """PS3.5 10.1: an application entity that proposes anything but compressed syntaxes has to propose this one too."""
    assert transfer_syntax.ImplicitVRLittleEndian in transfer_syntax.DEFAULT_PROPOSED
    assert transfer_syntax.lookup("1.2.3") is None


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))])
def test_a_transfer_syntax_survives_copy_and_pickle(remake):
    again = remake(transfer_syntax.DeflatedExplicitVRLittleEndian)
    assert again == transfer_syntax.DeflatedExplicitVRLittleEndian
    assert (again.deflated, again.keyword) == (True, "DeflatedExplicitVRLittleEndian")


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1, 1, 7), "rejected permanently by service user: called AE title not recognized"),
        ((1, 2, 2), "rejected permanently by service provider, ACSE: protocol version not supported"),
        ((2, 3, 2), "rejected for now by service provider, presentation: local limit exceeded"),
        ((9, 8, 7), "result 9 by source 8: reason 7"),
    ],
)
def test_reject_meaning(numbers, words):
    assert reason.reject_meaning(*numbers) == words


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0, 0), "service user"),
        ((0, 2), "service user"),
        ((2, 2), "service provider: unexpected PDU"),
        ((2, 99), "service provider: reason 99"),
        ((1, 0), "source 1: no reason given"),
    ],
)
def test_abort_meaning(numbers, words):
    assert reason.abort_meaning(*numbers) == words


@pytest.mark.parametrize(("result", "words"), [(0, "accepted"), (3, "abstract syntax not supported"), (7, "result 7")])
def test_context_result_meaning(result, words):
    assert reason.context_result_meaning(result) == words


@pytest.mark.parametrize(
    ("row", "indexes"),
    [
        (sop_class.StudyRootQueryRetrieveInformationModelFind, [0, 1, 2, 3, 4, 5, 6]),
        (sop_class.StudyRootQueryRetrieveInformationModelMove, [0, 1]),
        (sop_class.StudyRootQueryRetrieveInformationModelGet, [0, 1]),
        (sop_class.CompositeInstanceRootRetrieveGet, [1]),
        (sop_class.CompositeInstanceRetrieveWithoutBulkDataGet, [1]),
        (sop_class.ModalityWorklistInformationModelFind, [2, 3]),
        (sop_class.UnifiedProcedureStepPull, [2, 3]),
        (sop_class.CTImageStorage, [0, 2, 4]),
        (sop_class.Verification, []),
        (sop_class.HangingProtocolInformationModelFind, [2, 3]),
        (sop_class.InventoryFind, [2, 3]),
        (sop_class.HangingProtocolInformationModelMove, []),
    ],
    ids=lambda value: getattr(value, "keyword", None),
)
def test_extended_negotiation_fields(row, indexes):
    assert [field.position for field in extended.fields(row)] == indexes
