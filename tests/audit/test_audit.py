"""The audit trail: messages after the schema of PS3.15 A.5.1, syslog frames, and a collector that may be anything."""

from __future__ import annotations

import asyncio
import base64
import errno
import logging
import os
import re
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trustme
from pydicom import Dataset

import aiodimse
from aiodimse import audit, sop_class, testing, tls
from aiodimse.audit.message import NODE_ID, QUERY
from aiodimse.audit.syslog import frame

lxml = pytest.importorskip("lxml.etree")
SCHEMA = lxml.RelaxNG(lxml.parse(str(Path(__file__).parents[1] / "data" / "standard" / "audit_message.rng")))
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
STUDY = audit.TransferredStudy("1.2.3", "4711", "Doe^Jane", {sop_class.CTImageStorage: 2, sop_class.MRImageStorage: 1})


class Kept:
    """A sink that keeps what it is given, or fails as often as it is told to."""

    def __init__(self, *, failures: int = 0, error: BaseException | None = None) -> None:
        self.frames: list[bytes] = []
        self.failures, self.tried, self.is_closed = failures, 0, False
        self.error = error or ConnectionRefusedError()
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def write(self, messages: Sequence[bytes]) -> None:
        await self.may_write.wait()
        self.tried += 1
        if self.tried <= self.failures:
            raise self.error
        self.frames += messages

    async def close(self) -> None:
        self.is_closed = True

    def messages(self) -> list[ElementTree.Element]:
        return [ElementTree.fromstring(each.partition(b"\xef\xbb\xbf")[2]) for each in self.frames]

    def kinds(self) -> list[str]:
        return [each.find("EventIdentification/EventID").attrib["originalText"] for each in self.messages()]  # type: ignore[union-attr]


def valid(framed: bytes) -> None:
    xml = lxml.fromstring(framed.partition(b"\xef\xbb\xbf")[2])
    assert SCHEMA.validate(xml), SCHEMA.error_log


def test_the_schema_can_fail() -> None:
    assert not SCHEMA.validate(lxml.fromstring(b"<AuditMessage/>"))


async def test_every_event_follows_the_schema() -> None:
    sink = Kept()
    async with audit.AuditTrail("A", sink, ae_titles=["ONE", "TWO"], site_id="Site") as trail:
        trail.begin_transferring("VIEWER", "192.0.2.7", [STUDY])
        trail.begin_transferring("VIEWER", None, [STUDY, STUDY])
        trail.instances_transferred("CT1", "192.0.2.8", [STUDY], received=True)
        trail.instances_transferred("VIEWER", None, [STUDY], received=False, action="R", outcome=4)
        trail.security_alert("a certificate has expired", peer="CT1", address="192.0.2.8")
        trail.security_alert("nobody knows who", outcome=12)
    assert sink.kinds() == [
        "Application Activity",
        "Begin Transferring DICOM Instances",
        "Begin Transferring DICOM Instances",
        "DICOM Instances Transferred",
        "DICOM Instances Transferred",
        "Security Alert",
        "Security Alert",
        "Application Activity",
    ]
    for each in sink.frames:
        valid(each)
    assert sink.is_closed


async def test_who_sent_and_who_received() -> None:
    sink = Kept()
    async with audit.AuditTrail("A", sink, ae_titles=["ARCHIVE"]) as trail:
        trail.instances_transferred("CT1", "192.0.2.8", [STUDY], received=True)
        trail.instances_transferred("VIEWER", "192.0.2.7", [STUDY], received=False)
    for message, source in zip(sink.messages()[1:3], ("192.0.2.8", "aiodimse"), strict=True):
        roles = {
            each.attrib["UserID"]: (each.find("RoleIDCode").attrib["csd-code"], each.attrib["UserIsRequestor"])  # type: ignore[union-attr]
            for each in message.findall("ActiveParticipant")
        }
        assert roles.pop(source) == ("110153", "true")
        assert [*roles.values()] == [("110152", "false")]
    objects = sink.messages()[1].findall("ParticipantObjectIdentification")
    assert [each.attrib["ParticipantObjectID"] for each in objects] == ["1.2.3", "4711"]
    assert {s.attrib["UID"]: s.attrib["NumberOfInstances"] for s in objects[0].iter("SOPClass")} == {
        sop_class.CTImageStorage: "2",
        sop_class.MRImageStorage: "1",
    }


