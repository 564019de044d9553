"""Floods of TLS messages without data: KeyUpdate of TLS 1.3, and requests to renegotiate of TLS 1.2.

python -m scoreboard.budgets.tls_floods PORT KIND PEERS floods until standard input ends. A peer whose connection is
ended connects again, as a rude peer would.
"""

from __future__ import annotations

import _ssl  # its library has OpenSSL's functions
import asyncio
import contextlib
import ctypes
import select
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

import trustme

from scoreboard.budgets.honest import Beside, echoing
from scoreboard.process import provider
from scoreboard.row import Row

SECONDS = 4.0
KINDS = {
    "update": "KeyUpdates",
    "request": "KeyUpdates that request one",
    "renegotiate": "requests to renegotiate",
}
_BATCH = 500
_SSL_OFFSET = 3 * ctypes.sizeof(ctypes.c_void_p)
"""Where an _ssl._SSLSocket of CPython has its SSL pointer: behind its header and its socket."""


class _Peer:
    """A TLS client that sends messages which Python's ssl module cannot send."""

    def __init__(self, port: int, kind: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if kind == "renegotiate":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        self._kind, self._incoming, self._outgoing = kind, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: Any = context.wrap_bio(self._incoming, self._outgoing)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        while not self._step():
            self._socket.sendall(self._outgoing.read())
            if not (data := self._socket.recv(1 << 16)):
                raise ConnectionResetError
            self._incoming.write(data)
        self._socket.sendall(self._outgoing.read())
        self._socket.settimeout(0.2)

    def _step(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def flood(self) -> None:
        """Send many messages, and drop what the provider says."""
        library = ctypes.CDLL(_ssl.__file__)
        pointer = ctypes.cast(id(self._tls._sslobj) + _SSL_OFFSET, ctypes.POINTER(ctypes.c_void_p))[0]
        if self._kind == "renegotiate":
            library.SSL_renegotiate(ctypes.c_void_p(pointer))
            self._step()
        else:
            for _ in range(_BATCH):
                library.SSL_key_update(ctypes.c_void_p(pointer), int(self._kind == "request"))
                self._step()
        self._socket.sendall(self._outgoing.read())
        if select.select([self._socket], [], [], 0)[0]:
            if not (data := self._socket.recv(1 << 16)):
                raise ConnectionResetError
            if self._kind == "renegotiate":  # OpenSSL gives up when it is refused
                self._incoming.write(data)
                self._step()

    def close(self) -> None:
        self._socket.close()


def main() -> None:
    """Flood until standard input ends, and print how many connections were ended."""
    port, kind, number = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    peers: list[_Peer | None] = [None] * number
    ended, is_said = 0, False
    while not select.select([sys.stdin], [], [], 0)[0]:
        for place, peer in enumerate(peers):
            try:
                if peer is None:
                    peers[place] = _Peer(port, kind)
                else:
                    peer.flood()
            except (OSError, ssl.SSLError):
                ended += 1
                if peer is not None:
                    peer.close()
                peers[place] = None
        if not is_said:
            print("flooding", flush=True)
            is_said = True
    print(ended, flush=True)


async def flood(kind: str, peers: int, seconds: float) -> Row:
    """Measure an honest echo over TLS beside one kind."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with tempfile.TemporaryDirectory() as name:
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(Path(name) / "server.pem"))
        async with provider("--tls", name) as scored:
            await scored.held()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "scoreboard.budgets.tls_floods", str(scored.port), kind, str(peers)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            ended = 0
            try:
                beside = await echoing(scored.port, seconds, context)
                beside.stall = (await scored.held())["stall"]
                with contextlib.suppress(TimeoutError):
                    stdout, _ = await asyncio.wait_for(process.communicate(b"\n"), 30)
                    ended = int(stdout.split()[-1])
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    return _row(kind, peers, beside, ended)


def _row(kind: str, peers: int, beside: Beside, ended: int) -> Row:
    longest, turn = (0.100, 0.050) if peers == 1 else (0.250, 0.100)
    return Row(
        f"{peers} flooding TLS with {KINDS[kind]}",
        f"echo max {longest * 1e3:.0f} ms, turn {turn * 1e3:.0f} ms, ended",
        f"{beside}, {ended} ended",
        beside.longest < longest and beside.stall < turn and ended > 0,
    )


async def rows(long: bool) -> list[Row]:
    """Measure each kind by one peer and by twenty."""
    seconds = 3 * SECONDS if long else SECONDS
    return [await flood(kind, peers, seconds) for kind in KINDS for peers in (1, 20)]


if __name__ == "__main__":
    main()
