"""What get and move --receive share: instances arrive, and are saved in a folder."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from pydicom import Dataset

import aiodimse
from aiodimse.aio.files import read_off_loop
from aiodimse.aio.words import address_words
from aiodimse.cli import retrieving, values
from aiodimse.cli.failures import FAILED, USAGE, CommandError, system_words
from aiodimse.cli.listening import why_not
from aiodimse.cli.opening import association
from aiodimse.cli.output import Output


async def make_ready(folder: Path, option: str) -> None:
    """Make the folder, and remove what a killed command left in it. Errors name `option`."""
    try:
        await read_off_loop(folder.mkdir, parents=True, exist_ok=True)
    except FileExistsError:
        raise CommandError(f"{option}: not a folder: {folder}", USAGE) from None
    except OSError as error:
        raise CommandError(f"{option}: {system_words(error)}") from None
    with suppress(OSError):  # we may be allowed to write to a folder, and not to list it
        await aiodimse.remove_unfinished(folder)


@asynccontextmanager
async def moved_to_us(
    options: Namespace, wanted: Dataset, sop_class_uid: str, where: tuple[str, int], *, destination: str, option: str
) -> AsyncIterator[aiodimse.ReceivedMove]:
    """Prepare a C-MOVE whose destination is a server of this command. The server listens while the body runs.

    Args:
        options: The options of the command.
        wanted: The Identifier: what to retrieve.
        sop_class_uid: The SOP class of the C-MOVE.
        where: Host and port to listen on.
        destination: The AE title under which the peer knows that address.
        option: The option that gives the address. Errors name it.
    """
    receiver = aiodimse.Server(ae_title=destination, trace=options.tracing)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(receiver.listen(*where))
        except OSError as error:
            named = address_words(where) if where[0] else f"port {where[1]}"
            raise CommandError(f"{option}: cannot listen on {named}: {why_not(error)}") from None
        peer = await stack.enter_async_context(association(options, [sop_class_uid]))
        yield peer.c_move(wanted, sop_class_uid, destination=destination, receiver=receiver, allow_incomplete=True)


async def save(
    options: Namespace,
    output: Output,
    folder: Path,
    retrieval: aiodimse.Get | aiodimse.ReceivedMove,
    **more: Any,
) -> int:
    """Save each instance that arrives, and report how it went.

    Args:
        options: The options of the command.
        output: Where to report.
        folder: Where to save.
        retrieval: The operation, not yet begun.
        more: Further members of the document that --json prints.

    Returns:
        The exit status.
    """
    files: list[str] = []
    saved: set[str] = set()
    refused: list[str] = []
    """SOP Instance UIDs of data sets that arrived under the UID of another instance, or that are no data sets."""
    lost: set[str] = set()
    """SOP Instance UIDs of those whose association was lost before their end, and that did not come again."""

    def so_far() -> dict[str, Any]:
        output.line(f"{len(files)} file{'' if len(files) == 1 else 's'} in {folder}")
        return {"files": files, **retrieving.counters_so_far(output, retrieval.progress)}

    output.so_far = so_far
    with suppress(aiodimse.DIMSEFailure), output.progress("objects") as advance:  # A Failure is reported below.
        async with retrieval:
            async for instance in retrieval:
                try:
                    path = str(await instance.save(folder))
                    if path not in saved:  # a peer may send an instance twice
                        saved.add(path)
                        files.append(path)
                    lost.discard(instance.sop_instance_uid)
                except (aiodimse.InstanceConflict, aiodimse.DatasetDecodeError) as error:  # the response: A900, C210
                    refused.append(instance.sop_instance_uid)
                    output.note(f"not saved {values.printable(instance.sop_instance_uid)}: {error}")
                except aiodimse.AssociationError as error:
                    if not isinstance(retrieval, aiodimse.ReceivedMove):
                        raise
                    # Another association than ours was lost. The peer may send the instance again over a new one.
                    lost.add(instance.sop_instance_uid)
                    output.note(f"not saved {values.printable(instance.sop_instance_uid)}: {error}")
                except OSError as error:
                    if error.filename is None:  # as where the disk is full
                        error.filename = str(folder)
                    raise
                progress = retrieval.progress
                advance(len(files), retrieving.total(progress) if progress is not None else None)
    assert retrieval.response is not None
    output.line(f"{len(files)} file{'' if len(files) == 1 else 's'} in {folder}")
    code = retrieving.report(
        options, output, retrieval.response, retrieval.progress, files=files, refused=refused + sorted(lost), **more
    )
    if (missing := retrieval.missing) and isinstance(retrieval, aiodimse.ReceivedMove):
        output.note(f"{missing} more went elsewhere: the peer may know another address for our AE title")
    elif missing:
        output.note(f"{missing} more did not arrive, although the peer counts them as completed")
    return FAILED if refused or lost or missing else code