@pytest.mark.parametrize("begin", [True, False])
async def test_a_message_tells_of_one_patient(begin: bool) -> None:
    """PS3.15 A.5.3.3, A.5.3.7."""
    sink = Kept()
    others = [audit.TransferredStudy("1.2.4", "4712"), audit.TransferredStudy("1.2.5", "4711")]
    async with audit.AuditTrail("A", sink) as trail:
        if begin:
            trail.begin_transferring("VIEWER", None, [STUDY, *others])
        else:
            trail.instances_transferred("VIEWER", None, [STUDY, *others], received=False)
    told = [
        [each.attrib["ParticipantObjectID"] for each in message.findall("ParticipantObjectIdentification")]
        for message in sink.messages()[1:-1]
    ]
    assert told == [["1.2.3", "1.2.5", "4711"], ["1.2.4", "4712"]]


async def test_a_query_has_its_identifier() -> None:
    sink = Kept()
    server = aiodimse.Server(ae_title="ARCHIVE")
    async with audit.AuditTrail("A", sink) as trail:

        @server.on_c_find(FIND)
        async def find(request):
            trail.query(request)
            return
            yield

        identifier = Dataset()
        identifier.PatientName = "Doe^J*"
        async with testing.joined(server, contexts=[FIND]) as association:
            await association.c_find(identifier, FIND)
    (query,) = [
        each for each in sink.messages() if each.find("EventIdentification/EventID").attrib["csd-code"] == QUERY.code
    ]  # type: ignore[union-attr]
    text = query.findtext("ParticipantObjectIdentification/ParticipantObjectQuery")
    assert text is not None
    assert b"Doe^J*" in base64.b64decode(text)
    for each in sink.frames:
        valid(each)


async def test_a_rejection_is_an_alert() -> None:
    sink = Kept()
    async with audit.AuditTrail("A", sink) as trail:
        server = aiodimse.Server(ae_title="ARCHIVE", metrics=trail.metrics())
        with pytest.raises(aiodimse.AssociationRejected):
            async with testing.joined(server, contexts=[sop_class.Verification], called_ae_title="OTHER"):
                pass
    assert sink.kinds() == ["Application Activity", "Security Alert", "Application Activity"]
    (node,) = sink.messages()[1].findall("ParticipantObjectIdentification")
    assert (node.attrib["ParticipantObjectID"], node.findtext("ParticipantObjectName")) == ("127.0.0.1", "AIODIMSE")
    for each in sink.frames:
        valid(each)


async def test_a_failed_tls_handshake_is_an_alert() -> None:
    sink = Kept()
    async with audit.AuditTrail("A", sink) as trail:
        hooks = trail.metrics()
        for how in ("tls", "lost", "timeout", "aborted_by_us"):
            hooks.association_failed(aiodimse.MeasuredAssociation("acceptor", "", "", ("192.0.2.7", 51234)), how)
    assert sink.kinds() == ["Application Activity", "Security Alert", "Application Activity"]
    (node,) = sink.messages()[1].findall("ParticipantObjectIdentification")
    assert node.attrib["ParticipantObjectID"] == "192.0.2.7"


@pytest.mark.parametrize("title", ["A\x00\x01B", '<&">', "\ud800", "\ufffe"])
async def test_what_a_peer_calls_itself_stays_xml(title: str) -> None:
    sink = Kept()
    async with audit.AuditTrail("A", sink) as trail:
        trail.security_alert("hello", peer=title)
    for each in sink.frames:
        valid(each)


