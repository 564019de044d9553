"""Identifiers of responses have the bound of `Limits.identifier`, as those that we take."""

from __future__ import annotations

import pytest
from contract.stage import Script, failed_list, image, make_server, match, open_stage, patient_ids, register
from pydicom import Dataset

import aiodimse

MOST = 1000
LIMITS = aiodimse.Limits(identifier=MOST)


def large(number: int, size: int) -> Dataset:
    """A match whose Identifier has so many bytes in Explicit VR Little Endian."""
    made = match(number)  # ten bytes
    made.add_new(0x00204000, "LT", "x" * (size - 10 - 8))
    return made


@pytest.mark.parametrize("final", [[], [0x0000], [0xA900], [0xC001]])
async def test_a_match_that_is_too_large_costs_only_itself(final: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """The others are sent; a Success becomes A700, so that the peer knows that something is missing."""
    server = make_server(limits=LIMITS)
    register(server, "C-FIND", Script(match(1), large(2, MOST + 2), large(3, MOST), large(4, MOST + 500), *final))
    async with open_stage(server) as stage:
        responses = await stage.peer.responses(await stage.ask("C-FIND"))
        await stage.nothing_more()
    assert patient_ids(responses[:-1]) == ["1", "3"]
    expected = final[0] if final and final[0] else 0xA700
    assert responses[-1].status == expected
    if expected == 0xA700:
        assert responses[-1].comment == "2 matches are too large to be sent"
    assert len([record for record in caplog.records if "is not sent: it has" in record.getMessage()]) == 2


async def test_matches_that_are_not_too_large() -> None:
    server = make_server(limits=LIMITS)
    register(server, "C-FIND", Script(large(1, MOST), large(2, MOST)))
    async with open_stage(server) as stage:
        responses = await stage.peer.responses(await stage.ask("C-FIND"))
    assert [response.status for response in responses] == [0xFF00, 0xFF00, 0x0000]


@pytest.mark.parametrize(("most", "number"), [(MOST, 50), (MOST, 300), (12 + 10 * 7, 7), (12 + 10 * 7 - 1, 7)])
async def test_a_list_of_failed_instances_that_is_too_long(
    most: int, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The counters have all of them, the list as many as fit."""
    fit = (most - 12) // 10
    server = make_server(limits=aiodimse.Limits(identifier=most))
    register(server, "C-GET", Script(number, *(image(each, "1.2.3.4") for each in range(100, 100 + number))))
    async with open_stage(server) as stage:
        final = (await stage.peer.responses(await stage.ask("C-GET")))[-1]
    assert (final.status, final.counters) == (0xA702, (None, 0, number, 0))
    listed = failed_list(final)
    assert listed == [f"1.2.3.{each}" for each in range(100, 100 + min(number, fit))]
    assert final.data is not None
    assert len(final.data) <= most
    assert any("failed instances are listed" in record.getMessage() for record in caplog.records) == (number > fit)
