"""The codec by itself: vectors, round trips, what is tolerated, what is not and how that is named."""

from __future__ import annotations

import pytest
from hypotheses import examples
from hypothesis import given
from hypothesis import strategies as st

from aiodimse import pdu
from aiodimse.config import Limits
from aiodimse.errors import LocalProtocolError, PDUDecodeError
from aiodimse.pdu import cursor
from aiodimse.standard import transfer_syntax

# --- values -----------------------------------------------------------------------------------------------------------

U8, U16, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
UIDS = st.text("0123456789.", max_size=64)
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters=" \0"), max_size=16)
SMALL = st.binary(max_size=40)

SUB_ITEMS = st.one_of(
    st.builds(pdu.MaximumLength, U32),
    st.builds(pdu.ImplementationClassUID, UIDS),
    st.builds(pdu.ImplementationVersionName, LATIN),
    st.builds(pdu.OperationsWindow, U16, U16),
    st.builds(pdu.RoleSelection, UIDS, st.booleans(), st.booleans()),
    st.builds(pdu.ExtendedNegotiation, UIDS, SMALL),
    st.builds(pdu.CommonExtendedNegotiation, UIDS, UIDS, st.lists(UIDS, max_size=4).map(tuple)),
    st.builds(pdu.UserIdentityRequest, U8, st.booleans(), SMALL, SMALL),
    st.builds(pdu.UserIdentityResponse, SMALL),
    st.builds(pdu.UnknownItem, U8.filter(lambda each: not 0x51 <= each <= 0x59), SMALL),
)
COMMON = {
    "called_ae_title": LATIN,
    "calling_ae_title": LATIN,
    "user_information": st.builds(pdu.UserInformation, st.lists(SUB_ITEMS, max_size=6).map(tuple)),
    "application_context": UIDS,
    "protocol_version": U16,
    "unknown_items": st.lists(st.builds(pdu.UnknownItem, st.integers(0x60, 0xFF), SMALL), max_size=2).map(tuple),
}
CONTEXTS = st.builds(pdu.ProposedContext, U8, UIDS, st.lists(UIDS, max_size=4).map(tuple))
RESULTS = st.builds(pdu.ContextResult, U8, U8, UIDS)
PDVS = st.builds(pdu.PDV, U8, st.booleans(), st.booleans(), SMALL)
PDUS = st.one_of(
    st.builds(pdu.AssociateRQ, contexts=st.lists(CONTEXTS, max_size=4).map(tuple), **COMMON),
    st.builds(pdu.AssociateAC, results=st.lists(RESULTS, max_size=4).map(tuple), **COMMON),
    st.builds(pdu.AssociateRJ, U8, U8, U8),
    st.builds(pdu.PDataTF, st.lists(PDVS, min_size=1, max_size=4).map(tuple)),
    st.just(pdu.ReleaseRQ()),
    st.just(pdu.ReleaseRP()),
    st.builds(pdu.Abort, U8, U8),
)


@examples(500)
@given(PDUS)
def test_round_trip(value):
    assert pdu.decode(pdu.encode(value)) == value
    assert str(value).isprintable()


@examples(300)
@given(SUB_ITEMS)
def test_round_trip_of_each_sub_item(value):
    assert decode_sub_items(pdu.encode(associate(user=(value,)))) == (value,)


@examples(1000)
@given(st.binary(max_size=120) | st.builds(lambda kind, rest: framed(kind, rest), st.integers(0, 8), SMALL))
def test_any_bytes_give_a_pdu_or_the_documented_error(data):
    fault = None
    try:
        pdu.decode(data)
    except PDUDecodeError as error:
        fault = error
    assert fault is None or 0 <= fault.offset <= len(data)


# --- bytes by hand ----------------------------------------------------------------------------------------------------


def framed(pdu_type: int, value: bytes) -> bytes:
    return bytes((pdu_type, 0)) + len(value).to_bytes(4, "big") + value


def item(item_type: int, value: bytes, length: int | None = None) -> bytes:
    return bytes((item_type, 0)) + (len(value) if length is None else length).to_bytes(2, "big") + value


