"""User identity negotiation with DCMTK and pynetdicom, both of which ask for a positive response."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from interop import dcmtk, pynetdicom_peers, samples
from interop.ours import HOST, TITLE, HandlerArchive

import aiodimse
from aiodimse import sop_class

SECRET = "correct horse"


def guarded(folder: Path) -> tuple[HandlerArchive, list[Any]]:
    """An archive that lets in who knows the password; and what each asked with."""
    archive, asked = HandlerArchive(folder), []

    @archive.server.authenticate
    async def authenticate(identity: Any, request: Any) -> bool:
        asked.append(identity)
        if identity is None:
            return False
        return bool(identity.primary == b"radiology" and identity.secondary in (b"", SECRET.encode()))

    return archive, asked


IDENTITIES: dict[str, tuple[list[str], int, bytes, bool]] = {
    "user name and password": (["-usr", "radiology", "-pwd", SECRET], 2, SECRET.encode(), True),
    "user name": (["-usr", "radiology"], 1, b"", True),
    "an empty password": (["-usr", "radiology", "-epw"], 2, b"", True),
    "a wrong password": (["-usr", "radiology", "-pwd", "wrong"], 2, b"wrong", False),
    "nothing": ([], 0, b"", False),
}


@pytest.mark.parametrize("response", [[], ["-rsp"]], ids=["", "positive response asked"])
@pytest.mark.parametrize("case", IDENTITIES)
async def test_storescu(case: str, response: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words, kind, secondary, welcome = IDENTITIES[case]
    archive, asked = guarded(tmp_path)
    with caplog.at_level(logging.DEBUG):
        async with archive.server.listen(HOST, 0) as listening:
            talk = await dcmtk.storescu(
                listening.port, [samples.CT.path], *words, *(response if words else []), called=TITLE
            )
    if welcome:
        assert talk.statuses == [0x0000], talk
        (request,) = archive.requests
        assert request.association.user_identity.primary == b"radiology"
    else:
        assert "Association Rejected" in str(talk.finished), talk
        assert archive.requests == []
    (identity,) = asked
    if words:
        assert (identity.identity_type, identity.secondary) == (kind, secondary)
        assert identity.positive_response_requested == bool(response)
        # The A-ASSOCIATE-AC as DCMTK prints it: it has an identity item where one was asked for (PS3.7 D.3.3.7.2).
        assert ("Server Response (not dumped)" in talk.finished.output) == (welcome and bool(response))
    assert SECRET not in caplog.text
    assert "wrong" not in caplog.text


@pytest.mark.parametrize("answer", [True, b"a token"], ids=repr)
async def test_pynetdicom_asks_for_a_positive_response(tmp_path: Path, answer: Any) -> None:
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

    archive = HandlerArchive(tmp_path)

    @archive.server.authenticate
    async def authenticate(identity: Any, request: Any) -> Any:
        return answer

    def ask(port: int) -> Any:
        item = UserIdentityNegotiation()
        item.user_identity_type, item.positive_response_requested = 3, True
        item.primary_field = b"a ticket"
        contexts = [(str(sop_class.Verification), pynetdicom_peers.UNCOMPRESSED)]
        with pynetdicom_peers.association(port, contexts, called=TITLE, ext_neg=[item]) as assoc:
            return assoc.acceptor.user_identity

    async with archive.server.listen(HOST, 0) as listening:
        response = await asyncio.to_thread(ask, listening.port)
    assert response.server_response == (answer if isinstance(answer, bytes) else b"")


@pytest.mark.parametrize(("kind", "token"), [(2, None), (5, b"welcome")], ids=["password", "JWT"])
@pytest.mark.parametrize("welcome", [True, False])
async def test_our_user_at_pynetdicom(netdicom: Any, welcome: bool, kind: int, token: bytes | None) -> None:
    """It gives no positive response to a password, whatever is asked: a server response there is for types 3 to 5."""
    from pynetdicom import evt

    def judge(event: evt.Event) -> tuple[bool, bytes | None]:
        return SECRET.encode() in (event.primary_field, event.secondary_field), b"welcome"

    scp = netdicom(handlers={evt.EVT_USER_ID: judge})
    secret = SECRET.encode() if welcome else b"wrong"
    fields = (b"radiology", secret) if kind == 2 else (secret, b"")
    connecting = aiodimse.connect(
        HOST,
        scp.port,
        contexts=[sop_class.Verification],
        user_identity=aiodimse.UserIdentityRequest(kind, True, *fields),
    )
    if welcome:
        async with connecting as association:
            assert (await association.c_echo()).status == 0x0000
            response = association.negotiated.user_identity_response
            assert (None if response is None else response.server_response) == token
    else:
        with pytest.raises(aiodimse.AssociationRejected):
            await connecting
