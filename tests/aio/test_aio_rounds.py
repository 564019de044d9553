"""Work that comes at the same time is done together, by one thread, and a round that hangs keeps only its own."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import pytest

import aiodimse
from aiodimse.aio import rounds
from aiodimse.aio.rounds import Rounds
from aiodimse.aio.thread_pool import ThreadsBusy
from aiodimse.testing.clock import settle

T = TypeVar("T")
SECONDS = 20.0
BRIEFLY = 0.2  # where nothing should happen


class Work:
    """A piece of work. It waits until it may end."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.begun, self.may_end = threading.Event(), threading.Event()


class Taken:
    """Takes rounds of a second, and notes what was in each. It says for how long it waited for the disk."""

    def __init__(self, waited: float = 0.0) -> None:
        self.rounds: list[str] = []
        self.waited, self.now = waited, 0.0
        self.error: Exception | None = None

    def __call__(self, works: Sequence[Work]) -> float:
        self.rounds.append("".join(work.name for work in works))
        for work in works:
            work.begun.set()
        for work in works:
            assert work.may_end.wait(SECONDS)
        self.now += 1.0
        if self.error is not None:
            raise self.error
        return self.waited


class Counted(aiodimse.Threads):
    """Threads that count the rounds that begin in them."""

    begun = 0

    def submit(self, function: Callable[[], T], *, may_be_refused: bool = False) -> Future[T]:
        self.begun += 1
        return super().submit(function, may_be_refused=may_be_refused)


class Refusing(Counted):
    """Threads that do something when they are asked for a round, and then refuse it."""

    meanwhile: Callable[[], object] | None = None

    def submit(self, function: Callable[[], T], *, may_be_refused: bool = False) -> Future[T]:
        if self.meanwhile is None:
            return super().submit(function, may_be_refused=may_be_refused)
        meanwhile, self.meanwhile = self.meanwhile, None
        meanwhile()
        raise ThreadsBusy


@pytest.fixture
async def threads() -> AsyncIterator[Counted]:
    made = Counted(8, "rounds")
    yield made
    await made.close()


def free(name: str) -> Work:
    work = Work(name)
    work.may_end.set()
    return work


async def under_way(made: Rounds[Work], *works: Work) -> list[asyncio.Task[None]]:
    """Begin work, each in a round of its own."""
    tasks = []
    for work in works:
        tasks.append(asyncio.create_task(made.run_to_end(work)))
        assert await asyncio.to_thread(work.begun.wait, SECONDS)
    return tasks


async def measured(made: Rounds[Work], taken: Taken, waited: float) -> None:
    """Do so many rounds that only these count."""
    taken.waited = waited
    for _ in range(20):
        await made.run_to_end(free("-"))
    taken.rounds.clear()


async def test_what_comes_while_a_round_is_under_way_is_the_next(threads: Counted) -> None:
    taken = Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    await assert_so_many_at_once(threads, made, taken, 1)


async def test_two_rounds_overlap_where_the_disk_is_slow(threads: Counted) -> None:
    taken = Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    await measured(made, taken, SECONDS)
    await assert_so_many_at_once(threads, made, taken, 2)


async def test_rounds_overlap_no_longer_when_the_disk_is_fast_again(threads: Counted) -> None:
    taken = Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    await measured(made, taken, SECONDS)
    await measured(made, taken, 0.0)
    await assert_so_many_at_once(threads, made, taken, 1)


@pytest.mark.parametrize(("part", "alone", "side_by_side"), [(0.22, 1, 1), (0.35, 2, 1), (0.58, 2, 2)])
async def test_how_much_waiting_for_the_disk_is_much(
    threads: Counted, monkeypatch: pytest.MonkeyPatch, part: float, alone: int, side_by_side: int
) -> None:
    """Two rounds side by side wait for each other, too: what is slow for one is not for two."""
    taken = Taken()
    monkeypatch.setattr(rounds, "monotonic", lambda: taken.now)
    for waited, number in ((0.0, alone), (SECONDS, side_by_side)):
        made = Rounds(threads, taken, patience=1e9)
        await measured(made, taken, waited)
        await measured(made, taken, part)
        await assert_so_many_at_once(threads, made, taken, number)
        taken.rounds.clear()


