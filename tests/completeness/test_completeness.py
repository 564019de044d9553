"""When a study is taken for complete: by quiet time, and by the end of the associations that brought it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aiodimse
from aiodimse import sop_class, testing

CT = sop_class.CTImageStorage


class Stage:
    """A completeness on a clock that the test moves, and what it has given."""

    def __init__(self, quiet: float = 60.0, quiet_after_end: float = 5.0) -> None:
        self.clock = testing.ManualClock()
        self.environment = aiodimse.Environment(self.clock, testing.MemoryNetwork())
        self.completeness: aiodimse.Completeness[str] = aiodimse.Completeness(
            quiet=quiet, quiet_after_end=quiet_after_end, environment=self.environment
        )
        self.given: list[str] = []
        self.task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        async for key in self.completeness:
            self.given.append(key)

    async def after(self, seconds: float) -> list[str]:
        """What has been given when so much time is over."""
        await self.clock.elapse(seconds)
        return self.given

    async def end(self) -> list[str]:
        self.completeness.close()
        await self.task
        return self.given


class Open:
    """An association, as far as it matters here."""

    is_open = True


def association() -> Any:
    return Open()


async def test_quiet_time_while_the_association_is_open() -> None:
    stage, one = Stage(), association()
    for _ in range(3):
        stage.completeness.arrived("1", one)
        assert await stage.after(40) == []
    assert await stage.after(19.9) == []
    assert await stage.after(0.2) == ["1"]
    assert (stage.completeness.waiting, stage.clock.timers) == (0, 0)
    await stage.end()


async def test_the_end_of_the_association_makes_it_shorter() -> None:
    stage, one = Stage(), association()
    stage.completeness.arrived("1", one)
    await stage.after(10)
    stage.completeness.ended(one)
    assert await stage.after(4.9) == []
    assert await stage.after(0.2) == ["1"]
    await stage.end()


async def test_all_associations_that_brought_some_have_to_end() -> None:
    stage, one, two, other = Stage(), association(), association(), association()
    stage.completeness.arrived("1", one)
    stage.completeness.arrived("1", two)
    stage.completeness.arrived("2", other)
    stage.completeness.ended(one)
    stage.completeness.ended(association())
    assert await stage.after(50) == []
    stage.completeness.ended(two)
    assert await stage.after(5) == ["1"]
    assert await stage.after(5) == ["1", "2"]
    await stage.end()


async def test_one_association_for_each_image() -> None:
    """As some modalities send: the next association comes before the short time is over."""
    stage = Stage()
    for _ in range(4):
        one = association()
        stage.completeness.arrived("1", one)
        stage.completeness.ended(one)
        assert await stage.after(4) == []
    assert await stage.after(1) == ["1"]
    await stage.end()


async def test_without_an_association_the_short_time_counts() -> None:
    stage = Stage()
    stage.completeness.arrived("1")
    closed = association()
    closed.is_open = False
    stage.completeness.arrived("2", closed)
    assert await stage.after(5) == ["1", "2"]
    await stage.end()


async def test_what_comes_later_makes_it_incomplete_again() -> None:
    stage = Stage()
    stage.task.cancel()
    stage.completeness.arrived("1")
    await stage.clock.elapse(5)
    assert stage.completeness.waiting == 1
    stage.completeness.arrived("1")  # nobody has taken it yet: it is not given twice
    assert stage.completeness.waiting == 1
    await stage.clock.elapse(5)
    assert await anext(stage.completeness) == "1"
    assert stage.completeness.waiting == 0
    stage.completeness.arrived("1")
    await stage.clock.elapse(5)
    assert await anext(stage.completeness) == "1"


async def test_closing_gives_all_and_ends_the_iteration() -> None:
    stage = Stage()
    for key in "123":
        stage.completeness.arrived(key, association())
    assert await stage.end() == ["1", "2", "3"]
    assert stage.clock.timers == 0
    with pytest.raises(StopAsyncIteration):
        await anext(stage.completeness)


async def test_several_tasks_take_and_a_cancelled_one_loses_nothing() -> None:
    stage = Stage()
    waiting = [asyncio.create_task(anext(stage.completeness)) for _ in range(2)]
    stage.task.cancel()
    await testing.settle()
    waiting[0].cancel()
    stage.completeness.arrived("1")
    await stage.clock.elapse(5)
    assert await waiting[1] == "1"


@pytest.mark.parametrize("times", [{"quiet": -1.0}, {"quiet_after_end": -0.1}, {"quiet": float("nan")}])
def test_times_are_not_negative(times: dict[str, float]) -> None:
    aiodimse.Completeness(quiet=0.0, quiet_after_end=0.0)
    with pytest.raises(ValueError, match="not negative"):
        aiodimse.Completeness(**times)


async def test_with_a_server() -> None:
    """The example of its docstring."""
    stage = Stage()
    server = aiodimse.Server(environment=stage.environment)

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        stage.completeness.arrived((await request.dataset()).StudyInstanceUID, request.association)
        return 0x0000

    @server.on_association_end
    async def ended(association: aiodimse.ProviderAssociation, error: Exception | None) -> None:
        stage.completeness.ended(association)

    image = aiodimse.identifier(None, SOPClassUID=CT, SOPInstanceUID="1.2.3.4", StudyInstanceUID="1.2.3")
    async with testing.joined(server, contexts=[CT]) as user:
        assert (await user.c_store(image)).status == 0x0000
        assert await stage.after(59) == []
    assert await stage.after(5) == ["1.2.3"]
    await stage.end()
