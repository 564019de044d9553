"""Negotiation as tables of cases: what is proposed, what is answered, what both sides then know."""

from __future__ import annotations

from dataclasses import fields, replace

import ps38
import pytest

from aiodimse.association import (
    ExtendedQuery,
    ExtendedRetrieve,
    Negotiated,
    Offer,
    PresentationContext,
    SOPClassSupport,
    answer_request,
    as_context,
    check_titles,
    fill_with_storage,
    narrow,
    propose,
    settle,
)
from aiodimse.association.answering import allows
from aiodimse.config import Limits
from aiodimse.errors import LocalProtocolError
from aiodimse.pdu import (
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    CommonExtendedNegotiation,
    ContextResult,
    ExtendedNegotiation,
    MaximumLength,
    OperationsWindow,
    ProposedContext,
    RoleSelection,
    UserIdentityRequest,
    UserIdentityResponse,
    UserInformation,
    item_codec,
    pdus,
)
from aiodimse.standard import extended as extended_rows
from aiodimse.standard import sop_class

IMPLICIT, EXPLICIT, DEFLATED, BIG = "1.2.840.10008.1.2", *(f"1.2.840.10008.1.2.{n}" for n in ("1", "1.99", "2"))
JPEG = "1.2.840.10008.1.2.4.70"
CT, MR = str(sop_class.CTImageStorage), str(sop_class.MRImageStorage)
FIND = str(sop_class.StudyRootQueryRetrieveInformationModelFind)
GET = str(sop_class.StudyRootQueryRetrieveInformationModelGet)
MOVE = str(sop_class.StudyRootQueryRetrieveInformationModelMove)
ECHO = str(sop_class.Verification)
PRIVATE, STORAGE_SERVICE = "1.2.3.4.5", "1.2.840.10008.4.2"
LIMITS = Limits()


def rq(*contexts: str | PresentationContext, **more: object) -> AssociateRQ:
    return propose(contexts, ae_title="ME", called_ae_title="YOU", limits=LIMITS, **more)  # type: ignore[arg-type]


def ac(request: AssociateRQ, offer: Offer, **more: object) -> AssociateAC:
    got = answer_request(request, offer, limits=LIMITS, **more)  # type: ignore[arg-type]
    assert isinstance(got, AssociateAC)
    assert pdus.decode(pdus.encode(got)) == got
    return got


def both_sides(request: AssociateRQ, response: AssociateAC) -> tuple[Negotiated, Negotiated]:
    return settle(request, response, "requestor"), settle(request, response, "acceptor")


# --- propose ----------------------------------------------------------------------------------------------------------


def test_propose_by_default() -> None:
    request = rq(ECHO, FIND)
    assert request.contexts == (
        ProposedContext(1, ECHO, (EXPLICIT, IMPLICIT)),
        ProposedContext(3, FIND, (EXPLICIT, IMPLICIT)),
    )
    info = request.user_information
    assert (info.maximum_length, info.operations_window, info.roles, info.extended) == (262144, None, {}, {})
    assert info.implementation_class_uid
    assert info.implementation_version_name
    assert (request.called_ae_title, request.calling_ae_title) == ("YOU", "ME")
    assert pdus.decode(pdus.encode(request)) == request


def test_propose_everything_in_ascending_order() -> None:
    identity = UserIdentityRequest(2, True, b"me", b"secret")
    common = CommonExtendedNegotiation(PRIVATE, STORAGE_SERVICE, (CT,))
    request = rq(
        PresentationContext(CT, [JPEG], scu=False, scp=True),
        PresentationContext(CT, [IMPLICIT]),
        PresentationContext(FIND, extended=ExtendedQuery(date_time=True)),
        PresentationContext(MOVE, extended=b"\1"),
        operations_window=(0, 3),
        user_identity=identity,
        common_extended=[common],
    )
    encoded = pdus.encode(request)
    assert pdus.decode(encoded) == request
    info = request.user_information
    assert info.roles == {CT: RoleSelection(CT, scu=True, scp=True)}  # of the SOP class: one for both contexts
    assert info.extended == {FIND: b"\0\1\0\0\0\0\0", MOVE: b"\1"}
    assert info.operations_window == OperationsWindow(0, 3)
    assert (info.user_identity, info.common_extended) == (identity, (common,))
    types = [item_codec._write_sub_item(item)[0] for item in info.sub_items]
    assert types == sorted(types)
    assert b"secret" not in repr(request).encode()


