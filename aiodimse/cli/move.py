"""Have a peer send objects to a third one: C-MOVE."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import aiodimse
from aiodimse.cli import identifier, retrieving
from aiodimse.cli import options as shared
from aiodimse.cli.opening import association
from aiodimse.cli.output import Output

HELP = "have a peer send objects to another"


def arguments(parser: ArgumentParser) -> None:
    """The options of move."""
    shared.peer(parser)
    shared.query(parser)
    parser.add_argument(
        "--destination", type=shared.ae_title, required=True, metavar="AE", help="AE title that the peer has to know"
    )


async def run(options: Namespace, output: Output) -> int:
    """One C-MOVE."""
    sop_class_uid, level = retrieving.asked(identifier.MOVE, options)
    last: aiodimse.Progress | None = None
    async with association(options, [sop_class_uid]) as peer:
        output.so_far = lambda: retrieving.so_far(output, last)
        wanted = identifier.identifier(level, options.keys)
        try:
            with output.progress("objects") as advance:
                async with peer.c_move(
                    wanted, sop_class_uid, destination=options.destination, allow_incomplete=True
                ) as move:
                    async for progress in move:
                        last = progress
                        advance(retrieving.done(progress), retrieving.total(progress))
        except aiodimse.DIMSEFailure:
            pass  # told below
    assert move.response is not None
    return retrieving.tell(options, output, move.response, last, destination=options.destination)