FIXED = b"\0\1\0\0" + b"CALLED          " + b"CALLING         " + bytes(32)
ITEMS_AT = 6 + len(FIXED)


def request(*items: bytes) -> bytes:
    return framed(1, FIXED + b"".join(items))


def associate(user: tuple = (), contexts: tuple = ()) -> pdu.AssociateRQ:
    return pdu.AssociateRQ("CALLED", "CALLING", contexts, pdu.UserInformation(user))


def decode_sub_items(data: bytes) -> tuple:
    return pdu.decode(data).user_information.sub_items


# PS3.7 D.3.3 and PS3.8 D.1, byte by byte: a round trip alone would not see a field in the wrong place
SUB_ITEM_VECTORS = [
    (pdu.MaximumLength(0x4000), "51 00 0004 00004000"),
    (pdu.ImplementationClassUID("1.2"), "52 00 0003 312e32"),
    (pdu.OperationsWindow(2, 3), "53 00 0004 0002 0003"),
    (pdu.RoleSelection("1.2", False, True), "54 00 0007 0003 312e32 00 01"),
    (pdu.RoleSelection("1.2", True, False), "54 00 0007 0003 312e32 01 00"),
    (pdu.ImplementationVersionName("AB"), "55 00 0002 4142"),
    (pdu.ExtendedNegotiation("1.2", b"\1\0\1"), "56 00 0008 0003 312e32 010001"),
    (
        pdu.CommonExtendedNegotiation("1.2", "1.3", ("1.4", "1.55")),
        "57 00 0017 0003 312e32 0003 312e33 000b 0003 312e34 0004 312e3535",
    ),
    (pdu.UserIdentityRequest(2, True, b"me", b"pw"), "58 00 000a 02 01 0002 6d65 0002 7077"),
    (pdu.UserIdentityResponse(b"ok"), "59 00 0004 0002 6f6b"),
    (pdu.UnknownItem(0x60, b"?"), "60 00 0001 3f"),
]


@pytest.mark.parametrize(("value", "wire"), SUB_ITEM_VECTORS, ids=lambda each: type(each).__name__)
def test_sub_item_vectors(value, wire):
    expected = request(item(0x10, b"1.2.840.10008.3.1.1.1"), item(0x50, bytes.fromhex(wire)))
    assert pdu.encode(associate(user=(value,))) == expected
    assert decode_sub_items(expected) == (value,)


PDU_VECTORS = [
    (pdu.AssociateRJ(1, 2, 3), "03 00 00000004 00 01 02 03"),
    (pdu.ReleaseRQ(), "05 00 00000004 00000000"),
    (pdu.ReleaseRP(), "06 00 00000004 00000000"),
    (pdu.Abort(2, 6), "07 00 00000004 00 00 02 06"),
    (pdu.PDataTF((pdu.PDV(3, True, False, b"ab"),)), "04 00 00000008 00000004 03 01 6162"),
    (pdu.PDataTF((pdu.PDV(3, False, True, b""), pdu.PDV(5, True, True, b"a"))),
     "04 00 0000000d 00000002 03 02 00000003 05 03 61"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "wire"), PDU_VECTORS, ids=lambda each: type(each).__name__)
def test_pdu_vectors(value, wire):
    assert pdu.encode(value) == bytes.fromhex(wire)
    assert pdu.decode(bytes.fromhex(wire)) == value


@pytest.mark.parametrize("is_command", [False, True])
@pytest.mark.parametrize("is_last", [False, True])
def test_pdata_header_is_the_start_of_the_pdu(is_command, is_last):
    whole = pdu.encode(pdu.PDataTF((pdu.PDV(7, is_command, is_last, b"abc"),)))
    assert pdu.pdata_header(7, is_command, is_last, 3) + b"abc" == whole


# --- what is tolerated ------------------------------------------------------------------------------------------------


def test_reserved_fields_are_not_tested():
    assert pdu.decode(bytes.fromhex("07 ff 00000004 ff ff 02 06")) == pdu.Abort(2, 6)
    assert pdu.decode(bytes.fromhex("05 ff 00000004 deadbeef")) == pdu.ReleaseRQ()
    assert pdu.decode(bytes.fromhex("04 ff 00000007 00000003 01 ff 61")).pdvs == (pdu.PDV(1, True, True, b"a"),)