@pytest.mark.parametrize(
    "contexts",
    [(), [ECHO] * 129, [PresentationContext(CT, [])], [PresentationContext(CT, scu=False, scp=False)]],
    ids=["none", "129", "no transfer syntax", "no role"],
)
def test_propose_refuses(contexts: list[str]) -> None:
    with pytest.raises(LocalProtocolError):
        rq(*contexts)


def test_128_contexts_fit() -> None:
    request = rq(*[ECHO] * 128)
    assert [context.context_id for context in request.contexts] == list(range(1, 256, 2))


# --- C-GET and its storage --------------------------------------------------------------------------------------------


def test_fill_for_c_get() -> None:
    filled = fill_with_storage([ECHO, GET])
    assert len(filled) == 128
    assert [c.uid for c in filled[2:]] == list(sop_class.GET_STORAGE_RANKED[:126])
    assert all((c.scu, c.scp) == (False, True) for c in filled[2:])
    assert len(rq(*filled).contexts) == 128


@pytest.mark.parametrize(
    ("contexts", "storage", "expected"),
    [
        ([ECHO, CT], None, [(ECHO, 1, 0), (CT, 1, 0)]),
        ([ECHO, CT], [MR], [(ECHO, 1, 0), (CT, 1, 0)]),
        ([GET], [], [(GET, 1, 0)]),
        ([GET], [CT, MR], [(GET, 1, 0), (CT, 0, 1), (MR, 0, 1)]),
        ([GET, CT], [CT], [(GET, 1, 0), (CT, 1, 1)]),  # a bare UID: to be sent as well, so both roles
        ([GET, PresentationContext(CT)], [CT], [(GET, 1, 0), (CT, 1, 0)]),  # said in full: as said
        ([GET], [PresentationContext(CT, [JPEG], scp=True)], [(GET, 1, 0), (CT, 1, 1)]),
        ([GET, PRIVATE], [PRIVATE], [(GET, 1, 0), (PRIVATE, 1, 1)]),
    ],
)
def test_fill_cases(contexts: list[str], storage: list[str], expected: list[tuple[str, int, int]]) -> None:
    assert [(c.uid, c.scu, c.scp) for c in fill_with_storage(contexts, storage)] == expected


def test_fill_never_pushes_out_what_was_asked_for() -> None:
    many = [GET, *(PresentationContext(CT, [JPEG]) for _ in range(126))]
    assert len(fill_with_storage(many)) == 128
    with pytest.raises(LocalProtocolError):
        rq(*fill_with_storage(many, [CT, MR, ECHO]))
    assert len(fill_with_storage([*many, ECHO, ECHO])) == 129
    assert as_context(many[1]) is many[1]


# --- answer: contexts and transfer syntaxes ---------------------------------------------------------------------------

ANY, LITTLE = SOPClassSupport(), SOPClassSupport((EXPLICIT, IMPLICIT))


@pytest.mark.parametrize(
    ("uid", "proposed", "served", "result"),
    [
        (ECHO, [IMPLICIT, EXPLICIT], LITTLE, (0, IMPLICIT)),  # the requestor's order decides
        (ECHO, [EXPLICIT, IMPLICIT], LITTLE, (0, EXPLICIT)),
        (ECHO, [BIG, IMPLICIT], LITTLE, (0, IMPLICIT)),
        (ECHO, [BIG, DEFLATED], LITTLE, (4, BIG)),
        (CT, [JPEG, IMPLICIT], ANY, (0, JPEG)),
        (CT, ["1.2.3", IMPLICIT], ANY, (0, IMPLICIT)),  # every known one is not everything
        (CT, ["1.2.3"], ANY, (4, "1.2.3")),
        (CT, ["1.2.3"], SOPClassSupport(["1.2.3"]), (0, "1.2.3")),
        (CT, [IMPLICIT], None, (3, IMPLICIT)),
        (PRIVATE, [IMPLICIT], None, (3, IMPLICIT)),
        ("", [IMPLICIT], None, (3, IMPLICIT)),
        (CT, [], ANY, (4, "")),
    ],
)
def test_choice_of_transfer_syntax(
    uid: str, proposed: list[str], served: SOPClassSupport, result: tuple[int, str]
) -> None:
    request = AssociateRQ("YOU", "ME", (ProposedContext(1, uid, tuple(proposed)),), UserInformation())
    response = answer_request(request, Offer({uid: served} if served else {}), limits=LIMITS)
    assert isinstance(response, AssociateAC)
    assert response.results == (ContextResult(1, *result),)