async def test_a_second_round_ends_when_the_disk_is_fast_again(threads: aiodimse.Threads) -> None:
    taken = Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    await measured(made, taken, SECONDS)
    hung, last = Work("a"), Work("b")
    tasks = await under_way(made, hung, last)
    taken.waited = -100 * SECONDS  # As if many fast rounds had been measured.
    tasks.append(asyncio.create_task(made.run_to_end(free("c"))))
    await settle()
    last.may_end.set()
    await asyncio.wait_for(tasks[1], SECONDS)
    await settle()
    assert taken.rounds == ["a", "b"], "what waits is left to the other thread"
    hung.may_end.set()
    await asyncio.wait_for(asyncio.gather(*tasks), SECONDS)
    assert taken.rounds == ["a", "b", "c"]


async def assert_so_many_at_once(threads: Counted, made: Rounds[Work], taken: Taken, number: int) -> None:
    """Assert that so many rounds are under way at the same time, and that all else waits for the next."""
    works = [Work(name) for name in "ab"[:number]]
    tasks = await under_way(made, *works)
    begun = threads.begun
    tasks += [asyncio.create_task(made.run_to_end(free(name))) for name in "cde"]
    await settle()
    names = [work.name for work in works]
    assert threads.begun == begun
    assert taken.rounds == names
    works[-1].may_end.set()
    await asyncio.wait_for(asyncio.gather(*tasks[number - 1 :]), SECONDS)
    assert taken.rounds == [*names, "cde"]
    works[0].may_end.set()
    await asyncio.wait_for(tasks[0], SECONDS)


async def test_a_round_that_takes_long_is_not_waited_for(threads: aiodimse.Threads) -> None:
    taken = Taken()
    made = Rounds(threads, taken, patience=0.01)
    hung = Work("a")
    (task,) = await under_way(made, hung)
    await asyncio.wait_for(asyncio.gather(*(made.run_to_end(free(name)) for name in "bc")), SECONDS)
    assert not task.done()
    assert "".join(taken.rounds) == "abc"
    hung.may_end.set()
    await asyncio.wait_for(task, SECONDS)


async def test_rounds_at_the_same_time_have_a_bound(threads: aiodimse.Threads) -> None:
    taken = Taken()
    made = Rounds(threads, taken, patience=0.0)
    hung = [Work(name) for name in "abcd"]
    tasks = await under_way(made, *hung)
    last = asyncio.create_task(made.run_to_end(free("e")))
    await settle()
    assert taken.rounds == ["a", "b", "c", "d"]
    hung[2].may_end.set()
    await asyncio.wait_for(last, SECONDS)
    assert taken.rounds == ["a", "b", "c", "d", "e"]
    for work in hung:
        work.may_end.set()
    await asyncio.wait_for(asyncio.gather(*tasks), SECONDS)


