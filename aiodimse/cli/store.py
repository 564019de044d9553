"""Send files and folders to a peer: C-STORE.

An object is sent as it is stored if the peer accepts that. Otherwise it is re-encoded, decompressed or losslessly
recompressed.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiodimse
from aiodimse import Category, sop_class
from aiodimse.aio.files import read_off_loop
from aiodimse.association import MAX_CONTEXTS
from aiodimse.cli import opening, values
from aiodimse.cli import options as shared
from aiodimse.cli.failures import FAILED, USAGE, CommandError, in_words
from aiodimse.cli.opening import association
from aiodimse.cli.output import Output
from aiodimse.services.contexts import contexts_for_instances, contexts_to_send

HELP = "send files and folders to a peer"

_OF_THE_FILE = (
    aiodimse.NoAcceptedContext,
    aiodimse.DatasetDecodeError,
    aiodimse.DatasetEncodeError,
    aiodimse.InstanceConflict,
    aiodimse.NotDICOM,
)
"""Errors that concern one file only. An OSError concerns one file too, if the association is still open."""

Kind = tuple[str, str]
"""SOP class and stored transfer syntax. They determine the presentation context."""


@dataclass
class Found:
    """The files that the arguments name."""

    files: list[tuple[Path, aiodimse.Instance]] = field(default_factory=list)
    unsuitable: list[tuple[Path, str]] = field(default_factory=list)
    """Files that cannot be sent, each with the reason."""
    named: bool = False
    """Whether an unsuitable file was itself an argument, or a folder could not be listed."""


@dataclass
class Sent:
    """The results of the files."""

    stored: list[tuple[Path, aiodimse.Instance, aiodimse.Status]] = field(default_factory=list)
    warnings: list[tuple[Path, str]] = field(default_factory=list)
    """Files for which the peer answered with a Warning."""
    failed: list[tuple[Path, str]] = field(default_factory=list)


def arguments(parser: ArgumentParser) -> None:
    """Add the options of store."""
    shared.peer(parser)
    shared.transcoding(parser)
    parser.add_argument("paths", metavar="PATH", nargs="+", type=shared.path, help="a DICOM file, or a folder of them")
    opening.arguments(parser)


async def run(options: Namespace, output: Output) -> int:
    """Send every file, on as many associations as their presentation contexts need."""
    if missing := await read_off_loop(_missing, options.paths):
        raise CommandError(f"no such file or folder: {', '.join(map(str, missing))}", USAGE)
    found = await _read(options.paths, output)
    if not found.files and len(found.unsuitable) == 1:
        raise CommandError("{}: {}".format(*found.unsuitable[0]))
    for path, reason in found.unsuitable:
        output.note(f"skipped {path}: {reason}")
    if not found.files:
        if not found.unsuitable:
            raise CommandError(f"no files in {', '.join(map(str, options.paths))}")
        raise CommandError("nothing to send: none of the files is a DICOM object")
    sent = Sent()

    def report() -> dict[str, Any]:
        return _report(output, found, sent)

    with output.progress("files", len(found.files)) as advance:
        batches = batched(found.files)

        def opened() -> None:
            output.so_far = report

        def progressed() -> None:
            advance(len(sent.stored) + len(sent.failed), None)

        for batch in batches:
            try:
                await _send_all(options, batch, sent, opened, progressed)
            except aiodimse.NoAcceptedContext as error:
                if len(batches) == 1:
                    raise
                sent.failed += ((path, in_words(error)) for path, _ in batch)
    output.so_far = None
    output.document(report())
    return FAILED if sent.failed or found.named else 0


def _missing(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if not path.exists()]


# --- what to send -----------------------------------------------------------------------------------------------------


async def _read(paths: Iterable[Path], output: Output) -> Found:
    found = Found()
    with output.progress("files read") as advance:
        for path in paths:
            is_folder = await read_off_loop(path.is_dir)
            files = await read_off_loop(_files_below, path, found) if is_folder else [path]
            for file in files:
                reason = await _add_file(file, found)
                if reason is not None:
                    found.unsuitable.append((file, reason))
                    found.named = found.named or not is_folder
                advance(len(found.files) + len(found.unsuitable), None)
    return found


async def _add_file(file: Path, found: Found) -> str | None:
    """Add one file to those that are sent, or return the reason why it cannot be sent."""
    try:
        instance = await aiodimse.Instance.open(file)
    except aiodimse.NotDICOM as error:
        return str(error).removeprefix(f"{file}: ")
    except OSError as error:
        return (error.strerror or str(error)).lower()
    if instance.sop_class_uid == sop_class.MediaStorageDirectoryStorage:
        return "the directory of a medium, not an object"
    found.files.append((file, instance))
    return None


def _files_below(folder: Path, found: Found) -> list[Path]:
    """List the files of a folder. Folders that cannot be listed become unsuitable, and make the command fail."""

    def unreadable(error: OSError) -> None:
        found.unsuitable.append((Path(error.filename), (error.strerror or str(error)).lower()))
        found.named = True

    return list(walk(folder, unreadable))


def walk(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Yield all files below a folder in the order of their names, without hidden ones.

    Args:
        folder: Where to begin.
        onerror: Called with the error of each folder that cannot be listed.
    """
    for directory, folders, files in os.walk(folder, onerror=onerror):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(directory, name) for name in sorted(files) if not name.startswith("."))


