"""Verify that a peer answers: C-ECHO."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from time import perf_counter

from aiodimse import Category, sop_class
from aiodimse.cli import opening, values
from aiodimse.cli import options as shared
from aiodimse.cli.failures import FAILED
from aiodimse.cli.opening import association, implementation, peer_words
from aiodimse.cli.output import Output

HELP = "verify that a peer answers (C-ECHO)"


def arguments(parser: ArgumentParser) -> None:
    """The options of echo."""
    shared.peer(parser)
    opening.arguments(parser)


async def run(options: Namespace, output: Output) -> int:
    """Send one C-ECHO, and print the status and how long the answer took."""
    async with association(options, [sop_class.Verification]) as peer:
        sent = perf_counter()
        response = await peer.c_echo()
        milliseconds = (perf_counter() - sent) * 1000
    output.document({"status": values.status(response.status), "milliseconds": round(milliseconds, 3)})
    said = values.outcome(response)
    if response.status.category is not Category.SUCCESS:
        output.note(f"{options.prog}: {peer_words(options)} answers {said}")
        return FAILED
    output.line(f"{peer_words(options)} ({implementation(peer.negotiated)}) answers {said} in {milliseconds:.1f} ms")
    return 0