def test_reserved_bytes_of_a_context_are_kept_for_the_record():
    raw = context(b"")[:-3] + b"\0\xff\0"
    decoded = pdu.decode(raw)
    assert decoded.contexts == (pdu.ProposedContext(1, "", ()),)
    assert b"\1\0\xff\0" in pdu.encode(decoded)


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        (b"ME              ", "ME"),
        (b"ME\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "ME"),
        (b"ME \0            ", "ME"),
        (b"  ME            ", "ME"),
        (b"M E             ", "M E"),
        (b"K\xd6LN            ", "KÖLN"),
        (b"                ", ""),
        (b"SIXTEEN_LETTERS!", "SIXTEEN_LETTERS!"),
    ],
)
def test_ae_titles(raw, title):
    decoded = pdu.decode(framed(1, b"\0\1\0\0" + raw + raw + bytes(32)))
    assert (decoded.called_ae_title, decoded.calling_ae_title) == (title, title)


@pytest.mark.parametrize("raw", [b"1.2.3", b"1.2.3\0", b"1.2.3 ", b" 1.2.3\0\0", b"1.2.3" + bytes(64)])
def test_padded_uids(raw):
    sized = len(raw).to_bytes(2, "big") + raw
    context = item(0x20, b"\1\0\0\0" + item(0x30, raw) + item(0x40, raw))
    user = item(0x50, item(0x52, raw) + item(0x54, sized + b"\1\1") + item(0x56, sized + b"\1"))
    decoded = pdu.decode(request(item(0x10, raw), context, user))
    assert decoded.application_context == "1.2.3"
    assert decoded.contexts == (pdu.ProposedContext(1, "1.2.3", ("1.2.3",)),)
    assert decoded.user_information.implementation_class_uid == "1.2.3"
    assert list(decoded.user_information.roles) == list(decoded.user_information.extended) == ["1.2.3"]


def test_everything_may_be_missing():
    decoded = pdu.decode(request())
    assert decoded == pdu.AssociateRQ("CALLED", "CALLING", (), pdu.UserInformation(()), application_context="")
    information = decoded.user_information
    assert information.maximum_length is None
    assert information.implementation_class_uid is None
    assert information.implementation_version_name is None
    assert information.operations_window is None
    assert information.user_identity is None
    assert information.user_identity_response is None
    assert (information.roles, information.extended, information.common_extended) == ({}, {}, ())
    assert "maximum length absent" in str(decoded)


def test_items_may_come_in_any_order():
    context = item(0x20, b"\1\0\0\0" + item(0x40, b"1.3") + item(0x30, b"1.2") + item(0x40, b"1.4"))
    user = item(0x50, item(0x55, b"V1 ") + item(0x52, b"1.9") + item(0x51, b"\0\0\1\0"))
    decoded = pdu.decode(request(user, context, item(0x10, b"1.1")))
    assert decoded.contexts == (pdu.ProposedContext(1, "1.2", ("1.3", "1.4")),)
    assert decoded.application_context == "1.1"
    assert decoded.user_information.sub_items == (
        pdu.ImplementationVersionName("V1"), pdu.ImplementationClassUID("1.9"), pdu.MaximumLength(256),
    )  # fmt: skip


def test_unknown_and_repeated_items_are_kept_and_skipped():
    result = item(0x21, b"\1\0\0\0" + item(0x40, b"1.3"))
    extras = (item(0x99, b"?"), item(0x10, b"1.1"), item(0x10, b"1.8"), result, item(0x50, b""), item(0x50, b"x"))
    decoded = pdu.decode(request(*extras))
    assert decoded.application_context == "1.1"
    assert [each.item_type for each in decoded.unknown_items] == [0x99, 0x10, 0x21, 0x50]
    assert decoded.contexts == ()
    proposal = item(0x20, b"\1\0\0\0" + item(0x30, b"1.2"))
    assert pdu.decode(framed(2, FIXED + proposal)).unknown_items == (pdu.UnknownItem(0x20, proposal[4:]),)
    inside = item(0x20, b"\1\0\0\0" + item(0x30, b"1.2") + item(0x99, b"?") + item(0x30, b"1.5"))
    assert pdu.decode(request(inside)).contexts == (pdu.ProposedContext(1, "1.2", ()),)