def test_the_frame_is_rfc_5424() -> None:
    time = datetime(2026, 11, 28, 4, 5, 6, 789000, tzinfo=UTC)
    framed = frame(b"<AuditMessage/>", time, app_name="my archive", host="host.example")
    assert re.fullmatch(
        rb"<85>1 2026-11-28T04:05:06\.789Z host\.example myarchive \d+ DICOM\+RFC3881 - \xef\xbb\xbf<AuditMessage/>",
        framed,
    )
    assert frame(b"", time, app_name="\u00e4 ", host="\u00fc").startswith(b"<85>1 2026-11-28T04:05:06.789Z - - ")


async def test_nothing_waits_for_a_sink_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    sink = Kept()
    sink.may_write.clear()
    trail = audit.AuditTrail("A", sink, capacity=3, drain=0)
    async with trail:
        for _ in range(5):
            trail.security_alert("alert")
        assert (trail.waiting, trail.dropped) == (3, 3)
    assert (trail.waiting, trail.dropped, sink.is_closed) == (3, 4, True)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "3 audit messages wait, and no more are taken",
        "3 audit messages were not written",
    ]


async def test_a_sink_that_fails_gets_all_again(caplog: pytest.LogCaptureFixture) -> None:
    sink = Kept(failures=3)
    async with audit.AuditTrail("A", sink, retry=[0]) as trail:
        trail.security_alert("alert")
    assert sink.kinds() == ["Application Activity", "Security Alert", "Application Activity"]
    assert trail.waiting == 0
    assert [r.getMessage() for r in caplog.records if r.name == "aiodimse.audit"] == [
        "audit messages cannot be written: ConnectionRefusedError",
        "audit messages are written again",
    ]


@pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError, asyncio.CancelledError])
async def test_a_sink_with_a_fault_gets_all_again(caplog: pytest.LogCaptureFixture, error: type[BaseException]) -> None:
    """What a sink of the application raises ends nothing, is said once, and its text stays out of the log."""
    sink = Kept(failures=2, error=error("Doe^Jane"))
    async with audit.AuditTrail("A", sink, retry=[0.0]) as trail:
        trail.security_alert("one")
    assert sink.kinds() == ["Application Activity", "Security Alert", "Application Activity"]
    assert [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR] == [
        f"audit messages cannot be written: {error.__name__}"
    ]


async def test_messages_that_wait_are_bounded_in_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """The Identifier of a query may be a mebibyte, as its peer likes."""
    sink = Kept()
    sink.may_write.clear()
    async with audit.AuditTrail("A", sink, capacity_bytes=7000) as trail:
        trail.security_alert("a" * 7000)
        assert (trail.waiting, trail.dropped) == (2, 0)
        for text in ("b" * 7000, "c"):
            trail.security_alert(text)
        assert (trail.waiting, trail.dropped) == (2, 2)
        sink.may_write.set()
        await testing.settle()
        trail.security_alert("d")  # what is written takes no room any more
        assert (trail.waiting, trail.dropped) == (1, 2)
    assert [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR] == [
        "2 audit messages wait, and no more are taken"
    ]


