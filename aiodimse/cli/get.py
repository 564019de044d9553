"""Fetch objects into a folder: C-GET, or C-MOVE to this command."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import aiodimse
from aiodimse import sop_class
from aiodimse.association import MAX_CONTEXTS
from aiodimse.cli import identifier, opening, receiving, retrieving
from aiodimse.cli import options as shared
from aiodimse.cli.failures import CommandError, in_words
from aiodimse.cli.models import MODELS
from aiodimse.cli.opening import association
from aiodimse.cli.output import Output
from aiodimse.standard import transfer_syntax

HELP = "fetch objects into a folder"


def arguments(parser: ArgumentParser) -> None:
    """Add the options of get."""
    shared.peer(parser)
    shared.query(parser, "get")
    parser.add_argument(
        "--output", type=shared.path, default=Path(), metavar="FOLDER", help="where to save (the current folder)"
    )
    parser.add_argument(
        "--transfer-syntax", dest="syntaxes", type=syntax, action="append", default=[], metavar="KEYWORD",
        help="take objects in this transfer syntax too, for example JPEG2000Lossless; without it, only uncompressed;"
        " repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--via-move", type=shared.listening_on, metavar="[HOST:]PORT",
        help="for a peer that has no C-GET: listen here, and have it send to our AE title by C-MOVE",
    )  # fmt: skip
    opening.arguments(parser, retrieving.WAITS)


def syntax(text: str) -> str:
    """Read a transfer syntax, by keyword or UID."""
    for row in transfer_syntax.ALL:
        if text in (row, row.keyword):
            return row
    close = identifier.near(text, (row.keyword for row in transfer_syntax.ALL))
    raise ArgumentTypeError(f"no transfer syntax {text!r}{close}")


async def run(options: Namespace, output: Output) -> int:
    """Send one C-GET request, or one C-MOVE request with this command as its destination."""
    service: Literal["get", "move"] = "get" if options.via_move is None else "move"
    sop_class_uid, level = retrieving.sop_class_and_level(service, options)
    folder: Path = options.output
    await receiving.make_ready(folder, "--output")
    wanted = identifier.identifier(level, options.keys)
    if options.via_move is not None:
        async with receiving.moved_to_us(
            options, wanted, sop_class_uid, options.via_move, destination=options.ae_title, option="--via-move"
        ) as move:
            return await receiving.save(options, output, folder, move)
    try:
        async with association(options, [sop_class_uid], storage=_storage_of(options)) as peer:
            retrieval = peer.c_get(wanted, sop_class_uid, allow_incomplete=True)
            code = await receiving.save(options, output, folder, retrieval)
    except aiodimse.NoAcceptedContext as error:
        output.so_far = None  # no file can have come
        hint = "; --via-move PORT fetches by C-MOVE" if MODELS[options.model].move is not None else ""
        raise CommandError(f"{in_words(error)}{hint}") from None
    if retrieval.response is not None and retrieval.response.failed_sop_instance_uids and not options.syntaxes:
        output.note("objects that the peer stores compressed need --transfer-syntax, for example JPEG2000Lossless")
    return code


def _storage_of(options: Namespace) -> Sequence[str | aiodimse.PresentationContext] | None:
    if MODELS[options.model].levels:
        return storage(options.syntaxes)
    from aiodimse.archive.one_level import BY_NAME

    return BY_NAME[options.model].storage


def storage(syntaxes: list[str]) -> list[aiodimse.PresentationContext] | None:
    """Make storage contexts for the uncompressed transfer syntaxes and for these.

    Returns:
        The contexts; None if there are no further syntaxes, so that the contexts of the library are used.
    """
    if not syntaxes:
        return None
    contexts: list[aiodimse.PresentationContext] = []
    for uid in sop_class.GET_STORAGE_RANKED:
        # The acceptor picks one transfer syntax for each context, so each of them needs a context of its own.
        each = [None, *([one] for one in dict.fromkeys(syntaxes))]
        if len(contexts) + len(each) >= MAX_CONTEXTS:  # One context is left for the C-GET itself.
            break
        contexts += (aiodimse.PresentationContext(uid, s, scu=False, scp=True) for s in each)
    return contexts