def test_nothing_accepted_is_an_association_all_the_same() -> None:
    response = ac(rq(CT, MR), Offer())
    assert [result.result for result in response.results] == [3, 3]
    user, provider = both_sides(rq(CT, MR), response)
    assert user.contexts == provider.contexts == {}
    assert user.refused == {1: (CT, 3), 3: (MR, 3)}
    assert user.answers() == {CT: "abstract syntax not supported", MR: "abstract syntax not supported"}


# --- answer: roles ----------------------------------------------------------------------------------------------------

# proposed SCU/SCP (None: no item) x served SCP/SCU of ours -> result, item, requestor's roles. PS3.7 D.3.3.4
_ROLES = [
    (None, (1, 0), 0, None, (1, 0)),
    (None, (1, 1), 0, None, (1, 0)),
    (None, (0, 1), 3, None, None),
    ((1, 0), (1, 0), 0, (1, 0), (1, 0)),
    ((1, 0), (1, 1), 0, (1, 0), (1, 0)),
    ((0, 1), (1, 1), 0, (0, 1), (0, 1)),
    ((0, 1), (0, 1), 0, (0, 1), (0, 1)),
    ((0, 1), (1, 0), 3, None, None),
    ((1, 1), (1, 0), 0, (1, 0), (1, 0)),
    ((1, 1), (0, 1), 0, (0, 1), (0, 1)),
    ((1, 1), (1, 1), 0, (1, 1), (1, 1)),
    ((0, 0), (1, 1), 3, None, None),
]


@pytest.mark.parametrize(("proposed", "served", "result", "item", "roles"), _ROLES, ids=str)
def test_roles(
    proposed: tuple[int, int] | None,
    served: tuple[int, int],
    result: int,
    item: tuple[int, int] | None,
    roles: tuple[int, int] | None,
) -> None:
    items = () if proposed is None else (RoleSelection(CT, bool(proposed[0]), bool(proposed[1])),)
    request = AssociateRQ("YOU", "ME", (ProposedContext(1, CT, (IMPLICIT,)),), UserInformation(items))
    response = ac(request, Offer({CT: SOPClassSupport(scp=bool(served[0]), scu=bool(served[1]))}))
    assert response.results[0].result == result
    assert response.user_information.roles == ({CT: RoleSelection(CT, *map(bool, item))} if item else {})
    user, provider = both_sides(request, response)
    if roles is None:
        assert user.contexts == provider.contexts == {}
    else:
        assert (user.contexts[1].scu, user.contexts[1].scp) == roles
        assert (provider.contexts[1].scp, provider.contexts[1].scu) == roles


@pytest.mark.parametrize(
    ("proposed", "served", "expected"),
    [
        ((0, 1), {}, (0, 1)),
        ((1, 1), {}, (0, 1)),
        ((0, 1), {CT: SOPClassSupport((IMPLICIT,))}, (0, 1)),  # "whatever store handlers exist"
        ((1, 1), {CT: SOPClassSupport((IMPLICIT,))}, (0, 1)),
        ((1, 0), {CT: ANY}, (1, 0)),
        ((1, 0), {}, None),
        (None, {}, None),
    ],
    ids=str,
)
def test_a_c_get_server_sends_any_storage_class(
    proposed: tuple[int, int], served: dict[str, SOPClassSupport], expected: tuple[int, int] | None
) -> None:
    items = () if proposed is None else (RoleSelection(CT, *map(bool, proposed)),)
    request = AssociateRQ("YOU", "ME", (ProposedContext(1, CT, (JPEG,)),), UserInformation(items))
    response = ac(request, Offer(served, any_storage_as_scu=True))
    assert response.results[0].result == (3 if expected is None else 0)
    assert response.user_information.roles == ({CT: RoleSelection(CT, *map(bool, expected))} if expected else {})


