"""The memory of an idle association over TLS."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from pathlib import Path

import trustme
from scripted import wire
from scripted.peer import ScriptedPeer

import scoreboard.budgets  # noqa: F401  # makes scripted importable
from scoreboard.process import provider
from scoreboard.row import Row


async def idle_tls(number: int) -> Row:
    """Measure the memory that each of a number of idle TLS associations adds."""
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as name:
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(Path(name) / "server.pem"))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with provider("--tls", name) as scored:
            peers: list[ScriptedPeer] = []

            async def one() -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", scored.port, ssl=context)
                peer = ScriptedPeer(reader, writer)
                await peer.associate([(1, wire.VERIFICATION, [wire.IMPLICIT_LE])], called="SCORED")
                peers.append(peer)

            for _ in range(20):
                await one()
            before = await scored.held()
            for _ in range(number // 20):
                await asyncio.gather(*(one() for _ in range(20)))
            after = await scored.held()
            for peer in peers:
                peer.writer.transport.abort()
    each = (after["memory"] - before["memory"]) / number / 1024
    return Row(f"an idle TLS association, of {number:,}", "under 120 KiB", f"{each:.0f} KiB", each < 120)


async def rows(long: bool) -> list[Row]:
    """Return the one row."""
    return [await idle_tls(1_000 if long else 400)]
