"""The pool of threads: each piece of work has a thread as soon as there may be one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from aiodimse.aio import thread_pool
from aiodimse.aio.thread_pool import ThreadPool, ThreadsBusy, ThreadsClosed

SECONDS = 20.0


@pytest.fixture
def may_end() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_work_does_not_wait_for_threads_that_hang(may_end: threading.Event) -> None:
    """Whoever counts a thread as idle that has just taken work does not start another one."""
    pool = ThreadPool(8, "pool")
    for _ in range(3000):
        works = [pool.submit(int, what=int, may_be_refused=False) for _ in range(2)]
        for work in works:
            work.result(SECONDS)
    for _ in range(7):
        pool.submit(may_end.wait, what=may_end.wait, may_be_refused=False)
        assert pool.submit(int, what=int, may_be_refused=False).result(SECONDS) == 0
    pool.close()


def test_no_more_threads_than_were_asked_for(may_end: threading.Event) -> None:
    pool = ThreadPool(3, "counted")
    works = [pool.submit(may_end.wait, what=may_end.wait, may_be_refused=False) for _ in range(10)]
    assert sum(thread.name.startswith("counted-") for thread in threading.enumerate()) == 3
    may_end.set()
    assert all(work.result(SECONDS) for work in works)
    pool.close()


def test_closing_drops_what_has_not_begun_and_ends_the_threads(may_end: threading.Event) -> None:
    pool, has_begun = ThreadPool(1, "closed"), threading.Event()

    def hang() -> bool:
        has_begun.set()
        return may_end.wait(SECONDS)

    begun = pool.submit(hang, what=hang, may_be_refused=False)
    assert has_begun.wait(SECONDS)
    waiting = pool.submit(int, what=int, may_be_refused=False)
    refused: list[type[OSError]] = []

    def ask_for_more(_: object) -> None:
        try:
            pool.submit(int, what=int, may_be_refused=False)
        except ThreadsClosed as error:
            refused.append(type(error))

    waiting.add_done_callback(ask_for_more)
    pool.close()
    assert waiting.cancelled()
    assert refused == [ThreadsClosed]
    may_end.set()
    assert begun.result(SECONDS)
    for thread in threading.enumerate():
        if thread.name.startswith("closed-"):
            thread.join(SECONDS)
            assert not thread.is_alive()


@pytest.mark.parametrize("is_first", [True, False])
def test_a_system_that_has_no_more_threads(
    may_end: threading.Event, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    def start(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    pool = ThreadPool(2, "short")
    if not is_first:
        pool.submit(may_end.wait, what=may_end.wait, may_be_refused=False)
    with monkeypatch.context() as patched:
        patched.setattr(thread_pool.threading.Thread, "start", start)
        if is_first:
            with pytest.raises(ThreadsBusy, match="no more threads") as refused:
                pool.submit(int, what=int, may_be_refused=False)
            assert len(refused.value.strerror or "") <= 64, "it is an Error Comment too"
        else:
            waiting = pool.submit(int, what=int, may_be_refused=False)
            may_end.set()
            assert waiting.result(SECONDS) == 0
    assert pool.submit(int, what=int, may_be_refused=False).result(SECONDS) == 0
    pool.close()
