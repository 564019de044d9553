"""Associations over TLS on loopback: who is let in, who is not, what both sides are told, and that nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import sop_class, tls
from aiodimse.aio.admission import _HANDSHAKE
from aiodimse.testing.clock import ManualClock

HOST = "127.0.0.1"
Log = pytest.LogCaptureFixture


@asynccontextmanager
async def serving(certificates, server: aiodimse.Server | None = None, **options: Any) -> AsyncIterator[Any]:
    """A TLS server that wants client certificates, unless told otherwise."""
    server = server or aiodimse.Server(ae_title="ARCHIVE")
    context = tls.server_context(**{"ca": certificates.ca, **certificates.pair("server"), **options})
    async with server.listen(HOST, 0, ssl=context) as listening:
        yield listening


async def echo(port: int, context: ssl.SSLContext | None, host: str = HOST, **options: Any) -> int:
    contexts = [sop_class.Verification]
    async with aiodimse.connect(
        host, port, called_ae_title="ARCHIVE", contexts=contexts, ssl=context, **options
    ) as association:
        return int((await association.c_echo()).status)


@pytest.fixture
def good(certificates) -> ssl.SSLContext:
    return tls.client_context(certificates.ca, **certificates.pair("ct1"))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


# --- let in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_echo_and_the_certificates_of_both_sides(certificates, good, version: ssl.TLSVersion) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")
    seen: list[Any] = []

    @server.on_c_echo
    async def echoed(request: Any) -> int:
        seen.append(request.association.certificate)
        return 0x0000

    good.minimum_version = good.maximum_version = version
    async with serving(certificates, server) as listening:
        assert await echo(listening.port, good) == 0x0000
    assert tls.certificate_names(seen[0]) == {"dns:ct1.hospital.example"}


async def test_without_tls_there_is_no_certificate() -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")
    seen: list[Any] = []

    @server.on_c_echo
    async def echoed(request: Any) -> int:
        seen.append(request.association.certificate)
        return 0x0000

    async with server.listen(HOST, 0) as listening:
        assert await echo(listening.port, None) == 0x0000
    assert seen == [None]


async def test_the_one_switch_lets_clients_in_without(certificates) -> None:
    async with serving(certificates, verify_client=False) as listening:
        assert await echo(listening.port, tls.client_context(certificates.ca)) == 0x0000


async def test_the_other_switch_takes_a_server_by_another_name(certificates) -> None:
    relaxed = tls.client_context(certificates.ca, **certificates.pair("ct1"), check_hostname=False)
    async with serving(certificates, **certificates.pair("elsewhere")) as listening:
        assert await echo(listening.port, relaxed) == 0x0000


async def test_a_large_object_crosses_both_ways(certificates, good, tmp_path: Path) -> None:
    """More than TLS, asyncio and TCP hold at once: back-pressure through all of them."""
    from pydicom import dcmread

    path = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    large = dcmread(path)
    large.PixelData = bytes(range(256)) * (8 << 12)  # 8 MiB
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(tmp_path, durable=False)
        return 0x0000

    @server.on_c_get(sop_class.StudyRootQueryRetrieveInformationModelGet)
    async def get(request: Any) -> Any:
        files = list(tmp_path.iterdir())
        yield len(files)
        for file in files:
            yield file

    model = sop_class.StudyRootQueryRetrieveInformationModelGet
    async with serving(certificates, server) as listening:
        address = (HOST, listening.port)
        options = {"called_ae_title": "ARCHIVE", "ssl": good}
        async with aiodimse.connect(*address, contexts=[sop_class.CTImageStorage], **options) as association:
            assert (await association.c_store(large)).status == 0x0000
        async with (
            aiodimse.connect(*address, contexts=[model], **options) as association,
            association.c_get(one_study(large.StudyInstanceUID), model) as retrieval,
        ):
            back = [await instance.dataset() async for instance in retrieval]
        assert retrieval.status == 0x0000
    assert [dataset.PixelData for dataset in back] == [large.PixelData]


def one_study(study: str) -> Any:
    from pydicom import Dataset

    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study
    return identifier


async def test_a_c_move_destination_behind_tls(certificates, good) -> None:
    """Destination(ssl=): the store association of a C-MOVE is encrypted too."""
    path = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    arrived: list[Any] = []
    target, archive = aiodimse.Server(ae_title="TARGET"), aiodimse.Server(ae_title="ARCHIVE")

    @target.on_c_store
    async def store(request: Any) -> int:
        arrived.append((request.association.certificate, request.move_originator_ae_title))
        await request.discard()
        return 0x0000

    async with serving(certificates, target) as destination:

        @archive.on_c_move(sop_class.StudyRootQueryRetrieveInformationModelMove)
        async def move(request: Any) -> Any:
            yield aiodimse.Destination(HOST, destination.port, ssl=good)
            yield 1
            yield path

        async with (
            archive.listen(HOST, 0) as listening,
            aiodimse.connect(
                HOST,
                listening.port,
                called_ae_title="ARCHIVE",
                ae_title="MOVER",
                contexts=[sop_class.StudyRootQueryRetrieveInformationModelMove],
            ) as association,
        ):
            final = await association.c_move(
                one_study("1.2"),
                sop_class.StudyRootQueryRetrieveInformationModelMove,
                destination="TARGET",
            )
            assert final.status == 0x0000
    ((certificate, originator),) = arrived
    assert "dns:ct1.hospital.example" in tls.certificate_names(certificate)
    assert originator == "MOVER"


# --- not let in -------------------------------------------------------------------------------------------------------


async def refused(
    certificates, caplog: Log, good: ssl.SSLContext, client: ssl.SSLContext | None, **options: Any
) -> tuple[Exception, str]:
    """What our user is told, and what our server logs; a good peer is served while the refused one is there."""
    caplog.set_level(logging.INFO, logger="aiodimse")
    async with serving(certificates, **options) as listening:
        before = asyncio.all_tasks()
        first, good_one = await asyncio.gather(
            echo(listening.port, client), echo(listening.port, good), return_exceptions=True
        )
        assert isinstance(first, Exception), first
        if not options:
            assert good_one == 0x0000
        await until(lambda: asyncio.all_tasks() == before)
        await until(lambda: not listening.associations)
    lines = [r.getMessage() for r in caplog.records if r.name == "aiodimse.acceptor" and r.levelno >= logging.WARNING]
    return first, "\n".join(lines)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_client_certificate(certificates, caplog, good, version: ssl.TLSVersion) -> None:
    client = tls.client_context(certificates.ca)
    client.maximum_version = version
    error, line = await refused(certificates, caplog, good, client)
    assert isinstance(error, aiodimse.TLSError)
    assert "127.0.0.1:" in str(error)
    assert "certificate" in str(error)
    assert "the peer shows no certificate" in line


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("name", "words"),
    [("stranger", "unable to get local issuer certificate"), ("expired", "certificate has expired")],
)
async def test_a_client_certificate_that_is_not_accepted(
    certificates, caplog, good, version: ssl.TLSVersion, name: str, words: str
) -> None:
    client = tls.client_context(certificates.ca, **certificates.pair(name))
    client.maximum_version = version
    error, line = await refused(certificates, caplog, good, client)
    assert isinstance(error, aiodimse.TLSError)
    assert "certificate" in str(error)
    assert f"the peer's certificate is not accepted: {words}" in line


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("stranger", "unable to get local issuer certificate", "does not know the authority of our certificate"),
        ("expired", "certificate has expired", "finds our certificate expired"),
        ("elsewhere", "IP address mismatch", "refuses our certificate"),
    ],
)
async def test_a_server_certificate_that_is_not_accepted(
    certificates, caplog, good, name: str, words: str, told: str
) -> None:
    """Our user says by an alert why it goes."""
    error, warned = await refused(certificates, caplog, good, good, **certificates.pair(name))
    assert isinstance(error, aiodimse.TLSError)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert f"the peer's certificate is not accepted: {words}" in str(error)
    assert f": the peer {told} (" in warned
    heard = [r for r in caplog.records if r.getMessage().startswith("no TLS with")]
    assert {(r.name, r.levelno) for r in heard} == {("aiodimse.acceptor", logging.WARNING)}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stranger", "the peer does not know the authority of our certificate"),
        ("expired", "the peer finds our certificate expired"),
        ("elsewhere", "the peer refuses our certificate"),
    ],
)
async def test_a_client_that_says_why_it_refuses_our_certificate(
    certificates, caplog, good, version: ssl.TLSVersion, name: str, words: str
) -> None:
    good.maximum_version = version

    def shake(port: int) -> None:
        with (
            socket.create_connection((HOST, port)) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
            good.wrap_socket(plain, server_hostname=HOST),
        ):
            pass

    async with serving(certificates, **certificates.pair(name)) as listening:
        await asyncio.to_thread(shake, listening.port)
        await until(lambda: lines_of(caplog, "no TLS with"))
    (record,) = [r for r in caplog.records if r.getMessage().startswith("no TLS with")]
    assert (record.name, record.levelno) == ("aiodimse.acceptor", logging.WARNING)
    assert f": {words} (" in record.getMessage()


async def test_the_host_name_counts(certificates, good) -> None:
    async with serving(certificates) as listening:
        assert await echo(listening.port, good, "localhost") == 0x0000
    async with serving(certificates, **certificates.pair("elsewhere")) as listening:
        with pytest.raises(aiodimse.TLSError, match="Hostname mismatch"):
            await echo(listening.port, good, "localhost")


async def test_old_tls_is_refused(certificates, caplog, good, weak_context: ssl.SSLContext) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        weak_context.minimum_version = weak_context.maximum_version = ssl.TLSVersion.TLSv1_1
    error, line = await refused(certificates, caplog, good, weak_context)
    assert isinstance(error, aiodimse.TLSError)
    assert "TLS versions" in str(error)
    assert "no common TLS version: we speak 1.2 and up" in line


async def test_a_server_that_speaks_only_old_tls_is_refused(certificates) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(*certificates.pair("server").values())
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with aiodimse.Server(ae_title="ARCHIVE").listen(HOST, 0, ssl=old) as listening:
        with pytest.raises(aiodimse.TLSError):
            await echo(listening.port, tls.client_context(certificates.ca))


@pytest.mark.parametrize(
    "suite", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES256-GCM-SHA384"]
)
async def test_weak_suites_are_refused(certificates, caplog, good, weak_context: ssl.SSLContext, suite: str) -> None:
    """No forward secrecy, no AEAD, or finite-field Diffie-Hellman (RFC 9325 4.1)."""
    weak_context.maximum_version = ssl.TLSVersion.TLSv1_2
    weak_context.set_ciphers(f"{suite}:@SECLEVEL=0")
    error, line = await refused(certificates, caplog, good, weak_context)
    assert isinstance(error, aiodimse.TLSError)
    assert "no common cipher suite" in str(error)
    assert "no common cipher suite" in line


async def test_plain_on_a_tls_port(certificates, caplog, good) -> None:
    error, line = await refused(certificates, caplog, good, None)
    assert isinstance(error, aiodimse.AssociationAborted)
    assert "does it want TLS?" in str(error)
    assert "the peer does not speak TLS" in line


async def test_tls_on_a_plain_port(certificates, caplog, good) -> None:
    caplog.set_level(logging.INFO, logger="aiodimse")
    async with aiodimse.Server(ae_title="ARCHIVE").listen(HOST, 0) as listening:
        with pytest.raises(aiodimse.TLSError, match="the peer does not speak TLS"):
            await echo(listening.port, good)
        assert await echo(listening.port, None) == 0x0000
    words = "does not ask for an association: PDU-type at offset 0: 16H is none of the seven (TLS begins so)"
    (record,) = [r for r in caplog.records if words in r.getMessage()]
    assert (record.name, record.levelno) == ("aiodimse.association", logging.WARNING)


# --- time and limits --------------------------------------------------------------------------------------------------


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait until the peer has closed, whichever way."""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