def test_a_refused_context_may_have_no_transfer_syntax():
    raw = framed(2, FIXED + item(0x21, b"\1\0\3\0") + item(0x21, b"\3\0\4\0" + item(0x40, b"")))
    assert pdu.decode(raw).results == (pdu.ContextResult(1, 3, ""), pdu.ContextResult(3, 4, ""))


def test_later_versions_of_common_extended_negotiation_may_say_more():
    raw = item(0x57, b"\0\3" + b"1.2" + b"\0\3" + b"1.3" + b"\0\0" + b"more")
    assert decode_sub_items(request(item(0x50, raw))) == (pdu.CommonExtendedNegotiation("1.2", "1.3", ()),)


def test_of_two_alike_the_first_counts_and_by_sop_class_the_last():
    first, second = pdu.RoleSelection("1.2", True, True), pdu.RoleSelection("1.2", False, True)
    information = pdu.UserInformation((pdu.MaximumLength(1), first, pdu.MaximumLength(2), second))
    assert information.maximum_length == 1
    assert information.roles == {"1.2": second}


def test_text_of_a_peer_cannot_write_log_lines():
    decoded = pdu.decode(framed(1, b"\0\1\0\0" + b"A\nINFO all well " + b"B\x1b[2J           " + bytes(32)))
    assert str(decoded).isprintable()


# --- what is not ------------------------------------------------------------------------------------------------------


def user(sub_item: bytes) -> bytes:
    return request(item(0x50, sub_item))


def context(sub_items: bytes) -> bytes:
    return request(item(0x20, b"\1\0\0\0" + sub_items))


AT = ITEMS_AT  # where the items begin
SUB = AT + 4  # where the sub-items of the first item, User Information, begin
SYNTAX = AT + 8  # the same for a presentation context
LONG_UID = b"1." + b"2" * 63

