"""Negotiation, complete: extended, roles, titles, user identity, hooks, common extended, any storage
(docs/topics/provider.md; PS3.7 D.3.3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from contract.stage import (
    CT,
    CT_UID,
    ECHO,
    FIND,
    GET,
    HOST,
    IDENTIFIER,
    TITLE,
    Script,
    image,
    make_server,
    match,
    open_stage,
    register,
)
from scripted import wire
from scripted.peer import Rejected, ScriptedPeer

import aiodimse
from aiodimse import ExtendedQuery, ExtendedRetrieve, sop_class
from aiodimse.testing import ManualClock

FIND_ONLY = [(FIND, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE])]
ECHO_ONLY = [(ECHO, wire.VERIFICATION, [wire.EXPLICIT_LE])]
MR_UID = str(sop_class.MRImageStorage)
STORAGE_SERVICE = "1.2.840.10008.4.2"


@asynccontextmanager
async def knock(server: aiodimse.Server, contexts: Sequence[wire.Context] = ECHO_ONLY, **more: Any) -> Any:
    """Ask for an association; gives the peer and the answer, an Associate or the Rejected that came."""
    async with server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        try:
            answer: Any = await peer.associate(contexts, **{"called": TITLE, **more})
        except Rejected as rejected:
            await peer.expect_close()
            answer = rejected
        yield peer, answer


def rejection(answer: Any) -> tuple[int, int, int] | None:
    return (answer.result, answer.source, answer.reason) if isinstance(answer, Rejected) else None


# --- SOP class extended negotiation -----------------------------------------------------------------------------------

WORKLIST = str(sop_class.ModalityWorklistInformationModelFind)
CT_ROOT_GET = str(sop_class.CompositeInstanceRootRetrieveGet)
ALL_QUERY = ExtendedQuery(*[True] * 7)
ALL_RETRIEVE = ExtendedRetrieve(True, True)

# SOP class, what the peer offers, what the server supports; the answer, and what the handler sees.
EXTENDED: dict[str, tuple[str, bytes | None, Any, bytes | None, Any]] = {
    "all seven": (wire.STUDY_ROOT_FIND, b"\1" * 7, ALL_QUERY, b"\1" * 7, ALL_QUERY),
    "the AND of both": (
        wire.STUDY_ROOT_FIND,
        b"\1\0\1\0\1\0\1",
        ExtendedQuery(relational=True, date_time=True, multiple_value_matching=True),
        b"\1\0\0\0\0\0\1",
        ExtendedQuery(relational=True, multiple_value_matching=True),
    ),
    "never longer than the offer": (
        wire.STUDY_ROOT_FIND,
        b"\1\1\1",
        ALL_QUERY,
        b"\1\1\1",
        ExtendedQuery(True, True, True),
    ),
    "one byte": (wire.STUDY_ROOT_FIND, b"\1", ALL_QUERY, b"\1", ExtendedQuery(relational=True)),
    "an offer that is longer": (wire.STUDY_ROOT_FIND, b"\1" * 9, ALL_QUERY, b"\1" * 7 + b"\0\0", ALL_QUERY),
    "nothing offered": (wire.STUDY_ROOT_FIND, None, ALL_QUERY, None, None),
    "nothing supported": (wire.STUDY_ROOT_FIND, b"\1" * 7, None, None, None),
    "supported as bytes": (wire.STUDY_ROOT_FIND, b"\1\1", b"\0\1", b"\0\1", ExtendedQuery(date_time=True)),
    "offered as zeros": (wire.STUDY_ROOT_FIND, b"\0" * 7, ALL_QUERY, b"\0" * 7, ExtendedQuery()),
    "C-GET": (wire.STUDY_ROOT_GET, b"\1\1", ALL_RETRIEVE, b"\1\1", ALL_RETRIEVE),
    "C-GET, one byte": (wire.STUDY_ROOT_GET, b"\1", ALL_RETRIEVE, b"\1", ExtendedRetrieve(relational=True)),
    "C-MOVE": (
        wire.STUDY_ROOT_MOVE,
        b"\1\1",
        ExtendedRetrieve(enhanced_multi_frame=True),
        b"\0\1",
        ExtendedRetrieve(enhanced_multi_frame=True),
    ),
    "Composite Instance Root uses the second": (
        CT_ROOT_GET,
        b"\1\1",
        ALL_RETRIEVE,
        b"\0\1",
        ExtendedRetrieve(enhanced_multi_frame=True),
    ),
    "a worklist": (
        WORKLIST,
        b"\1" * 4,
        ALL_QUERY,
        b"\1\1\1\1",
        ExtendedQuery(fuzzy_names=True, timezone=True),
    ),
}


@pytest.mark.parametrize("case", EXTENDED)
async def test_sop_class_extended_negotiation(case: str) -> None:
    uid, offered, supported, answered, seen = EXTENDED[case]
    row = sop_class.lookup(uid)
    assert row is not None
    service = next(iter(row.commands))
    first: list[Any] = {"C-FIND": [], "C-GET": [0], "C-MOVE": [(HOST, 1), 0]}[service]
    handler, server = Script(*first), make_server()
    decorator = {"C-FIND": server.on_c_find, "C-GET": server.on_c_get, "C-MOVE": server.on_c_move}[service]
    decorator(uid, extended=supported)(handler)
    extended = None if offered is None else {uid: offered}
    async with open_stage(server, [(3, uid, [wire.EXPLICIT_LE])], roles={}, extended=extended) as stage:
        assert stage.peer.association is not None
        assert stage.peer.association.extended == ({} if answered is None else {uid: answered})
        rq = {
            "C-FIND": wire.find_rq(uid),
            "C-GET": wire.get_rq(uid),
            "C-MOVE": wire.move_rq("DEST", uid),
        }[service]
        (final,) = await stage.peer.responses(await stage.peer.request(3, rq, IDENTIFIER))
        assert final.status == 0x0000
    assert handler.requests[0].extended == seen


@pytest.mark.parametrize("answered", [b"\1\0\1", b"\1" * 7, b"", None])
async def test_our_user_offers_and_sees_the_answer(answered: bytes | None) -> None:
    from scripted.peer import ScriptedListener

    offer = ExtendedQuery(relational=True, fuzzy_names=True)
    context = aiodimse.PresentationContext(wire.STUDY_ROOT_FIND, extended=offer)
    async with await ScriptedListener.open() as listener:
        opening = asyncio.create_task(_connect(listener.port, [context]))
        peer = await listener.accept()
        rq = await peer.read_associate_rq()
        assert rq.extended == {wire.STUDY_ROOT_FIND: b"\1\0\1\0\0\0\0"}
        await peer.accept(extended=None if answered is None else {wire.STUDY_ROOT_FIND: answered})
        association = await opening
        expected = {} if answered is None else {wire.STUDY_ROOT_FIND: ExtendedQuery(*_and(bytes(offer), answered))}
        assert association.negotiated.extended == expected
        association.abort()
        await peer.close()
        await association.wait_closed()


def _and(one: bytes, other: bytes) -> list[bool]:
    return [bool(a & b) for a, b in zip(one, other.ljust(7, b"\0"), strict=True)]


async def _connect(port: int, contexts: Sequence[Any], **more: Any) -> aiodimse.Association:
    return await aiodimse.connect(HOST, port, contexts=contexts, **more)


# --- roles ------------------------------------------------------------------------------------------------------------

# What the peer proposes for CT Image Storage; is there a C-GET handler, a C-STORE handler; the answer; accepted.
ROLES: dict[str, tuple[tuple[int, int] | None, bool, bool, tuple[int, int] | None, bool]] = {
    "C-GET, SCP proposed": ((0, 1), True, False, (0, 1), True),
    "C-GET, both proposed": ((1, 1), True, False, (0, 1), True),
    "C-GET and C-STORE, SCP proposed": ((0, 1), True, True, (0, 1), True),
    "C-GET and C-STORE, both proposed": ((1, 1), True, True, (1, 1), True),
    "C-GET and C-STORE, SCU proposed": ((1, 0), True, True, (1, 0), True),
    "C-GET and C-STORE, nothing proposed": (None, True, True, None, True),
    "C-GET, nothing proposed": (None, True, False, None, False),
    "C-GET, SCU proposed": ((1, 0), True, False, None, False),
    "C-STORE, SCU proposed": ((1, 0), False, True, (1, 0), True),
    "C-STORE, both proposed": ((1, 1), False, True, (1, 0), True),
    "C-STORE, SCP proposed": ((0, 1), False, True, None, False),
    "C-STORE, nothing proposed": (None, False, True, None, True),
    "C-STORE, neither proposed": ((0, 0), False, True, None, False),
}


@pytest.mark.parametrize("case", ROLES)
async def test_role_selection(case: str) -> None:
    proposed, gets, stores, answered, accepted = ROLES[case]
    server, handler = make_server(), Script(1, image(1))
    if gets:
        register(server, "C-GET", handler)
    if stores:

        @server.on_c_store(CT_UID)
        async def store(request: Any) -> int:
            return 0x0000

    contexts = [
        (ECHO, wire.VERIFICATION, [wire.EXPLICIT_LE]),
        (GET, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]),
        (CT, CT_UID, [wire.EXPLICIT_LE]),
    ]
    roles = {} if proposed is None else {CT_UID: proposed}
    async with open_stage(server, contexts, roles=roles) as stage:
        assert stage.peer.association is not None
        assert stage.peer.association.roles == ({} if answered is None else {CT_UID: answered})
        assert (CT in stage.peer.association.accepted) == accepted
        may_store = accepted and (answered is None or answered[0] == 1)
        if accepted:
            await stage.peer.request(CT, wire.store_rq(CT_UID, "1.2.3", 9), IDENTIFIER)
            (response,) = await stage.peer.responses(9)
            assert response.status == (0x0000 if may_store else 0x0122)
        if gets:
            found = await stage.peer.responses(
                await stage.peer.request(GET, wire.get_rq(message_id=5), IDENTIFIER), store=0x0000
            )
            takes = accepted and (answered is None or answered[1] == 1)  # without items the role is assumed
            assert found[-1].counters == ((None, 1, 0, 0) if takes else (None, 0, 1, 0))
        await stage.nothing_more()


async def test_a_get_handler_takes_every_storage_class() -> None:
    server = make_server()
    register(server, "C-GET", Script(0))
    uids = [str(uid) for uid in sop_class.STORAGE[:120]]
    contexts = [(2 * n + 1, uid, [wire.EXPLICIT_LE, wire.IMPLICIT_LE]) for n, uid in enumerate(uids)]
    contexts.append((255, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]))
    async with knock(server, contexts, roles=dict.fromkeys(uids, (0, 1))) as (_, ac):
        assert set(ac.accepted) == {context[0] for context in contexts}
        assert ac.roles == dict.fromkeys(uids, (0, 1))


# --- contexts and transfer syntaxes -----------------------------------------------------------------------------------

JPEG, BE = "1.2.840.10008.1.2.4.50", wire.EXPLICIT_BE
OF_OTHER_MEDIA = [  # video streams, mail, XML, Papyrus 3
    *("1.2.840.10008.1.2.7.1", "1.2.840.10008.1.2.7.2", "1.2.840.10008.1.2.7.3"),
    *("1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2", "1.2.840.10008.1.20"),
]
SYNTAXES: dict[str, tuple[str, list[str], str | None]] = {
    "the first of the requestor's order": (
        wire.STUDY_ROOT_FIND,
        [wire.IMPLICIT_LE, wire.EXPLICIT_LE],
        wire.IMPLICIT_LE,
    ),
    "in the other order": (wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE, wire.IMPLICIT_LE], wire.EXPLICIT_LE),
    "Deflated for identifiers": (wire.STUDY_ROOT_FIND, [wire.DEFLATED_LE], wire.DEFLATED_LE),
    "no Big Endian for identifiers": (wire.STUDY_ROOT_FIND, [BE], None),
    "the first that is known": (wire.STUDY_ROOT_FIND, ["1.2.3", BE, wire.IMPLICIT_LE], wire.IMPLICIT_LE),
    "storage, any known": (CT_UID, [JPEG, wire.EXPLICIT_LE], JPEG),
    "storage, Big Endian": (CT_UID, [BE], BE),
    "storage, none known": (CT_UID, ["1.2.3.4"], None),
    "storage, none of a network": (CT_UID, OF_OTHER_MEDIA, None),
    "storage, the first of a network": (CT_UID, [*OF_OTHER_MEDIA, JPEG], JPEG),
}


@pytest.mark.parametrize("case", SYNTAXES)
async def test_transfer_syntaxes(case: str) -> None:
    uid, proposed, accepted = SYNTAXES[case]
    server = make_server()
    register(server, "C-FIND", Script())

    @server.on_c_store
    async def store(request: Any) -> int:
        return 0x0000

    async with knock(server, [(1, uid, proposed)]) as (_, ac):
        assert ac.results[1] == ((0, accepted) if accepted else (4, ac.results[1][1]))


async def test_transfer_syntaxes_narrowed_by_the_handler() -> None:
    server = make_server()
    server.on_c_find(wire.STUDY_ROOT_FIND, transfer_syntaxes=[wire.IMPLICIT_LE])(Script())
    async with knock(server, [(1, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE, wire.IMPLICIT_LE])]) as (_, ac):
        assert ac.accepted == {1: wire.IMPLICIT_LE}
    async with knock(server, [(1, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE])]) as (_, ac):
        assert ac.results[1][0] == 4


async def test_what_has_no_handler_is_not_offered() -> None:
    server = make_server()
    register(server, "C-FIND", Script())
    contexts = [(1, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE]), (3, wire.STUDY_ROOT_MOVE, [wire.EXPLICIT_LE])]
    async with knock(server, [*contexts, (5, CT_UID, [wire.EXPLICIT_LE]), (7, "1.2.3", ["1.2.4"])]) as (_, ac):
        assert {key: result for key, (result, _) in ac.results.items()} == {1: 0, 3: 3, 5: 3, 7: 3}


# --- titles -----------------------------------------------------------------------------------------------------------

# Arguments of Server, called and calling AE title as the peer writes them, the rejection.
TITLES: dict[str, tuple[dict[str, Any], str, str, tuple[int, int, int] | None]] = {
    "ours": ({}, "ARCHIVE", "ANYONE", None),
    "another": ({}, "OTHER", "ANYONE", (1, 1, 7)),
    "the default of our own user": ({}, "ANY-SCP", "ANYONE", (1, 1, 7)),
    "ours in lower case": ({}, "archive", "ANYONE", (1, 1, 7)),
    "ours with leading spaces": ({}, "  ARCHIVE", "ANYONE", None),
    "any": ({"accept_called": True}, "OTHER", "ANYONE", None),
    "one more": ({"accept_called": "OTHER"}, "OTHER", "ANYONE", None),
    "one more, ours still": ({"accept_called": "OTHER"}, "ARCHIVE", "ANYONE", None),
    "one of several": ({"accept_called": ["A", "B"]}, "B", "ANYONE", None),
    "none of several": ({"accept_called": ["A", "B"]}, "C", "ANYONE", (1, 1, 7)),
    "by a function": ({"accept_called": lambda title: title.startswith("X")}, "XY", "ANYONE", None),
    "not by a function": ({"accept_called": lambda title: title.startswith("X")}, "Y", "ANYONE", (1, 1, 7)),
    "a caller who may": ({"accept_calling": ["GOOD"]}, "ARCHIVE", "GOOD", None),
    "a caller who may, with spaces": ({"accept_calling": ["GOOD"]}, "ARCHIVE", " GOOD", None),
    "a caller who may not": ({"accept_calling": ["GOOD"]}, "ARCHIVE", "BAD", (1, 1, 3)),
    "a caller by a function": ({"accept_calling": lambda title: False}, "ARCHIVE", "GOOD", (1, 1, 3)),
    "both wrong": ({"accept_calling": ["GOOD"]}, "OTHER", "BAD", (1, 1, 7)),
}


@pytest.mark.parametrize("hooked", [False, True], ids=["", "with hooks"])
@pytest.mark.parametrize("case", TITLES)
async def test_titles(case: str, hooked: bool) -> None:
    arguments, called, calling, expected = TITLES[case]
    server, asked = make_server(**arguments), []
    if hooked:

        @server.on_associate
        async def associate(request: Any) -> None:
            asked.append((request.called_ae_title, request.calling_ae_title))

    async with knock(server, called=called, calling=calling) as (_, answer):
        assert rejection(answer) == expected
        assert asked == ([(called.strip(), calling.strip())] if hooked and expected is None else [])


@pytest.mark.parametrize("hooked", [False, True], ids=["", "with hooks"])
@pytest.mark.parametrize("which", ["accept_called", "accept_calling"])
async def test_a_function_of_titles_that_raises(which: str, hooked: bool, caplog: pytest.LogCaptureFixture) -> None:
    server = make_server(**{which: _boom})
    if hooked:

        @server.on_associate
        async def associate(request: Any) -> None: ...

    async with knock(server, called="OTHER" if which == "accept_called" else TITLE) as (_, answer):
        assert rejection(answer) == (1, 1, 1)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "a hook raised ValueError" in said
    assert "secret" not in said


# --- user identity ----------------------------------------------------------------------------------------------------

IDENTITIES: dict[str, tuple[int, bytes, bytes]] = {
    "user name": (1, b"j\xc3\xb6rg", b""),
    "user name and passcode": (2, b"joerg", b"s3cret-passcode"),
    "Kerberos": (3, b"ticket-bytes\0\xff", b""),
    "SAML": (4, b"<saml:Assertion/>", b""),
    "JWT": (5, b"eyJ.token.sig", b""),
}


@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("verdict", [True, b"answer-bytes", False, None, 0, "", b"", ()], ids=repr)
@pytest.mark.parametrize("kind", IDENTITIES)
async def test_user_identity(kind: str, verdict: Any, wanted: int, caplog: pytest.LogCaptureFixture) -> None:
    identity_type, primary, secondary = IDENTITIES[kind]
    server, asked = make_server(), []
    handler = Script()
    register(server, "C-FIND", handler)

    @server.authenticate
    async def authenticate(identity: Any, request: Any) -> Any:
        asked.append((identity, request))
        return verdict

    caplog.set_level(logging.DEBUG)
    async with knock(server, FIND_ONLY, identity=(identity_type, wanted, primary, secondary)) as (peer, answer):
        ((identity, request),) = asked
        assert (identity.identity_type, identity.primary, identity.secondary) == (identity_type, primary, secondary)
        assert identity.positive_response_requested is bool(wanted)
        assert (request.calling_ae_title, request.address[0]) == ("SCRIPTED", HOST)
        if not verdict:
            assert rejection(answer) == (1, 2, 1)
        else:
            expected = (verdict if isinstance(verdict, bytes) else b"") if wanted else None
            assert answer.identity_response == expected
            await peer.responses(await peer.request(FIND, wire.find_rq(), IDENTIFIER))
            assert handler.requests[0].association.user_identity == identity
    for secret in (primary, secondary):
        if secret:
            text = secret.decode("latin-1")
            assert text not in caplog.text
            assert text not in repr(identity)


async def test_no_user_identity() -> None:
    server, asked = make_server(), []

    @server.authenticate
    async def authenticate(identity: Any, request: Any) -> bool:
        asked.append(identity)
        return identity is not None

    async with knock(server) as (_, answer):
        assert (rejection(answer), asked) == ((1, 2, 1), [None])


async def test_a_server_that_does_not_authenticate() -> None:
    """It accepts whoever comes, and gives no positive response that it cannot give."""
    async with knock(make_server(), identity=(2, 1, b"user", b"secret")) as (_, ac):
        assert ac.identity_response is None


async def test_an_identity_that_nobody_authenticated_is_not_the_peers() -> None:
    """What anybody may say of himself stands in the A-ASSOCIATE-RQ alone."""
    server, handler = make_server(), Script()
    register(server, "C-FIND", handler)

    @server.on_associate
    async def associate(request: Any) -> None:
        assert request.user_identity.primary == b"user"

    async with knock(server, FIND_ONLY, identity=(1, 0, b"user", b"")) as (peer, _):
        await peer.responses(await peer.request(FIND, wire.find_rq(), IDENTIFIER))
    (request,) = handler.requests
    assert request.association.user_identity is None
    assert request.association.negotiated.rq.user_information.user_identity.primary == b"user"


async def test_a_server_response_that_fits_in_no_item(caplog: pytest.LogCaptureFixture) -> None:
    server = make_server()

    @server.authenticate
    async def authenticate(identity: Any, request: Any) -> bytes:
        return bytes(65_536)

    async with knock(server, identity=(3, 1, b"ticket", b"")) as (_, answer):
        assert rejection(answer) == (1, 1, 1)
    assert "cannot be encoded: Server-response-length" in caplog.text


def _boom(*_: Any) -> Any:
    raise ValueError("secret")


def _reject(*_: Any) -> Any:
    raise aiodimse.AssociationRejected(2, 1, 1)


def _stop(*_: Any) -> Any:
    raise asyncio.CancelledError


def _time_out(*_: Any) -> Any:
    raise TimeoutError("secret")


HOOK_ENDS: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "raises": (_boom, (1, 1, 1)),
    "rejects": (_reject, (2, 1, 1)),
    "raises CancelledError": (_stop, (1, 1, 1)),
    "raises TimeoutError": (_time_out, (1, 1, 1)),
}


@pytest.mark.parametrize("which", ["authenticate", "on_associate"])
@pytest.mark.parametrize("case", HOOK_ENDS)
async def test_a_hook_that_raises(which: str, case: str, caplog: pytest.LogCaptureFixture) -> None:
    answer, expected = HOOK_ENDS[case]
    server = make_server()

    async def hook(*arguments: Any) -> Any:
        return answer(*arguments)

    getattr(server, which)(hook)
    async with knock(server) as (_, rejected):
        assert rejection(rejected) == expected
    assert "secret" not in caplog.text


@pytest.mark.parametrize("which", ["authenticate", "on_associate"])
async def test_a_hook_has_a_deadline(which: str) -> None:
    clock, cancelled = ManualClock(), []
    server = make_server(timeouts=aiodimse.Timeouts(authenticate=20), environment=aiodimse.Environment(clock))

    async def hook(*_: Any) -> None:
        asyncio.get_running_loop().call_soon(clock.advance, 20)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append(which)
            raise

    getattr(server, which)(hook)
    async with knock(server) as (_, rejected):
        assert rejection(rejected) == (2, 1, 1)
    assert cancelled == [which]


@pytest.mark.parametrize("how", ["A-ABORT", "FIN"])
async def test_a_peer_that_goes_while_a_hook_is_asked(how: str) -> None:
    server, asked, proceed = make_server(), asyncio.Event(), asyncio.Event()

    @server.authenticate
    async def authenticate(identity: Any, request: Any) -> bool:
        asked.set()
        await proceed.wait()
        return True

    async with server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await peer.send(wire.associate_rq(ECHO_ONLY, called=TITLE))
        await asked.wait()
        if how == "A-ABORT":
            await peer.send(wire.abort())
        else:
            peer.shut()
        await peer.expect_close()
        proceed.set()
        async with await ScriptedPeer.connect(HOST, listening.port) as another:
            await another.associate(ECHO_ONLY, called=TITLE)
            assert len(listening.associations) == 1
            await another.release()


# --- on_associate -----------------------------------------------------------------------------------------------------

NARROW: dict[str, tuple[Any, dict[int, int]]] = {
    "None": (None, {1: 0, 3: 0, 5: 0}),
    "all by UID": ([wire.VERIFICATION, wire.STUDY_ROOT_FIND, wire.STUDY_ROOT_GET], {1: 0, 3: 0, 5: 0}),
    "one by UID": ({wire.STUDY_ROOT_FIND}, {1: 1, 3: 0, 5: 1}),
    "one by SOPClass": ([sop_class.Verification], {1: 0, 3: 1, 5: 1}),
    "two by ID": ((1, 5), {1: 0, 3: 1, 5: 0}),
    "none": ((), {1: 1, 3: 1, 5: 1}),
    "one that was not accepted anyway": (["1.2.3", 99], {1: 1, 3: 1, 5: 1}),
}


@pytest.mark.parametrize("case", NARROW)
async def test_on_associate_narrows(case: str) -> None:
    keep, results = NARROW[case]
    server = make_server()
    for service in ("C-FIND", "C-GET"):
        register(server, service, Script(match()))

    @server.on_associate
    async def associate(request: Any) -> Any:
        return keep

    contexts = [(1, wire.VERIFICATION, [wire.EXPLICIT_LE]), *FIND_ONLY, (5, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE])]
    async with knock(server, contexts) as (peer, ac):
        assert {key: result for key, (result, _) in ac.results.items()} == results
        if results[3]:
            await peer.request(FIND, wire.find_rq(), IDENTIFIER)
            assert await peer.expect_abort() == (2, 6)


@pytest.mark.parametrize("keep", ["1.2.3", 5, True])
async def test_an_on_associate_that_says_nonsense_rejects(keep: Any) -> None:
    server = make_server()

    @server.on_associate
    async def associate(request: Any) -> Any:
        return keep

    async with knock(server) as (_, answer):
        assert rejection(answer) == (1, 1, 1)


@pytest.mark.parametrize("reason", [(1, 1, 1), (1, 1, 3), (2, 1, 1), (2, 3, 1)])
async def test_on_associate_rejects(reason: tuple[int, int, int]) -> None:
    server = make_server()

    @server.on_associate
    async def associate(request: Any) -> None:
        raise aiodimse.AssociationRejected(*reason)

    async with knock(server) as (_, answer):
        assert rejection(answer) == reason


NOT_IN_THE_TABLE = [
    (300, 1, 1),
    (0, 1, 1),
    (1, 1, 4),
    (1, 2, 7),
    (1, 0, 0),
    (1, 1, 300),
    (1, -1, 1),
    (None, None, None),
]


@pytest.mark.parametrize("which", ["authenticate", "on_associate"])
@pytest.mark.parametrize("numbers", NOT_IN_THE_TABLE, ids=str)
async def test_a_rejection_that_the_standard_does_not_have_is_one_without_reason(
    which: str, numbers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()

    async def hook(*_: Any) -> None:
        raise aiodimse.AssociationRejected(*numbers)

    getattr(server, which)(hook)
    async with knock(server) as (_, answer):
        assert rejection(answer) == (1, 1, 1)
    assert "/".join(map(str, numbers)) in caplog.text


# --- common extended negotiation, any storage, private SOP classes ----------------------------------------------------

PRIVATE = "1.2.826.0.1.3680043.10.9999.77"
# Common extended items, any_storage, for which SOP classes there is a C-STORE handler; accepted and stored?
UNKNOWN: dict[str, tuple[list[tuple[str, str, list[str]]], bool, list[str] | None, bool]] = {
    "not known": ([], False, None, False),
    "related to one that is served": ([(PRIVATE, STORAGE_SERVICE, [CT_UID])], False, None, True),
    "related to one that is served alone": ([(PRIVATE, STORAGE_SERVICE, [MR_UID, CT_UID])], False, [CT_UID], True),
    "related to one that is not served": ([(PRIVATE, STORAGE_SERVICE, [MR_UID])], False, [CT_UID], False),
    "of another service class": ([(PRIVATE, "1.2.840.10008.4.99", [CT_UID])], False, None, False),
    "any storage": ([], True, None, True),
    "any storage, but only one handler": ([], True, [CT_UID], False),
}


@pytest.mark.parametrize("case", UNKNOWN)
async def test_a_storage_class_that_is_not_known(case: str) -> None:
    common, any_storage, uids, accepted = UNKNOWN[case]
    server, stored = make_server(any_storage=any_storage), []

    async def store(request: Any) -> int:
        stored.append((request.sop_class_uid, request.sop_instance_uid))
        return 0x0000

    server.on_c_store(*(uids or ()))(store)
    async with knock(server, [(1, PRIVATE, [wire.EXPLICIT_LE])], common_extended=common) as (peer, ac):
        assert ac.results[1][0] == (0 if accepted else 3)
        if accepted:
            await peer.request(1, wire.store_rq(PRIVATE, "1.2.3", 5), IDENTIFIER)
            (response,) = await peer.responses(5)
            assert (response.status, stored) == (0x0000, [(PRIVATE, "1.2.3")])
            await peer.request(1, wire.find_rq(PRIVATE, 6), IDENTIFIER)
            (response,) = await peer.responses(6)
            assert response.status in (0x0122, 0x0211)


async def test_a_private_storage_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sop_class, "_BY_UID", dict(sop_class._BY_UID))  # registering is for the whole process
    uid = str(sop_class.register("1.2.826.0.1.3680043.10.9999.78", "ScriptedStorage"))
    server, stored = make_server(), []

    @server.on_c_store(uid)
    async def store(request: Any) -> int:
        stored.append(request.sop_class_uid)
        return 0x0000

    async with knock(server, [(1, uid, [wire.EXPLICIT_LE])]) as (peer, ac):
        assert ac.accepted == {1: wire.EXPLICIT_LE}
        await peer.request(1, wire.store_rq(uid, "1.2.3", 5), IDENTIFIER)
        assert [(await peer.responses(5))[0].status, *stored] == [0x0000, uid]


async def test_a_private_query_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiodimse.standard import service_class

    monkeypatch.setattr(sop_class, "_BY_UID", dict(sop_class._BY_UID))  # registering is for the whole process
    uid = str(
        sop_class.register(
            "1.2.826.0.1.3680043.10.9999.79",
            "ScriptedFind",
            service_class=service_class.QUERY_RETRIEVE,
            commands=["C-FIND"],
        )
    )
    server, handler = make_server(), Script(match(1))
    server.on_c_find(uid)(handler)
    async with knock(server, [(1, uid, [wire.EXPLICIT_LE])]) as (peer, _):
        found = await peer.responses(await peer.request(1, wire.find_rq(uid), IDENTIFIER))
        assert [m.status for m in found] == [0xFF00, 0x0000]
        (wrong,) = await peer.responses(await peer.request(1, wire.get_rq(uid, 9), IDENTIFIER))
        assert wrong.status == 0x0211


# --- the rest of the A-ASSOCIATE --------------------------------------------------------------------------------------

# What the peer asks with, beside the context; the rejection.
ODD: dict[str, tuple[dict[str, Any], tuple[int, int, int] | None]] = {
    "no maximum length": ({"max_length": None}, None),
    "no limit": ({"max_length": 0}, None),
    "the least maximum length": ({"max_length": 128}, None),
    "too small a maximum length": ({"max_length": 127}, (1, 1, 1)),
    "another application context": ({"application_context": "1.2.3"}, (1, 1, 2)),
    "another protocol version": ({"protocol_version": 2}, (1, 2, 2)),
    "a protocol version with more bits": ({"protocol_version": 3}, None),
    "no implementation": ({"implementation_uid": None, "version_name": None}, None),
    "an unknown item": ({"more_items": wire.item(0x7F, b"whatever")}, None),
    "an unknown user item": ({"more_user_items": wire.item(0x7F, b"whatever")}, None),
}


@pytest.mark.parametrize("case", ODD)
async def test_other_items(case: str) -> None:
    more, expected = ODD[case]
    async with knock(make_server(), **more) as (peer, answer):
        assert rejection(answer) == expected
        if expected is None:
            (response,) = await peer.responses(await peer.request(ECHO, wire.echo_rq()))
            assert (response.status, answer.called, answer.calling) == (0x0000, TITLE, "SCRIPTED")
            await peer.release()


WINDOWS: dict[str, tuple[tuple[int, int] | None, int | tuple[int, int], tuple[int, int] | None]] = {
    "not proposed": (None, 16, None),
    "the smaller": ((5, 3), 16, (5, 3)),
    "ours is smaller": ((50, 30), 16, (16, 16)),
    "unlimited": ((0, 0), 16, (16, 16)),
    "both unlimited": ((0, 0), 0, (0, 0)),
    "we are unlimited": ((5, 3), 0, (5, 3)),
    "ours by direction": ((5, 5), (2, 3), (3, 2)),
}


@pytest.mark.parametrize("case", WINDOWS)
async def test_the_operations_window(case: str) -> None:
    proposed, ours, answered = WINDOWS[case]
    async with knock(make_server(operations_window=ours), window=proposed) as (_, ac):
        assert ac.window == answered