async def test_half_a_line_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that becomes full in the middle of a message, and has room again."""
    path, write, room = tmp_path / "audit.log", os.write, [5, 0]

    def written(file: int, data: bytes) -> int:
        if not room:
            return write(file, data)
        if most := room.pop(0):
            return write(file, data[:most])
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("aiodimse.audit.syslog.os.write", written)
    sink = audit.FileSink(path)
    with pytest.raises(OSError, match="no space"):
        await sink.write([b"first message", b"second"])
    await sink.write([b"first message", b"second"])
    await sink.write([b"third"])
    assert path.read_bytes().splitlines() == [b"first", b"first message", b"second", b"third"]


@pytest.mark.parametrize(("before", "lines"), [(b"", 1), (b"whole\n", 2), (b"whole\nhal", 3)])
async def test_what_another_process_left_of_a_line_does_not_spoil_the_next(
    tmp_path: Path, before: bytes, lines: int
) -> None:
    """It was killed, or met a full disk, in the middle of a message."""
    path = tmp_path / "audit.log"
    path.write_bytes(before)
    sink = audit.FileSink(path)
    await sink.write([b"first"])
    await sink.write([b"second"])
    assert path.read_bytes().splitlines()[lines - 1 :] == [b"first", b"second"]
    assert path.read_bytes().startswith(before)


@pytest.mark.parametrize("retry", [(), (1.0, -1.0)])
def test_waits_that_are_none_are_refused(retry: tuple[float, ...]) -> None:
    """They would end the task that writes at the first failure."""
    with pytest.raises(ValueError, match="retry"):
        audit.AuditTrail("A", Kept(), retry=retry)


async def test_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    async with audit.AuditTrail("A", audit.FileSink(path)) as trail:
        trail.instances_transferred("CT1", None, [STUDY], received=True)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 3
    for line in lines:
        valid(line)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028"])
async def test_a_patient_or_a_peer_begins_no_line_of_the_file(tmp_path: Path, end: str) -> None:
    """Who reads the file line by line would meet half a message, and behind it what the name says."""
    path, name = tmp_path / "audit.log", f"Doe{end}<85>1 2026-11-28T00:00:00.000Z host aiodimse 1 DICOM+RFC3881 -"
    study = audit.TransferredStudy("1.2.3", f"4711{end}x", name)
    async with audit.AuditTrail("A", audit.FileSink(path)) as trail:
        trail.instances_transferred("CT1", None, [study], received=True)
        trail.security_alert(f"hello{end}x", peer=f"CT{end}1")
    lines = path.read_bytes().splitlines()
    assert len(lines) == 4
    for line in lines:
        valid(line)
    kept = ElementTree.fromstring(lines[1].partition(b"\xef\xbb\xbf")[2])
    assert kept.findall("ParticipantObjectIdentification/ParticipantObjectName")[-1].text == name


async def test_a_collector_that_restarts_gets_what_comes_next() -> None:
    """Without TLS, the end of its connection is seen only by who looks; what is written into it is lost."""
    collectors: list[asyncio.StreamReader] = []
    came = asyncio.Event()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        collectors.append(reader)
        await reader.readexactly(int(await reader.readuntil(b" ")))
        came.set()
        writer.close()

    async with await asyncio.start_server(collect, "127.0.0.1", 0) as collector:
        sink = audit.SyslogTLS("127.0.0.1", collector.sockets[0].getsockname()[1], ssl=None)
        await sink.write([b"first"])
        await asyncio.wait_for(came.wait(), 10)
        came.clear()
        assert sink._streams is not None
        await asyncio.wait_for(sink._streams[0].read(), 10)
        await sink.write([b"second"])
        await asyncio.wait_for(came.wait(), 10)
        await sink.close()
    assert len(collectors) == 2


async def test_over_tls(tmp_path: Path) -> None:
    """RFC 5425: each message with its length before it, and a new connection where the collector went away."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    got: list[bytes] = []
    arrived = asyncio.Event()
    connections = 0

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while length := await reader.readuntil(b" "):
                got.append(await reader.readexactly(int(length)))
                arrived.set()
                if connections == 1:
                    return  # a collector that restarts
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.transport.abort()

    server_context = tls.server_context(tmp_path / "server.pem", verify_client=False)
    collector = await asyncio.start_server(collect, "127.0.0.1", 0, ssl=server_context)
    port = collector.sockets[0].getsockname()[1]
    context = tls.client_context(tmp_path / "ca.pem")
    sink = audit.SyslogTLS("127.0.0.1", port, ssl=context)
    async with audit.AuditTrail("A", sink, retry=[0.01]) as trail:
        await arrived.wait()
        while connections < 2:  # what is lost in a connection that breaks is seen at the next write
            trail.security_alert("alert")
            await asyncio.sleep(0)
    collector.close()
    assert got
    for each in got:
        valid(each)


def test_records_show_no_patient() -> None:
    concerned = audit.ParticipantObject("4711", NODE_ID, name="Doe^Jane")
    assert "4711" not in repr(STUDY)
    assert "Doe" not in repr(STUDY)
    assert "4711" not in repr(concerned)
    assert "Doe" not in repr(concerned)