def lines_of(caplog: Log, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


async def test_silent_clients_delay_nobody_and_are_closed(certificates, caplog, good) -> None:
    """Handshakes that never begin, or stop in the middle: others are served, the deadline closes these."""
    clock = ManualClock()
    server = aiodimse.Server(ae_title="ARCHIVE", environment=aiodimse.Environment(clock))
    async with serving(certificates, server) as listening:
        silent = [await asyncio.open_connection(HOST, listening.port) for _ in range(20)]
        for _, writer in silent[10:]:
            writer.write(b"\x16\x03\x01\x02\x00\x01")  # a handshake record of 512 bytes, of which one is there
        for _ in range(3):
            assert await echo(listening.port, good) == 0x0000
        clock.advance(9.9)
        assert await echo(listening.port, good) == 0x0000
        assert not lines_of(caplog, "longer than")
        clock.advance(0.2)
        for reader, writer in silent:
            await ended(reader)
            writer.close()
        assert await echo(listening.port, good) == 0x0000
    assert len(lines_of(caplog, "the TLS handshake took longer than 10.0 s")) == 20


async def test_leaving_the_server_does_not_wait_for_handshakes(certificates) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE", environment=aiodimse.Environment(ManualClock()))  # which stands still
    async with asyncio.timeout(60):
        async with serving(certificates, server) as listening:
            silent = [await asyncio.open_connection(HOST, listening.port) for _ in range(3)]
            await until(lambda: len(asyncio.all_tasks()) >= 4)  # the handshakes have begun
        for reader, writer in silent:
            await ended(reader)
            writer.close()


async def test_handshakes_count_as_pending_connections(certificates, caplog, good) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE", limits=aiodimse.Limits(max_pending_connections=3))
    async with serving(certificates, server) as listening:
        silent = [await asyncio.open_connection(HOST, listening.port) for _ in range(5)]
        for reader, _ in silent[:2]:
            await ended(reader)
        assert await echo(listening.port, good) == 0x0000  # the newcomer is kept, the third oldest goes
        await ended(silent[2][0])
        for _, writer in silent:
            writer.close()
    assert len(lines_of(caplog, "closing the oldest")) == 3


async def test_coming_and_going_without_a_word_is_no_warning(certificates, caplog) -> None:
    """A load balancer's health check."""
    caplog.set_level(logging.INFO, logger="aiodimse")
    async with serving(certificates) as listening:
        _, writer = await asyncio.open_connection(HOST, listening.port)
        writer.close()
        await until(lambda: lines_of(caplog, "no TLS with"))
    (line,) = [record for record in caplog.records if "no TLS with" in record.getMessage()]
    assert (line.levelno, line.association, line.message_id) == (logging.INFO, None, None)
    assert line.getMessage().startswith(f"no TLS with {line.peer}: ")
    assert line.peer.startswith(f"{HOST}:")


async def test_the_deadline_of_our_own_handshake(good) -> None:
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: held.append(writer), HOST, 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(aiodimse.AssociationTimeout, match=r"TLS handshake took longer than 0\.05 s") as caught:
        await echo(port, good, timeouts=aiodimse.Timeouts(tls_handshake=0.05))
    assert caught.value.phase == "connect"
    with pytest.raises(aiodimse.AssociationTimeout, match=r"did not end the TLS handshake within 0\.05 s"):
        await echo(port, good, timeouts=aiodimse.Timeouts(connect=0.05))
    silent.close()
    for writer in held:
        writer.close()


class Failures:
    """Metrics that keep what failed."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, str]] = []

    def association_failed(self, association: aiodimse.MeasuredAssociation, how: str) -> None:
        assert association.peer_address is not None
        calling, called = association.calling_ae_title, association.called_ae_title
        self.told.append((association.role, how, calling, called))


async def test_metrics_are_told_of_a_failed_handshake(certificates) -> None:
    theirs: Any = Failures()
    ours: Any = Failures()
    stranger = tls.client_context(certificates.ca, **certificates.pair("stranger"))
    stranger.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the alert would come after our handshake
    async with serving(certificates, aiodimse.Server(ae_title="ARCHIVE", metrics=theirs)) as listening:
        with pytest.raises(aiodimse.TLSError):
            await echo(listening.port, stranger, metrics=ours)
        await until(lambda: theirs.told)
    assert theirs.told == [("acceptor", "tls", "", "")]
    assert ours.told == [("requestor", "tls", "AIODIMSE", "ARCHIVE")]


async def test_metrics_are_told_of_a_handshake_that_does_not_end(certificates, good) -> None:
    theirs: Any = Failures()
    ours: Any = Failures()
    timeouts = aiodimse.Timeouts(tls_handshake=0.05)
    async with serving(certificates, aiodimse.Server(ae_title="A", metrics=theirs, timeouts=timeouts)) as listening:
        _, gone = await asyncio.open_connection(HOST, listening.port)
        gone.close()
        await until(lambda: theirs.told)
        reader, silent = await asyncio.open_connection(HOST, listening.port)
        await ended(reader)
        silent.close()
    assert [how for _, how, _, _ in theirs.told] == ["lost", "timeout"]
    held: list[asyncio.StreamWriter] = []
    silent_peer = await asyncio.start_server(lambda _, writer: held.append(writer), HOST, 0)
    for each in (timeouts, aiodimse.Timeouts(connect=0.05)):
        with pytest.raises(aiodimse.AssociationTimeout):
            await echo(silent_peer.sockets[0].getsockname()[1], good, timeouts=each, metrics=ours)
    silent_peer.close()
    for writer in held:
        writer.close()
    assert ours.told == [("requestor", "timeout", "AIODIMSE", "ARCHIVE")] * 2


async def test_a_cancelled_connect_leaves_nothing(good) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone.set()

    silent = await asyncio.start_server(hold, HOST, 0)
    task = asyncio.create_task(echo(silent.sockets[0].getsockname()[1], good))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        await gone.wait()
    silent.close()
    gc.collect()  # an unclosed transport would warn now


# --- titles -----------------------------------------------------------------------------------------------------------


async def test_a_certificate_uses_the_titles_that_are_its_own(certificates, caplog) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")
    server.on_associate(
        tls.titles_from_certificate({"dns:CT1.hospital.example": "CT1", "mr1.hospital.example": ["MR1", "MR2 "]})
    )
    allowed = {("ct1", "CT1"), ("mr1", "MR1"), ("mr1", "MR2")}
    async with serving(certificates, server) as listening:
        for name in ("ct1", "mr1", "server"):
            context = tls.client_context(certificates.ca, **certificates.pair(name))
            for title in ("CT1", "MR1", "MR2", "ct1"):
                if (name, title) in allowed:
                    assert await echo(listening.port, context, ae_title=title) == 0x0000
                else:
                    with pytest.raises(aiodimse.AssociationRejected) as caught:
                        await echo(listening.port, context, ae_title=title)
                    assert (caught.value.result, caught.value.source, caught.value.reason) == (1, 1, 3)
    assert lines_of(caplog, "calls itself 'MR1', which is not for 'dns:ct1.hospital.example'")


@pytest.mark.parametrize("name", ["dn:ct1.hospital.example", "CN=ct1:", "ct1.hospital.example:104", "ip4:10.0.0.7"])
def test_a_name_of_no_kind_is_refused(name: str) -> None:
    """It would be taken for a DNS name, and nobody could use the title."""
    with pytest.raises(ValueError, match="begins with neither dns:, ip: nor cn:"):
        tls.titles_from_certificate({name: "CT1"})


def test_an_address_needs_no_kind() -> None:
    assert tls.titles_from_certificate({"2001:db8::1": "CT1", "10.0.0.7": "CT2"})


async def test_titles_ask_for_a_certificate() -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")
    server.on_associate(tls.titles_from_certificate({"dns:ct1.hospital.example": "CT1"}))
    async with server.listen(HOST, 0) as listening:
        with pytest.raises(aiodimse.AssociationRejected):
            await echo(listening.port, None, ae_title="CT1")


@pytest.mark.parametrize(
    ("certificate", "names"),
    [
        (None, set()),
        ({}, set()),
        ({"subject": ((("organizationName", "H"),), (("commonName", "CT1"),))}, {"cn:ct1"}),
        ({"subject": ((("commonName", "ct1"),),), "subjectAltName": (("DNS", "b.example"),)}, {"dns:b.example"}),
        ({"subject": ((("commonName", "ct1"),),), "subjectAltName": (("email", "c"),)}, set()),
        ({"subjectAltName": (("IP Address", "2001:DB8:0:0:0:0:0:1"),)}, {"ip:2001:db8::1"}),
        ({"subjectAltName": (("DNS", "10.0.0.7"),)}, {"dns:10.0.0.7"}),
        (
            {
                "subjectAltName": (
                    ("DNS", "A.example"),
                    ("IP Address", "10.0.0.7"),
                    ("URI", "https://b"),
                    ("email", "c"),
                )
            },
            {"dns:a.example", "ip:10.0.0.7"},
        ),
    ],
)
def test_certificate_names(certificate: Any, names: set[str]) -> None:
    assert tls.certificate_names(certificate) == names


@pytest.mark.parametrize(
    ("name", "certificate", "may"),
    [
        ("cn:CT One", {"subject": ((("commonName", "CT one"),),)}, True),
        ("CT One", {"subject": ((("commonName", "CT one"),),)}, False),
        ("cn:CT One", {"subject": ((("commonName", "CT One"),),), "subjectAltName": (("DNS", "x"),)}, False),
        ("dns:10.0.0.7", {"subjectAltName": (("IP Address", "10.0.0.7"),)}, False),
        ("10.0.0.7", {"subjectAltName": (("IP Address", "10.0.0.7"),)}, True),
        ("10.0.0.7", {"subjectAltName": (("DNS", "10.0.0.7"),)}, False),
        ("ip:2001:db8::1", {"subjectAltName": (("IP Address", "2001:DB8:0:0:0:0:0:1"),)}, True),
    ],
)
async def test_a_name_is_of_one_kind(name: str, certificate: Any, may: bool) -> None:
    check = tls.titles_from_certificate({name: "CT1"})
    asking = SimpleNamespace(
        address=None, calling_ae_title="CT1", tls_certificate=certificate, logger=lambda logger: logger
    )
    if may:
        await check(asking)
    else:
        with pytest.raises(aiodimse.AssociationRejected):
            await check(asking)


@pytest.mark.parametrize("name", ["", "dns:", "ip:ct1", "cn: "])
def test_a_name_of_nobody_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"names nobody|does not appear to be an IPv4"):
        tls.titles_from_certificate({name: "CT1"})


# --- handshakes are counted -------------------------------------------------------------------------------------------

HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01"
"""A handshake record of 512 bytes, of which one is there."""


async def begin(port: int) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(HALF_A_HELLO)
    reader.writer = writer  # type: ignore[attr-defined]  # it closes when it is collected
    return reader


async def test_so_many_handshakes_at_a_time(certificates, caplog, good) -> None:
    """The next one waits a second, then the oldest makes place; silent connections take none."""
    clock = ManualClock()
    server = aiodimse.Server(
        ae_title="ARCHIVE", limits=aiodimse.Limits(tls_handshakes=2), environment=aiodimse.Environment(clock)
    )
    async with serving(certificates, server) as listening:
        silent = [await asyncio.open_connection(HOST, listening.port) for _ in range(5)]
        assert await echo(listening.port, good) == 0x0000
        slow = [await begin(listening.port) for _ in range(2)]
        places = listening._acceptor._admission._handshakes
        await until(lambda: len(places._going) == 2)
        waiting = asyncio.create_task(echo(listening.port, good))
        await until(lambda: places._room._waiters)
        clock.advance(0.9)
        assert not lines_of(caplog, "closing the oldest")
        clock.advance(0.2)
        assert await waiting == 0x0000
        await ended(slow[0])
        assert len(places._going) == 1
        for each in slow:
            each.writer.close()  # type: ignore[attr-defined]
        for _, writer in silent:
            writer.close()
    assert lines_of(caplog, "closing the oldest") == ["2 TLS handshakes at a time: closing the oldest"]


async def test_the_bytes_of_handshakes_are_pending_bytes(certificates, caplog, good) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE", limits=aiodimse.Limits(pending_bytes=2 * _HANDSHAKE + 100))
    async with serving(certificates, server) as listening:
        slow = [await begin(listening.port) for _ in range(3)]
        await until(lambda: lines_of(caplog, "closing the one with the most"))
        assert await echo(listening.port, good) == 0x0000
        for each in slow:
            each.writer.close()  # type: ignore[attr-defined]
        admission = listening._acceptor._admission
        await until(lambda: not admission._held)
        assert admission._held_in_total == 0