def test_a_c_get_server_takes_no_other_class_as_storage() -> None:
    request = rq(*(PresentationContext(uid, scu=False, scp=True) for uid in (FIND, PRIVATE, CT)))
    assert [result.result for result in ac(request, Offer(any_storage_as_scu=True)).results] == [3, 3, 0]
    named = CommonExtendedNegotiation(PRIVATE, STORAGE_SERVICE)
    request = rq(PresentationContext(PRIVATE, scu=False, scp=True), common_extended=[named])
    assert ac(request, Offer(any_storage_as_scu=True)).results[0].result == 0


@pytest.mark.parametrize(
    ("proposed", "answered", "roles"),
    [
        (None, (1, 1), (1, 0)),  # not asked for
        ((0, 1), None, (1, 0)),  # not answered: the default
        ((0, 1), (1, 1), (0, 1)),  # more than asked for
        ((1, 1), (0, 0), (0, 0)),
    ],
    ids=str,
)
def test_peers_that_answer_roles_oddly(
    proposed: tuple[int, int], answered: tuple[int, int], roles: tuple[int, int]
) -> None:
    def info(role: tuple[int, int] | None) -> UserInformation:
        return UserInformation((RoleSelection(CT, bool(role[0]), bool(role[1])),) if role else ())

    request = AssociateRQ("YOU", "ME", (ProposedContext(1, CT, (IMPLICIT,)),), info(proposed))
    response = AssociateAC("YOU", "ME", (ContextResult(1, 0, IMPLICIT),), info(answered))
    context = settle(request, response, "requestor").contexts[1]
    assert (context.scu, context.scp) == roles


# --- answer: unknown storage ------------------------------------------------------------------------------------------

_RELATED = CommonExtendedNegotiation(PRIVATE, STORAGE_SERVICE, ("1.9.9", CT))


@pytest.mark.parametrize(
    ("uid", "offer", "common", "result"),
    [
        (PRIVATE, Offer({CT: LITTLE}), None, 3),
        (PRIVATE, Offer({CT: LITTLE}), _RELATED, 0),
        (PRIVATE, Offer({MR: LITTLE}), _RELATED, 3),
        (PRIVATE, Offer({CT: SOPClassSupport((BIG,))}), _RELATED, 4),  # as the related class is served
        (PRIVATE, Offer({FIND: ANY}), CommonExtendedNegotiation(PRIVATE, STORAGE_SERVICE, (FIND,)), 3),
        (PRIVATE, Offer(unknown_storage=ANY), None, 0),
        (MR, Offer({CT: ANY}, unknown_storage=ANY), None, 0),
        (MR, Offer({MR: SOPClassSupport((BIG,))}, unknown_storage=ANY), None, 4),
        (FIND, Offer(unknown_storage=ANY), None, 3),
        (ECHO, Offer(unknown_storage=ANY), None, 3),
    ],
    ids=str,
)
def test_storage_that_is_not_known(
    uid: str, offer: Offer, common: CommonExtendedNegotiation | None, result: int
) -> None:
    request = rq(uid, common_extended=[common] if common else [])
    assert ac(request, offer).results[0].result == result


def test_registered_private_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sop_class, "_BY_UID", dict(sop_class._BY_UID))  # registering is for the whole process
    uid = str(sop_class.register("1.2.826.0.1.3680043.8.498.777", "PrivateStorage"))
    request = rq(GET, PresentationContext(uid, scu=False, scp=True))
    assert [r.result for r in ac(request, Offer({GET: LITTLE}, any_storage_as_scu=True)).results] == [0, 0]
    assert ac(rq(uid), Offer({uid: LITTLE})).results[0].result == 0


