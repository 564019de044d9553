"""Query a peer: C-FIND. Without a -k that only names an attribute, the usual ones of the level are asked for."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from pydicom import Dataset

import aiodimse
from aiodimse.cli import identifier, values
from aiodimse.cli import options as shared
from aiodimse.cli.failures import FAILED, USAGE, CommandError
from aiodimse.cli.opening import association, where
from aiodimse.cli.output import Output

HELP = "query a peer"

_KEYS_NOT_SUPPORTED = 0xFF01
"""Matches are continuing, one or more optional keys were not supported (PS3.4 C.4.1.1.4)."""


def arguments(parser: ArgumentParser) -> None:
    """The options of find."""
    shared.peer(parser)
    shared.query(parser)


async def run(options: Namespace, output: Output) -> int:
    """One C-FIND; the matches as a table."""
    try:
        level = identifier.level_of(options.model, options.level)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    sop_class_uid = identifier.FIND[options.model]
    keys: list[identifier.Key] = options.keys
    columns = () if any(key.value is None for key in keys) else identifier.COLUMNS[level]
    given = {key.name: key for key in keys}
    asked = given | {name: identifier.key(name) for name in columns if name not in given}
    wanted = identifier.identifier(level, asked.values())
    matches: list[Dataset] = []
    ignored = False
    # A UID that every match has, since it was asked for, takes half of a line and says nothing.
    shown = [key for key in asked.values() if not identifier.is_single_uid(key)] or list(asked.values())

    def tell() -> dict[str, Any]:
        table = [[values.cell(match, key.path) for key in shown] for match in matches]
        output.table([key.name for key in shown], table, blocks=True)
        return {"matches": list(map(values.document, matches))}

    output.so_far = tell
    async with association(options, [sop_class_uid]) as peer:
        try:
            with output.progress("matches") as advance:
                async with peer.c_find(wanted, sop_class_uid) as found:
                    async for match in found:
                        matches.append(match)
                        ignored = ignored or found.last_status == _KEYS_NOT_SUPPORTED
                        advance(len(matches), None)
        except aiodimse.DIMSEFailure:
            pass  # told below, after what came before it
    response = found.response
    assert response is not None
    output.so_far = None
    output.document({"status": values.status(response.status), "keys_not_supported": ignored, **tell()})
    if ignored:
        output.note(f"{where(options)} does not support some of the keys: it has not matched or not returned them")
    if response.status != 0x0000:
        output.note(f"{options.prog}: {where(options)} answers {values.outcome(response)}")
        return FAILED
    output.line(f"{len(matches)} match{'' if len(matches) == 1 else 'es'}")
    return 0