def kind(instance: aiodimse.Instance) -> Kind:
    """Return what determines the presentation context of a file."""
    return instance.sop_class_uid, instance.transfer_syntax


def batched(files: Iterable[tuple[Path, aiodimse.Instance]]) -> list[list[tuple[Path, aiodimse.Instance]]]:
    """Split the files, in their order, into batches that need at most 128 presentation contexts each."""
    batches: list[list[tuple[Path, aiodimse.Instance]]] = []
    kinds: list[dict[Kind, None]] = []
    where: dict[Kind, int] = {}
    for path, instance in files:
        each = kind(instance)
        if each not in where:
            if not kinds or len(contexts_for_instances([*kinds[-1], each])) > MAX_CONTEXTS:
                kinds.append({})
                batches.append([])
            kinds[-1][each] = None
            where[each] = len(kinds) - 1
        batches[where[each]].append((path, instance))
    return batches


# --- sending ----------------------------------------------------------------------------------------------------------


async def _send_all(
    options: Namespace,
    batch: Iterable[tuple[Path, aiodimse.Instance]],
    sent: Sent,
    opened: Callable[[], None],
    progressed: Callable[[], None],
) -> None:
    """Send the files of one batch.

    If the association is lost during a file, that file counts as failed. The remaining files are sent on a second
    association; if that is lost too, the command fails.

    Args:
        options: The options of the command.
        batch: The files.
        sent: Where the results are recorded.
        opened: Called when there is an association.
        progressed: Called after each file.
    """
    left = deque(batch)
    contexts = contexts_to_send(dict.fromkeys(kind(instance) for _, instance in left), transcode=options.transcode)
    is_second = False
    while left:
        path: Path | None = None
        try:
            async with association(options, contexts, transcode=options.transcode) as peer:
                opened()
                while left:
                    path, instance = left.popleft()
                    await _send(peer, path, instance, sent)
                    progressed()
        except (aiodimse.AssociationError, OSError) as error:
            if path is None or is_second or not left:
                raise
            is_second = True
            sent.failed.append((path, in_words(error).removeprefix(f"{path}: ")))
            progressed()


async def _send(peer: aiodimse.Association, path: Path, instance: aiodimse.Instance, sent: Sent) -> None:
    """Send one file. Only errors that end the association are raised; those of this file alone are recorded."""
    try:
        response = await peer.c_store(instance)
    except (*_OF_THE_FILE, OSError) as error:
        # An error while a file is being sent ends the association. AssociationTimeout is an OSError too.
        if not peer.is_open or isinstance(error, aiodimse.AssociationTimeout):
            raise
        sent.failed.append((path, in_words(error).removeprefix(f"{path}: ")))
        return
    category = response.status.category
    if category is Category.SUCCESS or category is Category.WARNING:
        sent.stored.append((path, instance, response.status))
        if category is Category.WARNING:
            sent.warnings.append((path, values.outcome(response)))
    else:
        sent.failed.append((path, values.outcome(response)))


def _report(output: Output, found: Found, sent: Sent) -> dict[str, Any]:
    """Print the results for people, and return them for the document."""
    stored = len(sent.stored)
    left = len(found.files) - stored - len(sent.failed)
    for path, words in sent.warnings:
        output.note(f"stored with a warning {path}: {words}")
    for path, words in sent.failed:
        output.note(f"failed {path}: {words}")
    counts = ((stored, "stored"), (len(sent.failed), "failed"), (left, "not sent"))
    others = [f"{count} {word}" for count, word in (*counts[1:], (len(found.unsuitable), "skipped")) if count]
    output.line(", ".join([f"{stored} stored", *others]))
    return {
        "stored": stored,
        "files": [
            {
                "path": str(path),
                "sop_class_uid": instance.sop_class_uid,
                "sop_instance_uid": instance.sop_instance_uid,
                "status": int(status),
            }
            for path, instance, status in sent.stored
        ],
        "not_sent": left,
        "warnings": [{"path": str(path), "reason": words} for path, words in sent.warnings],
        "failed": [{"path": str(path), "reason": words} for path, words in sent.failed],
        "skipped": [{"path": str(path), "reason": words} for path, words in found.unsuitable],
    }
