"""Query a peer: C-FIND. Unless a -k names an attribute without a value, the usual attributes are asked for."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset

import aiodimse
from aiodimse.cli import identifier, opening, values
from aiodimse.cli import options as shared
from aiodimse.cli.failures import FAILED, USAGE, CommandError
from aiodimse.cli.identifier import Key
from aiodimse.cli.models import MODELS, Model
from aiodimse.cli.opening import association, peer_words
from aiodimse.cli.output import Output

HELP = "query a peer"

_KEYS_NOT_SUPPORTED = 0xFF01
"""Matches are continuing, one or more optional keys were not supported (PS3.4 C.4.1.1.4)."""
_RECORD_KEY = (0x0008041B,)
_MORE = "; --limit ended the search"


def arguments(parser: ArgumentParser) -> None:
    """Add the options of find."""
    shared.peer(parser)
    shared.query(parser, "find")
    parser.add_argument(
        "--limit",
        type=shared.count,
        metavar="N",
        help="stop the search (C-CANCEL) after N matches",
    )
    parser.add_argument(
        "--json-lines", action="store_true",
        help="print each match when it arrives, one per line, in the DICOM JSON Model (PS3.18 F), for programs",
    )  # fmt: skip
    opening.arguments(parser)


@dataclass
class _Matches:
    """The matches of a query so far."""

    found: list[Dataset] = field(default_factory=list)
    """The matches, if they are printed together at the end."""
    count: int = 0
    last: Dataset | None = None
    ignored: bool = False
    """Whether the peer does not support some of the keys."""
    is_cut: bool = False
    """Whether there may be more matches than --limit allowed."""


async def run(options: Namespace, output: Output) -> int:
    """Send one C-FIND request, and print the matches as a table."""
    model = MODELS[options.model]
    try:
        level = model.level(options.level)
        wanted, shown = _identifier(model, level, options.keys)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    assert model.find is not None  # the parser accepts no other model
    matches = _Matches()

    def report() -> dict[str, Any]:
        table = [[values.cell(match, key.path) for key in shown] for match in matches.found]
        output.table(_titles(shown), table)
        return {"matches": list(map(values.document, matches.found))}

    output.so_far = report
    async with association(options, [model.find]) as peer:
        operation = peer.c_find(wanted, model.find)
        with suppress(aiodimse.DIMSEFailure):  # a Failure is reported below, after the matches
            await _collect(operation, matches, options.limit, output)
    output.so_far = None
    response = operation.response
    output.document(
        {
            "status": values.status(response.status) if response is not None else None,
            "keys_not_supported": matches.ignored,
            "limited": matches.is_cut,
            "undecodable": len(operation.undecodable),
            **report(),
        }
    )
    if matches.ignored:
        output.note(f"{peer_words(options)} does not support some of the keys: it has not matched or not returned them")
    if response is None or response.status.category in (aiodimse.Category.SUCCESS, aiodimse.Category.WARNING):
        output.line(f"{matches.count} match{'' if matches.count == 1 else 'es'}{_MORE if matches.is_cut else ''}")
    if undecodable := len(operation.undecodable):
        are = "match that does not decode is" if undecodable == 1 else "matches that do not decode are"
        output.note(f"{options.prog}: {undecodable} {are} left out")
    if response is None or response.status == 0x0000:
        return FAILED if undecodable else 0
    output.note(f"{options.prog}: {peer_words(options)} answers {values.outcome(response)}{_next_page(matches.last)}")
    return FAILED


def _next_page(last: Dataset | None) -> str:
    """Return how to go on after the last match, where it has a Record Key (PS3.4 C.6.4)."""
    key = values.cell(last, _RECORD_KEY) if last is not None else ""
    return f"; -k PriorRecordKey={key} continues" if re.fullmatch("[0-9a-f]+", key) else ""


def _identifier(model: Model, level: str | None, given: Sequence[Key]) -> tuple[Dataset, list[Key]]:
    """Return the Identifier to ask with, and the attributes to show.

    Raises:
        ValueError: An attribute is named in two ways.
    """
    keys: dict[str, Key] = {}
    for each in map(model.completed, given):
        if each.name in keys:
            raise ValueError(f"{each.name} is given twice")
        keys[each.name] = each
    if all(key.value is not None for key in keys.values()):
        for column in map(model.completed, map(identifier.key, model.asked_for(level))):
            keys.setdefault(column.name, column)
    asked = list(keys.values())
    always = [keyword for keyword in model.always if keyword not in keys]
    # A UID that was asked for is the same in every match. It would take half of a line and say nothing new.
    shown = [key for key in asked if not identifier.is_same_in_all(key)] or asked
    return identifier.identifier(level, asked, always), shown


def _titles(keys: Sequence[Key]) -> list[str]:
    """Return the names of the columns. A sequence is left out where the name is clear without it."""
    last = [key.name.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key.name for key, name in zip(keys, last, strict=True)]


async def _collect(operation: aiodimse.Find, matches: _Matches, limit: int | None, output: Output) -> None:
    """Collect the matches as they arrive, and cancel the query at the limit."""
    with output.progress("matches") as advance:
        async with operation:
            async for match in operation:
                matches.count += 1
                matches.last = match
                matches.ignored = matches.ignored or operation.last_status == _KEYS_NOT_SUPPORTED
                if output.has_rows:
                    output.row(values.dicom_json(match))
                else:
                    matches.found.append(match)
                advance(matches.count, None)
                if matches.count == limit:
                    matches.is_cut = True
                    break
