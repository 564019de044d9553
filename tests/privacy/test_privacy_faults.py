"""Faults of the library itself: where they were is logged, and not with which values."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from privacy.conftest import ID, NAME, Log, patient

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.aio.log import AssociationLogger, Subject
from aiodimse.aio.tasks import Tasks
from aiodimse.services.provider import query

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind


async def stumble(*_: Any) -> None:
    try:
        raise KeyError(ID)
    except KeyError as error:
        raise ValueError(NAME) from error


async def test_a_fault_while_a_request_is_served(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.setattr(query, "provide", stumble)
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_find
    async def find(request: Any) -> Any:
        yield 0x0000, None

    async with testing.joined(server, contexts=[FIND]) as association:
        assert (await association.c_find(patient(), FIND)).status == 0xC311
    (line,) = log.lines("failed in the library itself")
    assert (line.levelno, line.name, line.message_id) == (logging.ERROR, "aiodimse.provider", 1)  # type: ignore[attr-defined]
    words = line.getMessage()
    assert words.endswith("builtins.KeyError")
    assert "builtins.ValueError\nraised from:\n" in words
    assert words.count("in stumble") == 2


async def test_a_task_that_nobody_awaits(log: Log) -> None:
    tasks = Tasks()
    tasks.spawn(stumble(), "aiodimse something")
    await tasks.wait()
    await asyncio.sleep(0)
    (line,) = log.lines("aiodimse something failed")
    assert "in stumble" in line.getMessage()


@pytest.mark.parametrize(
    ("role", "address", "titles", "parent", "said"),
    [
        ("acceptor", ("192.0.2.7", 51234), ("CT1", "ARCHIVE"), None, "[A12 CT1@192.0.2.7:51234] so"),
        ("requestor", ("2001:db8::7", 104), ("ROUTER", "PACS"), "A9", "[A12 PACS@[2001:db8::7]:104 for A9] so"),
        ("acceptor", ("192.0.2.7", 51234), None, None, "[A12 192.0.2.7:51234] so"),
        ("acceptor", None, ("a%s\n\x1b[1m", "é"), None, "[A12 a%s\\n\\x1b[1m] so"),
        ("requestor", None, None, None, "[A12] so"),
    ],
)
def test_what_a_line_begins_with(role: str, address: Any, titles: Any, parent: Any, said: str, log: Log) -> None:
    rq = titles and SimpleNamespace(calling_ae_title=titles[0], called_ae_title=titles[1])
    subject = SimpleNamespace(name="A12", rq=rq, role=role, peer_address=address, parent=parent)
    logger = AssociationLogger(logging.getLogger("aiodimse.some"), cast(Subject, subject))
    logger.info("so")
    logger.logger.setLevel(logging.WARNING)
    logger.info("not so")
    logger.logger.setLevel(logging.NOTSET)
    assert [line.getMessage() for line in log.records if line.name == "aiodimse.some"] == [said]