FAULTS = {
    "nothing": (b"", "PDU-type", 0, 1),
    "unknown type": (framed(8, b""), "PDU-type", 0, 1),
    "type 0": (framed(0, b""), "PDU-type", 0, 1),
    "one byte": (b"\1", "Reserved", 1, 6),
    "header cut": (b"\5\0\0\0", "PDU-length", 2, 6),
    "shorter than announced": (framed(5, bytes(4))[:-1], "PDU-length", 2, 6),
    "longer than announced": (framed(5, bytes(4)) + b"\0", "PDU-length", 2, 6),
    "release of 5": (framed(5, bytes(5)), "PDU-length", 2, 6),
    "release response of 0": (framed(6, b""), "PDU-length", 2, 6),
    "abort of 3": (framed(7, bytes(3)), "PDU-length", 2, 6),
    "reject of 8": (framed(3, bytes(8)), "PDU-length", 2, 6),
    "P-DATA without a PDV": (framed(4, b""), "PDU-length", 2, 6),
    "P-DATA too short for one": (framed(4, bytes(5)), "PDU-length", 2, 6),
    "PDV length 0": (framed(4, bytes(6)), "Item-length", 6, 6),
    "PDV length 1": (framed(4, b"\0\0\0\1\1\1"), "Item-length", 6, 6),
    "PDV past its PDU": (framed(4, b"\0\0\0\4\1\1a"), "Item-length", 6, 6),
    "second PDV past its PDU": (framed(4, b"\0\0\0\2\1\1" + b"\0\0\0\4\1\1a"), "Item-length", 12, 6),
    "PDV header cut": (framed(4, b"\0\0\0\2\1\1" + b"\0\0\0\2\1"), "Item-length", 12, 6),
    "associate of nothing": (framed(1, b""), "Protocol-version", 6, 6),
    "called title cut": (framed(1, FIXED[:10]), "Called-AE-title", 10, 6),
    "calling title cut": (framed(2, FIXED[:30]), "Calling-AE-title", 26, 6),
    "reserved cut": (framed(1, FIXED[:-1]), "Reserved", 42, 6),
    "item header cut": (request(b"\x10\0\0"), "Item-length", AT, 6),
    "item past its PDU": (request(item(0x10, b"1.2", 4)), "Item-length", AT + 2, 6),
    "unknown item past its PDU": (request(item(0x99, b"", 1)), "Item-length", AT + 2, 6),
    "application context too long": (request(item(0x10, LONG_UID)), "Application-context-name", AT + 4, 6),
    "application context not ASCII": (request(item(0x10, b"1.\xb2")), "Application-context-name", AT + 4, 6),
    "context of nothing": (request(item(0x20, b"")), "Presentation-context-ID", AT + 4, 6),
    "context cut": (request(item(0x20, b"\1\0\0")), "Reserved", AT + 5, 6),
    "result cut": (framed(2, FIXED + item(0x21, b"\1\0")), "Result/Reason", AT + 6, 6),
    "abstract syntax past its context": (context(item(0x30, b"1.2", 9)), "Item-length", SYNTAX + 2, 6),
    "abstract syntax too long": (context(item(0x30, LONG_UID)), "Abstract-syntax-name", SYNTAX + 4, 6),
    "transfer syntax not ASCII": (context(item(0x40, b"\xff")), "Transfer-syntax-name", SYNTAX + 4, 6),
    "transfer syntax too long": (context(item(0x40, LONG_UID)), "Transfer-syntax-name", SYNTAX + 4, 6),
    "sub-item past user information": (user(item(0x51, bytes(4), 5)), "Item-length", SUB + 2, 6),
    "sub-item header cut": (user(b"\x51"), "Item-length", SUB, 6),
    "maximum length of 3": (user(item(0x51, bytes(3))), "Maximum-length-received", SUB + 4, 6),
    "maximum length of 5": (user(item(0x51, bytes(5))), "Item-length", SUB + 2, 6),
    "implementation class": (user(item(0x52, LONG_UID)), "Implementation-class-uid", SUB + 4, 6),
    "window of 3": (user(item(0x53, bytes(3))), "Maximum-number-operations-performed", SUB + 6, 6),
    "window of 6": (user(item(0x53, bytes(6))), "Item-length", SUB + 2, 6),
    "role of nothing": (user(item(0x54, b"")), "UID-length", SUB + 4, 6),
    "role past its end": (user(item(0x54, b"\0\x091.2\1\1")), "SOP-class-uid", SUB + 6, 6),
    "role without SCP": (user(item(0x54, b"\0\0031.2\1")), "SCP-role", SUB + 10, 6),
    "role with more": (user(item(0x54, b"\0\0031.2\1\1\1")), "Item-length", SUB + 2, 6),
    "extended past its end": (user(item(0x56, b"\0\x091.2")), "SOP-class-uid", SUB + 6, 6),
    "common extended cut": (user(item(0x57, b"\0\0031.2")), "Service-class-uid-length", SUB + 9, 6),
    "related past their item": (user(item(0x57, b"\0\0\0\0\0\5\0\0")),
                                "Related-general-sop-class-identification-length", SUB + 10, 6),
    "related past their list": (user(item(0x57, b"\0\0\0\0\0\3\0\0021x")),
                                "Related-general-sop-class-uid", SUB + 13, 6),
    "identity cut": (user(item(0x58, b"\1")), "Positive-response-requested", SUB + 5, 6),
    "primary field past its end": (user(item(0x58, b"\1\0\0\x09me")), "Primary-field", SUB + 8, 6),
    "secondary length missing": (user(item(0x58, b"\1\0\0\2me")), "Secondary-field-length", SUB + 10, 6),
    "secondary field past its end": (user(item(0x58, b"\2\0\0\2me\0\1")), "Secondary-field", SUB + 12, 6),
    "identity with more": (user(item(0x58, b"\1\0\0\0\0\0x")), "Item-length", SUB + 2, 6),
    "server response past its end": (user(item(0x59, b"\0\1")), "Server-response", SUB + 6, 6),
}  # fmt: skip


