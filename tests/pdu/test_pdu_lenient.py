"""A-ASSOCIATE PDUs with one thing wrong in them: what is skipped, what is refused, and what is still no PDU."""

from __future__ import annotations

import pytest

from aiodimse import pdu
from aiodimse.errors import PDUDecodeError
from aiodimse.standard import leniency

CT, MR, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2"
LONG_UID = b"1." + b"2" * 63


def item(item_type: int, value: bytes) -> bytes:
    return bytes((item_type, 0)) + len(value).to_bytes(2, "big") + value


def context(context_id: int, *sub_items: bytes, item_type: int = 0x20, result: int = 0) -> bytes:
    return item(item_type, bytes((context_id, 0, result, 0)) + b"".join(sub_items))


def associate(
    *items: bytes, pdu_type: int = 1, called: bytes = b"PACS".ljust(16), calling: bytes = b"ME".ljust(16)
) -> bytes:
    body = b"\0\1\0\0" + called + calling + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1") + b"".join(items)
    return bytes((pdu_type, 0)) + len(body).to_bytes(4, "big") + body


GOOD = context(3, item(0x30, CT.encode()), item(0x40, IMPLICIT.encode()))
ROLE = b"\0\x19" + CT.encode() + b"\1\1"
SKIPPED = {
    "maximum length of 3": item(0x51, bytes(3)),
    "implementation class over 64": item(0x52, LONG_UID),
    "implementation class not ASCII": item(0x52, b"1.2.\xb2"),
    "window of 3": item(0x53, bytes(3)),
    "role of nothing": item(0x54, b""),
    "role past its end": item(0x54, b"\0\x091.2\1\1"),
    "role without SCP": item(0x54, b"\0\0031.2\1"),
    "extended past its end": item(0x56, b"\0\x091.2"),
    "extended not ASCII": item(0x56, b"\0\0031.\xff\1"),
    "common extended cut": item(0x57, b"\0\0031.2"),
    "related past their list": item(0x57, b"\0\0\0\0\0\3\0\0021x"),
}
PADDED = {
    "maximum length of 6": (item(0x51, b"\0\0\x40\0\0\0"), pdu.MaximumLength(0x4000)),
    "window of 6": (item(0x53, b"\0\3\0\4\0\0"), pdu.OperationsWindow(3, 4)),
    "role with a pad byte": (item(0x54, ROLE + b"\0"), pdu.RoleSelection(CT, True, True)),
    "identity with a pad byte": (
        item(0x58, b"\1\0\0\2me\0\0\0"),
        pdu.UserIdentityRequest(1, False, b"me"),
    ),
}
FATAL = {
    "identity cut": item(0x50, item(0x58, b"\1")),
    "server response past its end": item(0x50, item(0x59, b"\0\1")),
    "sub-item past user information": item(0x50, item(0x51, bytes(4))[:-1]),
    "context of nothing": item(0x20, b""),
    "syntax past its context": context(1, item(0x30, b"1.2")[:-1]),
    "application context not ASCII": item(0x10, b"\xff"),
}


@pytest.mark.parametrize("pdu_type", [1, 2])
def test_a_sub_item_that_does_not_decode_is_skipped_and_the_others_count(pdu_type: int) -> None:
    for name, bad in SKIPPED.items():
        data = associate(GOOD, item(0x50, bad + item(0x55, b"V1")), pdu_type=pdu_type)
        decoded = pdu.decode(data)
        assert isinstance(decoded, pdu.AssociateRQ | pdu.AssociateAC), name
        information = decoded.user_information
        assert information.sub_items[0] == pdu.UnknownItem(bad[0], bad[4:]), name
        assert information.implementation_version_name == "V1", name
        assert [each.leniency for each in decoded.tolerated] == [leniency.ASSOCIATE_SUB_ITEM], name