# --- titles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "title", "allowed"),
    [
        (True, "ANY", True),
        (False, "ANY", False),
        ("ARCHIVE", "ARCHIVE", True),
        ("ARCHIVE", " ARCHIVE  ", True),
        ("ARCHIVE", "ARCH", False),  # a str is one title, not its parts
        ("ARCHIVE", "archive", False),
        (["A", "B "], "B", True),
        ({"A"}, "B", False),
        (lambda title: title.startswith("CT"), " CT1", True),
        (lambda title: title.startswith("CT"), "MR1", False),
    ],
)
def test_title_policies(policy: object, title: str, allowed: bool) -> None:
    assert allows(policy, title) is allowed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "policies", "rj"),
    [
        ("YOU", {}, None),
        ("YOU  ", {}, None),
        ("OTHER", {}, AssociateRJ(1, 1, 7)),
        ("OTHER", {"accept_called": True}, None),
        ("OTHER", {"accept_called": ["YOU"]}, None),
        ("OTHER", {"accept_called": ["NOBODY"]}, AssociateRJ(1, 1, 7)),
        ("YOU", {"accept_called": ["NOBODY"]}, None),  # relaxes, never takes away
        ("YOU", {"accept_calling": ["ME"]}, None),
        ("YOU", {"accept_calling": ["SHE"]}, AssociateRJ(1, 1, 3)),
        ("OTHER", {"accept_calling": ["SHE"]}, AssociateRJ(1, 1, 7)),
        ("YOU", {"accept_calling": lambda title: title != "ME"}, AssociateRJ(1, 1, 3)),
    ],
)
def test_titles(ours: str, policies: dict[str, object], rj: AssociateRJ | None) -> None:
    request = rq(ECHO)
    assert check_titles(request, ours, **policies) == rj  # type: ignore[arg-type]
    got = answer_request(request, Offer({ECHO: ANY}), ae_title=ours, limits=LIMITS, **policies)  # type: ignore[arg-type]
    assert got == rj if rj else isinstance(got, AssociateAC)


def test_provider_rejects_before_the_user_is_asked() -> None:
    request = AssociateRQ("WRONG", "ME", rq(ECHO).contexts, UserInformation((MaximumLength(127),)))
    assert answer_request(request, Offer(), ae_title="YOU", limits=LIMITS) == AssociateRJ(1, 1, 1)


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "ours", "answered", "user", "provider"),
    [
        (None, (16, 16), None, (1, 1), (1, 1)),  # not proposed, not answered
        ((8, 1), (1, 16), (8, 1), (8, 1), (1, 8)),
        ((8, 4), (2, 3), (3, 2), (3, 2), (2, 3)),  # crosswise: what one invokes the other performs
        ((0, 0), (1, 16), (16, 1), (16, 1), (1, 16)),
        ((0, 0), (0, 0), (0, 0), (0, 0), (0, 0)),
        ((5, 5), (0, 0), (5, 5), (5, 5), (5, 5)),
        ((5, 5), (1, 1), (1, 1), (1, 1), (1, 1)),
    ],
    ids=str,
)
def test_operations_window(
    asked: tuple[int, int] | None,
    ours: tuple[int, int],
    answered: tuple[int, int] | None,
    user: tuple[int, int],
    provider: tuple[int, int],
) -> None:
    request = rq(ECHO, operations_window=asked or (1, 1))
    response = ac(request, Offer({ECHO: ANY}), operations_window=ours)
    assert response.user_information.operations_window == (OperationsWindow(*answered) if answered else None)
    one, other = both_sides(request, response)
    assert (one.invoked_window, one.performed_window) == user
    assert (other.invoked_window, other.performed_window) == provider


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [((4, 4), None, (1, 1)), (None, (9, 9), (1, 1)), ((4, 4), (9, 0), (4, 4)), ((0, 1), (0, 9), (0, 1))],
    ids=str,
)
def test_peers_that_answer_the_window_oddly(
    asked: tuple[int, int], given: tuple[int, int], expected: tuple[int, int]
) -> None:
    def info(window: tuple[int, int] | None) -> UserInformation:
        return UserInformation((OperationsWindow(*window),) if window else ())

    request = AssociateRQ("YOU", "ME", ps38.RQ.contexts, info(asked))
    got = settle(request, AssociateAC("YOU", "ME", ps38.AC.results, info(given)), "requestor")
    assert (got.invoked_window, got.performed_window) == expected


@pytest.mark.parametrize(("length", "expected"), [(None, 16384), (0, 0), (128, 128), (1 << 31, 1 << 31)])
def test_peer_maximum_length(length: int | None, expected: int) -> None:
    theirs = UserInformation(() if length is None else (MaximumLength(length),))
    ours = UserInformation((MaximumLength(5000),))
    request, response = (
        AssociateRQ("YOU", "ME", ps38.RQ.contexts, theirs),
        AssociateAC("YOU", "ME", ps38.AC.results, ours),
    )
    assert settle(request, response, "acceptor").peer_max_length == expected
    assert settle(request, response, "requestor").peer_max_length == 5000
    assert ac(request, Offer()).user_information.maximum_length == 262144


