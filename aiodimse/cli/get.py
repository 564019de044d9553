"""Fetch objects into a folder: C-GET, or C-MOVE to ourselves."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiodimse
from aiodimse import sop_class
from aiodimse.association import MAX_CONTEXTS
from aiodimse.cli import identifier, retrieving, values
from aiodimse.cli import options as shared
from aiodimse.cli.failures import FAILED, CommandError, system_words
from aiodimse.cli.opening import association
from aiodimse.cli.output import Output
from aiodimse.standard import transfer_syntax

HELP = "fetch objects into a folder"


def arguments(parser: ArgumentParser) -> None:
    """The options of get."""
    shared.peer(parser)
    shared.query(parser)
    parser.add_argument("--output", type=shared.path, default=Path(), metavar="DIR", help="where to save (this folder)")
    parser.add_argument(
        "--transfer-syntax", dest="syntaxes", type=syntax, action="append", default=[], metavar="KEYWORD",
        help="take objects in this transfer syntax too, as in JPEG2000Lossless; without it, uncompressed ones alone;"
        " repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--via-move", type=shared.listening_on, metavar="[HOST:]PORT",
        help="for a peer that has no C-GET: listen here, and have it send to our AE title by C-MOVE",
    )  # fmt: skip


def syntax(text: str) -> str:
    """A transfer syntax, by keyword or UID."""
    for row in transfer_syntax.ALL:
        if text in (row, row.keyword):
            return row
    close = identifier.near(text, (row.keyword for row in transfer_syntax.ALL))
    raise ArgumentTypeError(f"no transfer syntax {text!r}{close}")


async def run(options: Namespace, output: Output) -> int:
    """One C-GET, or one C-MOVE to ourselves."""
    models = identifier.GET if options.via_move is None else identifier.MOVE
    sop_class_uid, level = retrieving.asked(models, options)
    folder: Path = options.output
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--output: {system_words(error)}") from None
    with suppress(OSError):  # a folder may be written to and not be listed
        await aiodimse.remove_unfinished(folder)  # of a get that was killed
    wanted = identifier.identifier(level, options.keys)
    if options.via_move is None:
        async with association(options, [sop_class_uid], storage=_storage_of(options)) as peer:
            return await _save(options, output, peer.c_get(wanted, sop_class_uid, allow_incomplete=True))
    receiver = aiodimse.Server(ae_title=options.ae_title, trace=options.tracing)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(receiver.listen(*options.via_move))
        except OSError as error:
            raise CommandError(f"--via-move: {system_words(error)}") from None
        peer = await stack.enter_async_context(association(options, [sop_class_uid]))
        move = peer.c_move(wanted, sop_class_uid, destination=options.ae_title, receiver=receiver)
        return await _save(options, output, move)


async def _save(options: Namespace, output: Output, retrieval: aiodimse.Get | aiodimse.ReceivedMove) -> int:
    """Save what comes, and tell how it went."""
    folder: Path = options.output
    files: list[str] = []
    refused: list[str] = []
    """SOP Instance UIDs of what came under the name of another instance."""

    def so_far() -> dict[str, Any]:
        output.line(f"{len(files)} file{'' if len(files) == 1 else 's'} in {folder}")
        return {"files": files, **retrieving.so_far(output, retrieval.progress)}

    output.so_far = so_far
    with suppress(aiodimse.DIMSEFailure), output.progress("objects") as advance:  # a Failure is told below
        async with retrieval:
            async for instance in retrieval:
                try:
                    files.append(str(await instance.save(folder)))
                except aiodimse.InstanceConflict as error:  # the peer is told A900
                    refused.append(instance.sop_instance_uid)
                    output.note(f"not saved {values.printable(instance.sop_instance_uid)}: {error}")
                progress = retrieval.progress
                advance(len(files), retrieving.total(progress) if progress is not None else None)
    assert retrieval.response is not None
    output.line(f"{len(files)} file{'' if len(files) == 1 else 's'} in {folder}")
    code = retrieving.tell(options, output, retrieval.response, retrieval.progress, files=files, refused=refused)
    if retrieval.response.failed_sop_instance_uids and not options.syntaxes and options.via_move is None:
        output.note("objects that the peer holds compressed come with --transfer-syntax alone, as in JPEG2000Lossless")
    return FAILED if refused else code


def _storage_of(options: Namespace) -> Sequence[str | aiodimse.PresentationContext] | None:
    if options.model not in identifier.ONE_LEVEL:
        return storage(options.syntaxes)
    from aiodimse.archive.one_level import BY_NAME

    return BY_NAME[options.model].storage


def storage(syntaxes: list[str]) -> list[aiodimse.PresentationContext] | None:
    """The storage contexts for these transfer syntaxes beside the uncompressed ones; None: those of the library."""
    if not syntaxes:
        return None
    contexts: list[aiodimse.PresentationContext] = []
    for uid in sop_class.GET_STORAGE_RANKED:
        # A context is accepted with one transfer syntax, and so each of them wants its own.
        each = [None, *([one] for one in dict.fromkeys(syntaxes))]
        if len(contexts) + len(each) >= MAX_CONTEXTS:  # one is left for the C-GET
            break
        contexts += (aiodimse.PresentationContext(uid, s, scu=False, scp=True) for s in each)
    return contexts
