"""Have a peer send objects to another application entity, or to this command: C-MOVE."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import aiodimse
from aiodimse.cli import identifier, opening, receiving, retrieving
from aiodimse.cli import options as shared
from aiodimse.cli.failures import USAGE, CommandError
from aiodimse.cli.opening import association
from aiodimse.cli.output import Output

HELP = "have a peer send objects to another, or to this command"


def arguments(parser: ArgumentParser) -> None:
    """Add the options of move."""
    shared.peer(parser)
    shared.query(parser, "move")
    parser.add_argument(
        "--destination", type=shared.ae_title, metavar="AE",
        help="AE title that the peer has to know; with --receive, our own unless another one is given",
    )  # fmt: skip
    parser.add_argument(
        "--receive",
        type=shared.path,
        metavar="FOLDER",
        help="save what arrives in FOLDER: the destination is this command",
    )
    parser.add_argument(
        "--listen", type=shared.listening_on, metavar="[HOST:]PORT",
        help="with --receive: the address that the peer knows under the destination's AE title",
    )  # fmt: skip
    opening.arguments(parser, retrieving.WAITS)


async def run(options: Namespace, output: Output) -> int:
    """Send one C-MOVE request, and report how its sub-operations went."""
    if options.receive is None and options.destination is None:
        raise CommandError("give --destination AE, or --receive FOLDER to receive the objects here", USAGE)
    if (options.receive is None) != (options.listen is None):
        raise CommandError("--receive FOLDER and --listen [HOST:]PORT go together", USAGE)
    sop_class_uid, level = retrieving.sop_class_and_level("move", options)
    wanted = identifier.identifier(level, options.keys)
    destination = options.destination or options.ae_title
    if options.receive is not None:
        await receiving.make_ready(options.receive, "--receive")
        async with receiving.moved_to_us(
            options, wanted, sop_class_uid, options.listen, destination=destination, option="--listen"
        ) as received:
            return await receiving.save(options, output, options.receive, received, destination=destination)
    last: aiodimse.Progress | None = None
    async with association(options, [sop_class_uid]) as peer:
        output.so_far = lambda: retrieving.counters_so_far(output, last)
        try:
            with output.progress("objects") as advance:
                async with peer.c_move(wanted, sop_class_uid, destination=destination, allow_incomplete=True) as move:
                    async for progress in move:
                        last = progress
                        advance(retrieving.done(progress), retrieving.total(progress))
        except aiodimse.DIMSEFailure:
            pass  # the report below shows it
    assert move.response is not None
    return retrieving.report(options, output, move.response, last, destination=destination)