# --- extended negotiation ---------------------------------------------------------------------------------------------


def test_the_booleans_are_the_rows() -> None:
    for row, flags in (
        (sop_class.StudyRootQueryRetrieveInformationModelFind, ExtendedQuery),
        (sop_class.StudyRootQueryRetrieveInformationModelMove, ExtendedRetrieve),
        (sop_class.StudyRootQueryRetrieveInformationModelGet, ExtendedRetrieve),
    ):
        assert [byte.keyword for byte in extended_rows.fields(row)] == [flag.name for flag in fields(flags)]


@pytest.mark.parametrize(
    ("flags", "info"),
    [
        (ExtendedQuery(), b"\0\0\0\0\0\0\0"),
        (ExtendedQuery(relational=True, multiple_value_matching=True), b"\1\0\0\0\0\0\1"),
        (ExtendedRetrieve(enhanced_multi_frame=True), b"\0\1"),
    ],
)
def test_booleans_and_bytes(flags: ExtendedQuery | ExtendedRetrieve, info: bytes) -> None:
    assert bytes(flags) == info
    assert type(flags).from_bytes(info) == flags
    assert type(flags).from_bytes(info + b"\1\1") == flags  # of an edition to come
    assert type(flags).from_bytes(b"") == type(flags)()


ALL7 = ExtendedQuery(*[True] * 7)


@pytest.mark.parametrize(
    ("uid", "offered", "ours", "answered", "typed"),
    [
        (FIND, ALL7, ExtendedQuery(date_time=True), b"\0\1\0\0\0\0\0", ExtendedQuery(date_time=True)),
        (FIND, b"\1\1\1", ALL7, b"\1\1\1", ExtendedQuery(True, True, True)),  # never longer than the offer
        (FIND, ALL7, b"\1", b"\1\0\0\0\0\0\0", ExtendedQuery(relational=True)),  # a missing byte is 0
        (FIND, b"\1" * 9, b"\1" * 9, b"\1" * 7 + b"\0\0", ALL7),
        (FIND, b"", ALL7, b"", ExtendedQuery()),
        (FIND, ALL7, None, None, None),
        (FIND, None, ALL7, None, None),
        (MOVE, b"\1\1", ExtendedRetrieve(True, True), b"\1\1", ExtendedRetrieve(True, True)),
        (GET, b"\1", ExtendedRetrieve(True, True), b"\1", ExtendedRetrieve(True)),
        (
            str(sop_class.CompositeInstanceRootRetrieveGet),  # the second byte alone
            b"\1\1",
            ExtendedRetrieve(True, True),
            b"\0\1",
            ExtendedRetrieve(False, True),
        ),
        (CT, b"\2\0\3\0\1\0", b"\1\0\0\0\0\0", b"\1\0\0\0\0\0", b"\1\0\0\0\0\0"),  # levels: ours, no AND
        (PRIVATE, b"\3\1", b"\6\1\1", b"\2\1", b"\2\1"),
    ],
    ids=str,
)
def test_extended_negotiation(
    uid: str, offered: bytes | None, ours: bytes | None, answered: bytes | None, typed: object
) -> None:
    request = rq(PresentationContext(uid, extended=offered))
    response = ac(request, Offer({uid: SOPClassSupport(extended=ours)}))
    assert response.user_information.extended == ({} if answered is None else {uid: answered})
    user, provider = both_sides(request, response)
    assert user.extended == provider.extended == ({} if typed is None else {uid: typed})


def test_extended_negotiation_of_a_refused_context_says_nothing() -> None:
    request = rq(PresentationContext(FIND, [BIG], extended=ALL7), ECHO)
    response = ac(request, Offer({FIND: SOPClassSupport((IMPLICIT,), extended=ALL7), ECHO: ANY}))
    assert response.user_information.extended == {}
    loud = AssociateAC(
        "YOU", "ME", response.results, UserInformation((ExtendedNegotiation(FIND, b"\1"), ExtendedNegotiation(CT, b"")))
    )
    assert settle(request, loud, "requestor").extended == {}