def test_bytes_behind_the_fields_of_a_sub_item_are_skipped() -> None:
    for name, (padded, value) in PADDED.items():
        decoded = pdu.decode(associate(GOOD, item(0x50, padded)))
        assert isinstance(decoded, pdu.AssociateRQ)
        assert decoded.user_information.sub_items == (value,), name
        assert [each.leniency for each in decoded.tolerated] == [leniency.ASSOCIATE_SUB_ITEM_PADDING], name


@pytest.mark.parametrize("syntax", [b"1.2.\xb2", LONG_UID], ids=["not ASCII", "over 64"])
def test_a_context_with_a_wrong_uid_is_left_without_syntaxes(syntax: bytes) -> None:
    abstract = context(1, item(0x30, syntax), item(0x40, IMPLICIT.encode()))
    transfer = context(1, item(0x30, MR.encode()), item(0x40, IMPLICIT.encode()), item(0x40, syntax))
    for bad in (abstract, transfer):
        decoded = pdu.decode(associate(bad, GOOD))
        assert isinstance(decoded, pdu.AssociateRQ)
        assert decoded.contexts == (pdu.ProposedContext(1, "", ()), pdu.ProposedContext(3, CT, (IMPLICIT,)))
        assert [each.leniency for each in decoded.tolerated] == [leniency.CONTEXT_UID]


def test_a_result_with_a_wrong_uid_is_no_acceptance() -> None:
    bad = context(1, item(0x40, b"\xff"), item_type=0x21)
    decoded = pdu.decode(associate(bad, context(3, item(0x40, IMPLICIT.encode()), item_type=0x21), pdu_type=2))
    assert isinstance(decoded, pdu.AssociateAC)
    assert decoded.results == (pdu.ContextResult(1, 0, ""), pdu.ContextResult(3, 0, IMPLICIT))


@pytest.mark.parametrize(
    ("on_the_wire", "title", "is_noted"),
    [
        (b"PACS\0old bytes\0\0", "PACS", True),
        (b"PACS \0 \0 ".ljust(16), "PACS", False),
        (b" PACS\0\0\0\0\0\0\0\0\0\0\0", "PACS", False),
        (b"\0RUBBISH".ljust(16, b"\0"), "", True),
        (b"SIXTEEN LETTERS!", "SIXTEEN LETTERS!", False),
    ],
)
def test_a_title_ends_at_its_first_nul(on_the_wire: bytes, title: str, is_noted: bool) -> None:
    for data in (associate(called=on_the_wire), associate(calling=on_the_wire)):
        decoded = pdu.decode(data)
        assert isinstance(decoded, pdu.AssociateRQ)
        assert title in (decoded.called_ae_title, decoded.calling_ae_title)
        assert [each.leniency for each in decoded.tolerated] == [leniency.AE_TITLE_AFTER_NUL] * is_noted


def test_what_counts_or_cannot_be_followed_is_no_pdu() -> None:
    for name, items in FATAL.items():
        data = associate(GOOD, items)
        if name == "application context not ASCII":
            data = data.replace(item(0x10, b"1.2.840.10008.3.1.1.1"), item(0x10, b"\xff.2.840.10008.3.1.1.1"))
        with pytest.raises(PDUDecodeError):
            pdu.decode(data)


def test_strict_tolerates_nothing() -> None:
    for name, items in {**SKIPPED, **{name: items for name, (items, _) in PADDED.items()}}.items():
        with pytest.raises(PDUDecodeError):
            pytest.fail(f"{name}: {pdu.decode(associate(GOOD, item(0x50, items)), strict=True)}")
    with pytest.raises(PDUDecodeError):
        pdu.decode(associate(context(1, item(0x30, LONG_UID)), GOOD), strict=True)
    decoded = pdu.decode(associate(called=b"PACS\0rubbish".ljust(16)), strict=True)
    assert isinstance(decoded, pdu.AssociateRQ)
    assert decoded.called_ae_title == "PACS\0rubbish"