@pytest.mark.parametrize(("data", "field", "offset", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_named(data, field, offset, reason):
    with pytest.raises(PDUDecodeError) as caught:
        pdu.decode(data, strict=True)
    assert (caught.value.field, caught.value.offset, caught.value.reason) == (field, offset, reason)


def test_an_error_says_in_which_item():
    with pytest.raises(PDUDecodeError, match=r"^Item-length at offset 84: Abstract Syntax Sub-Item: 9 bytes announced"):
        pdu.decode(context(item(0x30, b"1.2", 9)))


def test_items_are_counted_through_all_levels():
    syntaxes = item(0x40, b"") * 4000
    enough = cursor.MAX_ITEMS - 2 * 4001
    pdu.decode(request(item(0x20, b"\1\0\0\0" + syntaxes) * 2, item(0x99, b"") * enough))
    with pytest.raises(PDUDecodeError, match="more items than there can be"):
        pdu.decode(request(item(0x20, b"\1\0\0\0" + syntaxes) * 2, item(0x99, b"") * (enough + 1)))


def test_items_are_counted_on_each_level():
    most = cursor.MAX_ITEMS_OF_KIND
    for few, many in ((request(item(0x99, b"") * n) for n in (most, most + 1)),
                      (user(item(0x99, b"") * n) for n in (most, most + 1))):  # fmt: skip
        pdu.decode(few)
        with pytest.raises(PDUDecodeError, match="more items than there can be"):
            pdu.decode(many)


def test_every_transfer_syntax_in_every_context_is_no_more_than_there_can_be():
    all_of_them = b"".join(item(0x40, uid.encode()) for uid in transfer_syntax.NETWORK)
    contexts = b"".join(item(0x20, bytes((2 * n + 1, 0, 0, 0)) + item(0x30, b"1.2") + all_of_them) for n in range(128))
    data = request(contexts + item(0x50, item(0x51, bytes(4)) + item(0x54, b"\0\0031.2\1\1") * 128))
    assert len(pdu.decode(data).contexts) == 128
    assert len(data) < Limits().associate_pdu_length


UNWRITABLE = {
    "title too long": pdu.AssociateRQ("SEVENTEEN_LETTERS", "ME", (), pdu.UserInformation()),
    "title not Latin-1": pdu.AssociateAC("ME", "日本", (), pdu.UserInformation()),
    "UID too long": associate(contexts=(pdu.ProposedContext(1, "1" * 65, ()),)),
    "UID not ASCII": associate(user=(pdu.ImplementationClassUID("1.²"),)),
    "context id": associate(contexts=(pdu.ProposedContext(256, "1.2", ()),)),
    "reserved of a context": associate(contexts=(pdu.ProposedContext(1, "1.2", (), b"\0"),)),
    "negative": associate(user=(pdu.MaximumLength(-1),)),
    "window": associate(user=(pdu.OperationsWindow(65536, 1),)),
    "field over 65535": associate(user=(pdu.UserIdentityRequest(3, False, bytes(65536)),)),
    "item over 65535": associate(user=(pdu.UserIdentityRequest(2, False, bytes(40000), bytes(40000)),)),
    "items over 65535": associate(user=(pdu.UnknownItem(0x60, bytes(40000)),) * 2),
    "reason": pdu.AssociateRJ(1, 1, 256),
}


@pytest.mark.parametrize("value", UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_what_does_not_fit_is_the_local_callers_fault(value):
    with pytest.raises(LocalProtocolError):
        pdu.encode(value)


def test_secrets_and_patient_data_are_in_no_repr():
    secret = b"canary"
    values = (
        pdu.UserIdentityRequest(2, True, secret, secret),
        pdu.UserIdentityResponse(secret),
        pdu.UnknownItem(0x60, secret),
        pdu.PDV(1, False, True, secret),
        pdu.PDataTF((pdu.PDV(1, False, True, secret),)),
        pdu.DataPiece(1, False, True, secret),
    )
    for value in values:
        assert "canary" not in f"{value} {value!r}"