def test_a_peer_that_answers_more_than_was_offered() -> None:
    request = rq(PresentationContext(FIND, extended=b"\0\1"))
    response = AssociateAC(
        "YOU", "ME", (ContextResult(1, 0, IMPLICIT),), UserInformation((ExtendedNegotiation(FIND, b"\1" * 7),))
    )
    assert settle(request, response, "requestor").extended == {FIND: ExtendedQuery(date_time=True)}


# --- identity, narrowing, odd answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "response", "sent"),
    [
        (UserIdentityRequest(1, True, b"me"), UserIdentityResponse(b""), True),
        (UserIdentityRequest(3, True, b"ticket"), UserIdentityResponse(b"back"), True),
        (UserIdentityRequest(1, False, b"me"), UserIdentityResponse(b""), False),  # not asked for
        (UserIdentityRequest(1, True, b"me"), None, False),
        (None, UserIdentityResponse(b""), False),
    ],
    ids=str,
)
def test_user_identity(identity: UserIdentityRequest | None, response: UserIdentityResponse | None, sent: bool) -> None:
    request = rq(ECHO, user_identity=identity)
    accepted = ac(request, Offer({ECHO: ANY}), user_identity_response=response)
    assert accepted.user_information.user_identity_response == (response if sent else None)
    assert settle(request, accepted, "requestor").user_identity_response == (response if sent else None)


def test_narrow() -> None:
    request = rq(ECHO, PresentationContext(FIND, extended=ALL7), PresentationContext(CT, [JPEG], scp=True), CT, MR)
    whole = ac(
        request,
        Offer({ECHO: ANY, FIND: SOPClassSupport(extended=ALL7), CT: SOPClassSupport((JPEG, IMPLICIT), scu=True)}),
    )
    assert narrow(request, whole, lambda context: True) == whole
    less = narrow(request, whole, lambda context: context.abstract_syntax == ECHO or context.context_id == 7)
    assert [r.result for r in less.results] == [0, 1, 1, 0, 3]  # 3 stays: it was never accepted
    assert less.user_information.extended == {}
    assert set(less.user_information.roles) == {CT}
    none = narrow(request, whole, lambda context: False)
    assert none.user_information.roles == {}
    assert none.user_information.maximum_length == 262144
    assert settle(request, less, "requestor").refused[3] == (FIND, 1)


def test_answers_that_are_none() -> None:
    """Fewer, unknown, doubled ids, and transfer syntaxes never proposed: refused or ignored, never an exception."""
    request = rq(ECHO, FIND, GET, MOVE)
    response = AssociateAC(
        "",
        "",
        (
            ContextResult(1, 0, IMPLICIT),
            ContextResult(1, 3, ""),
            ContextResult(3, 0, JPEG),
            ContextResult(5, 77, EXPLICIT),
            ContextResult(99, 0, EXPLICIT),
            ContextResult(2, 0, EXPLICIT),
        ),
        UserInformation(),
    )
    got = settle(request, response, "requestor")
    assert {i: c.transfer_syntax for i, c in got.contexts.items()} == {1: IMPLICIT}
    assert got.refused == {3: (FIND, 4), 5: (GET, 77), 7: (MOVE, 2)}
    assert got.answers()[GET] == "result 77"
    assert (got.called_ae_title, got.calling_ae_title) == ("YOU", "ME")
    assert got.peer_implementation_class_uid is None


# --- lenient and strict -----------------------------------------------------------------------------------------------

_COMMITMENT = str(sop_class.StorageCommitmentPushModel)


def test_both_roles_are_answered_as_far_as_they_are_proposed_and_served() -> None:
    request = rq(PresentationContext(CT, (JPEG,), scp=True), PresentationContext(CT, (IMPLICIT,), scp=True))
    for syntaxes, expected in ((None, (True, True)), ((IMPLICIT,), (True, True)), ((), (False, True))):
        response = ac(request, Offer({CT: SOPClassSupport(syntaxes)}, any_storage_as_scu=True))
        assert response.user_information.roles == {CT: RoleSelection(CT, *expected)}, syntaxes
        assert [result.result for result in response.results] == [0, 0], syntaxes


def test_a_notification_handler_is_offered_without_a_role_item_unless_strict() -> None:
    request = rq(PresentationContext(_COMMITMENT))
    offer = Offer({_COMMITMENT: SOPClassSupport(scp=False, scu=True)})
    for strict, result in ((False, 0), (True, 3)):
        response = answer_request(request, offer, limits=Limits(), strict=strict)
        assert isinstance(response, AssociateAC)
        assert response.results[0].result == result
        assert not response.user_information.roles