async def test_a_round_has_a_bound(threads: aiodimse.Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_MOST", 3)
    taken = Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    first, second = Work("a"), Work("b")
    tasks = await under_way(made, first)
    tasks += [asyncio.create_task(made.run_to_end(work)) for work in (second, free("c"), free("d"))]
    await settle()
    assert taken.rounds == ["a"]
    tasks.append(asyncio.create_task(made.run_to_end(free("e"))))  # One more than a round: another begins beside it.
    assert await asyncio.to_thread(second.begun.wait, SECONDS)
    assert taken.rounds == ["a", "bcd"]
    first.may_end.set()
    second.may_end.set()
    await asyncio.wait_for(asyncio.gather(*tasks), SECONDS)
    assert taken.rounds == ["a", "bcd", "e"]


async def test_what_does_not_fit_into_an_urgent_round_waits_no_longer_either(
    threads: aiodimse.Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one begins a round, in which there is no more room for it, while another one hangs."""
    monkeypatch.setattr(rounds, "_MOST", 2)
    made = Rounds(threads, Taken(), patience=0.05)
    hung = Work("a")
    tasks = await under_way(made, hung)
    tasks += [asyncio.create_task(made.run_to_end(free(name))) for name in "bcd"]
    await asyncio.wait_for(asyncio.gather(*tasks[1:]), SECONDS)
    assert not tasks[0].done()
    hung.may_end.set()
    await asyncio.wait_for(tasks[0], SECONDS)


async def test_an_error_of_a_round_comes_to_all_who_wait_for_it(threads: aiodimse.Threads) -> None:
    taken = Taken()
    made = Rounds(threads, taken)
    taken.error = ConnectionError("gone")
    with pytest.raises(ConnectionError):
        await made.run_to_end(free("a"))
    taken.error = None
    await made.run_to_end(free("b"))


async def test_cancelled_work_that_has_not_begun_is_never_done(threads: aiodimse.Threads) -> None:
    taken = Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    first = Work("a")
    (task,) = await under_way(made, first)
    waiting = asyncio.create_task(made.run_to_end(free("b")))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.may_end.set()
    await asyncio.wait_for(task, SECONDS)
    await made.run_to_end(free("c"))
    assert taken.rounds == ["a", "c"]


@pytest.mark.parametrize("times", [1, 3])
async def test_cancelled_work_that_has_begun_is_waited_for(threads: aiodimse.Threads, times: int) -> None:
    made = Rounds(threads, Taken())
    work = Work()
    (task,) = await under_way(made, work)
    for _ in range(times):
        task.cancel()
        await settle()
    assert not task.done()
    work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SECONDS)


async def test_so_much_may_wait(threads: aiodimse.Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MOST_WAITING", 2)
    taken = Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    first = Work("a")
    tasks = await under_way(made, first)
    tasks += [asyncio.create_task(made.run_to_end(free(name))) for name in "bc"]
    await settle()
    with pytest.raises(OSError, match="too much work"):
        await made.run_to_end(free("d"))
    first.may_end.set()
    await asyncio.wait_for(asyncio.gather(*tasks), SECONDS)
    assert taken.rounds == ["a", "bc"]


async def test_what_is_refused_is_not_done() -> None:
    """A round ends while another one is refused, and would take the work with it, which its task takes back."""
    threads, taken = Refusing(8, "rounds"), Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    await measured(made, taken, SECONDS)  # so that another round begins beside the first
    first, refused = Work("a"), free("b")
    tasks = await under_way(made, first)

    def meanwhile() -> None:
        first.may_end.set()
        refused.begun.wait(BRIEFLY)

    threads.meanwhile = meanwhile
    with pytest.raises(OSError, match="too much work"):
        await made.run_to_end(refused)
    await asyncio.wait_for(asyncio.gather(*tasks), SECONDS)
    assert taken.rounds == ["a"]
    await threads.close()


async def test_work_of_another_loop_does_not_wait_for_a_round_that_is_refused() -> None:
    threads, taken = Refusing(8, "rounds"), Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    others = []

    def meanwhile() -> None:
        others.append(threading.Thread(target=lambda: asyncio.run(made.run_to_end(free("b")))))
        others[0].start()
        others[0].join(BRIEFLY)

    threads.meanwhile = meanwhile
    with pytest.raises(OSError, match="too much work"):
        await made.run_to_end(free("a"))
    await asyncio.to_thread(others[0].join, SECONDS / 2)
    assert taken.rounds == ["b"]
    await threads.close()


async def test_threads_that_are_closed(threads: aiodimse.Threads) -> None:
    made = Rounds(threads, Taken(), patience=SECONDS)
    first = Work()
    tasks = await under_way(made, first)
    tasks.append(asyncio.create_task(made.run_to_end(free("b"))))
    await settle()
    closing = asyncio.create_task(threads.close())
    await settle()
    with pytest.raises(OSError, match="closed"):
        await made.run_to_end(free("c"))
    assert not closing.done(), "it waits for what has begun, and for what was promised"
    first.may_end.set()
    await asyncio.wait_for(asyncio.gather(closing, *tasks), SECONDS)


async def test_what_hangs_is_left_behind(threads: aiodimse.Threads, caplog: pytest.LogCaptureFixture) -> None:
    made = Rounds(threads, Taken(), patience=SECONDS)
    hung = Work()
    tasks = await under_way(made, hung)
    tasks.append(asyncio.create_task(made.run_to_end(free("b"))))
    await settle()
    await threads.close(0.01)
    assert "left behind" in caplog.text
    for task in tasks:
        with pytest.raises(OSError, match="closed"):
            await asyncio.wait_for(task, SECONDS)
    hung.may_end.set()


async def test_two_event_loops(threads: aiodimse.Threads) -> None:
    taken = Taken()
    made = Rounds(threads, taken, patience=SECONDS)
    first = Work("a")
    tasks = await under_way(made, first)
    other = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(made.run_to_end(free("b")))))
    first.may_end.set()
    await asyncio.wait_for(asyncio.gather(*tasks, other), SECONDS)
    assert taken.rounds == ["a", "b"]


async def test_nothing_is_kept(threads: aiodimse.Threads) -> None:
    made: Rounds[Work] = Rounds(threads, lambda _: 0.0)
    work = Work()
    gone = threading.Event()
    weakref.finalize(work, gone.set)
    await made.run_to_end(work)
    del work
    assert await asyncio.to_thread(gone.wait, SECONDS)
