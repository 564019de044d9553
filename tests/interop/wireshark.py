"""Wireshark's dissector as a judge of what went over the wire, without a capture and without root.

A conversation is a list of (way, bytes): ">" from the requestor, "<" from the acceptor, as ScriptedPeer.trace, a .dul
file and Tap have it. It is written as a pcap of TCP segments, and tshark reads that.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from interop.programs import need, run

Conversation = Iterable[tuple[str, bytes]]
PORT = 11112
_USER_PORT = 40000
_SEGMENT = 16000


def write_pcap(path: Path, conversation: Conversation, port: int = PORT) -> None:
    """Raw IPv4 (link type 101), checksums left 0, which tshark does not check by default."""
    sequence = {">": 1, "<": 1}
    flags_syn, flags_syn_ack, flags_ack, flags_fin = 0x02, 0x12, 0x18, 0x11

    def segment(way: str, flags: int, data: bytes) -> bytes:
        ports = (_USER_PORT, port) if way == ">" else (port, _USER_PORT)
        hosts = (b"\x7f\0\0\1", b"\x7f\0\0\2") if way == ">" else (b"\x7f\0\0\2", b"\x7f\0\0\1")
        there = sequence["<" if way == ">" else ">"]
        mine = sequence[way] - (1 if flags & 0x02 else 0)
        tcp = struct.pack(">HHIIBBHHH", *ports, mine, there, 5 << 4, flags, 65535, 0, 0) + data
        return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, *hosts) + tcp

    frames = [segment(">", flags_syn, b""), segment("<", flags_syn_ack, b"")]
    for way, data in conversation:
        for at in range(0, len(data), _SEGMENT):
            piece = data[at : at + _SEGMENT]
            frames.append(segment(way, flags_ack, piece))
            sequence[way] += len(piece)
    frames.append(segment(">", flags_fin, b""))
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0x40000, 101))
        for number, frame in enumerate(frames):
            file.write(struct.pack("<IIII", 1, number, len(frame), len(frame)) + frame)


def read_dul(path: Path) -> list[tuple[str, bytes]]:
    """A recording in the form of tests/data/captures: one PDU a line, > or <, then hex."""
    lines = path.read_text(encoding="ascii").splitlines()
    return [(line[0], bytes.fromhex(line[1:])) for line in lines if line.startswith((">", "<"))]


@dataclass
class Dissection:
    """What tshark says: the DICOM PDU types in order, and every complaint of its dissectors."""

    pdus: list[int] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)
    text: str = ""


async def dissect(pcap: Path, port: int = PORT) -> Dissection:
    tshark: list[str | Path] = [need("tshark"), "-n", "-r", pcap, "-d", f"tcp.port=={port},dicom"]
    finished = await run(
        *tshark, "-T", "json", "-e", "frame.number", "-e", "dicom.pdu.type", "-e", "_ws.malformed",
        "-e", "_ws.expert.message", "-e", "dicom.assoc.reject.reason", merge=False,
    )  # fmt: skip
    found = Dissection(text=finished.check().output)
    for packet in json.loads(finished.output or "[]"):
        layers = packet["_source"]["layers"]
        found.pdus += [int(kind, 0) for kind in layers.get("dicom.pdu.type", [])]
        if "_ws.malformed" in layers:
            found.malformed.append(f"frame {layers['frame.number']}: {layers.get('_ws.expert.message')}")
    return found


async def judge(conversation: Conversation, folder: Path) -> Dissection:
    """Write, dissect, return: the usual three steps."""
    pcap = folder / "conversation.pcap"
    write_pcap(pcap, conversation)
    return await dissect(pcap)


class Tap:
    """A relay that records: listens on .port, passes all on to the target port, keeps (way, bytes) per connection."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self.conversations: list[list[tuple[str, bytes]]] = []
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Tap:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        kept: list[tuple[str, bytes]] = []
        self.conversations.append(kept)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)

        async def pass_on(way: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    kept.append((way, data))
                    sink.write(data)
                    await sink.drain()
                sink.write_eof()
            except ConnectionError:
                sink.transport.abort()

        try:
            await asyncio.gather(pass_on(">", reader, there_writer), pass_on("<", there_reader, writer))
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
            there_writer.close()
            self._running.discard(task)