def test_the_role_without_an_item_is_assumed_for_what_is_bound_to_roles() -> None:
    with_item = rq(PresentationContext(CT, scu=False, scp=True))
    plain = AssociateAC("YOU", "ME", (ContextResult(1, 0, EXPLICIT),), UserInformation())
    ours = settle(with_item, plain, "requestor").contexts[1]
    assert (ours.scu, ours.scp, ours.may_perform("C-STORE"), ours.may_perform("C-ECHO")) == (True, False, True, False)
    assert ours.assumes_to_perform("C-STORE")
    theirs = settle(rq(PresentationContext(CT)), plain, "acceptor").contexts[1]
    assert (theirs.may_invoke("C-STORE"), theirs.may_perform("C-STORE"), theirs.may_invoke("C-GET")) == (
        True,
        True,
        False,
    )
    assert theirs.assumes_to_invoke("C-STORE")
    assert not theirs.assumes_to_perform("C-STORE")
    for request, role in ((with_item, "requestor"), (rq(PresentationContext(CT)), "acceptor")):
        strict = settle(request, plain, role, strict=True).contexts[1]
        assert not strict.assumed
    # not asked for by us, or answered by the peer: nothing is assumed
    assert not settle(rq(PresentationContext(CT)), plain, "requestor").contexts[1].assumed
    answered = AssociateAC("YOU", "ME", plain.results, UserInformation((RoleSelection(CT, True, False),)))
    assert not settle(with_item, answered, "requestor").contexts[1].assumed


def test_any_storage_takes_no_context_whose_uid_is_none() -> None:
    offer = Offer(unknown_storage=SOPClassSupport())
    for uid, result in (("", 3), ("1.2.x", 3), ("1.2.3.4", 0)):
        request = AssociateRQ("YOU", "ME", (ProposedContext(1, uid, (IMPLICIT,)),), UserInformation())
        assert ac(request, offer).results[0].result == result, uid


@pytest.mark.parametrize(
    "uid",
    [
        sop_class.ModalityWorklistInformationModelFind,
        sop_class.HangingProtocolInformationModelFind,
        sop_class.GenericImplantTemplateInformationModelFind,
        sop_class.DefinedProcedureProtocolInformationModelFind,
        sop_class.ColorPaletteQueryRetrieveInformationModelFind,
        sop_class.ProtocolApprovalInformationModelFind,
        sop_class.InventoryFind,
    ],
    ids=lambda uid: uid.keyword,
)
def test_one_level_models_negotiate_as_worklists(uid: str) -> None:
    """PS3.4 K.5.1.1: bytes 1 and 2 are always 1, then fuzzy matching and the timezone."""
    request = rq(PresentationContext(uid, extended=ExtendedQuery(fuzzy_names=True, relational=True)))
    assert request.user_information.extended == {uid: b"\1\1\1\0"}
    offer = Offer({str(uid): SOPClassSupport(extended=ExtendedQuery(fuzzy_names=True, timezone=True))})
    response = ac(request, offer)
    assert response.user_information.extended == {uid: b"\1\1\1\0"}
    user, provider = both_sides(request, response)
    assert user.extended == provider.extended == {uid: ExtendedQuery(fuzzy_names=True)}
    short = replace(request, user_information=UserInformation((ExtendedNegotiation(uid, b"\0\0\1"),)))
    assert ac(short, offer).user_information.extended == {uid: b"\1\1\1"}


def test_retrieve_without_bulk_data_negotiates_as_composite_root() -> None:
    """PS3.4 Y.5.1.1: byte 1 is always 0, byte 2 the conversion of frames."""
    for uid in (sop_class.CompositeInstanceRetrieveWithoutBulkDataGet, sop_class.CompositeInstanceRootRetrieveMove):
        request = rq(PresentationContext(uid, extended=ExtendedRetrieve(relational=True, enhanced_multi_frame=True)))
        response = ac(request, Offer({str(uid): SOPClassSupport(extended=ExtendedRetrieve(True, True))}))
        assert response.user_information.extended == {uid: b"\0\1"}
