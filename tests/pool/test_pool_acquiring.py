"""Who gets which association of a pool, and when one is opened or released."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from pool.conftest import CT, FIND, PORT, Stage, identifier, image

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.pdu import AssociateRQ


async def lend(pool: aiodimse.Pool, done: asyncio.Event) -> aiodimse.Association:
    async with pool.acquire() as association:
        await done.wait()
        return association


async def test_one_after_the_other_share_an_association(stage: Stage) -> None:
    async with stage.pool() as pool:
        for _ in range(5):
            assert (await pool.c_echo()).status == 0x0000
        assert (stage.opened, pool.size, pool.idle) == (1, 1, 1)
    assert (pool.size, stage.network.open) == (0, [])


async def test_no_more_than_max_size_and_first_come_first_served(stage: Stage) -> None:
    async with stage.pool(max_size=2) as pool:
        gates = [asyncio.Event() for _ in range(5)]
        order: list[int] = []

        async def use(number: int) -> None:
            async with pool.acquire():
                order.append(number)
                await gates[number].wait()

        tasks = [asyncio.create_task(use(number)) for number in range(5)]
        await testing.settle()
        assert (order, pool.size, stage.opened) == ([0, 1], 2, 2)
        for number in (1, 0, 2, 3, 4):
            gates[number].set()
            await testing.settle()
        await asyncio.gather(*tasks)
        assert (order, stage.opened) == ([0, 1, 2, 3, 4], 2)


async def test_an_idle_association_is_released_in_time(stage: Stage) -> None:
    async with stage.pool(max_idle=30.0) as pool:
        gate = asyncio.Event()
        tasks = [asyncio.create_task(lend(pool, gate)) for _ in range(3)]
        await testing.settle()
        gate.set()
        await asyncio.gather(*tasks)
        await stage.clock.elapse(20)
        await pool.c_echo()  # renews one of them
        await stage.clock.elapse(11)
        assert (pool.size, pool.idle) == (1, 1)
        await stage.clock.elapse(20)
        assert (pool.size, pool.idle, stage.network.open) == (0, 0, [])


async def test_an_association_is_used_max_uses_times(stage: Stage) -> None:
    async with stage.pool(max_uses=3) as pool:
        for _ in range(7):
            await pool.c_echo()
            await testing.settle()
    assert stage.opened == 3


async def test_a_peer_that_closes_idle_associations_costs_nobody_anything(stage: Stage) -> None:
    async with stage.pool() as pool:
        await pool.c_echo()
        await stage.kill()
        await stage.start()
        assert (await pool.c_echo()).status == 0x0000
        assert (stage.opened, pool.size) == (2, 1)


async def test_contexts_that_are_wanted_beside_those_of_the_pool(stage: Stage) -> None:
    async with stage.pool(contexts=[sop_class.Verification], max_size=1) as pool:
        await pool.c_echo()
        async with pool.acquire([FIND]) as association:
            assert FIND in {context.abstract_syntax for context in association.contexts}
        assert stage.opened == 2
        async with pool.acquire([FIND]):
            pass
        assert (await pool.c_store(image())).status == 0x0000
        await pool.c_find(identifier(), FIND).collect()  # what was wanted before is proposed again
        assert stage.opened == 3


async def test_a_context_that_the_peer_refuses_is_asked_for_once(stage: Stage) -> None:
    async with stage.pool(max_size=2) as pool:
        for _ in range(3):
            with pytest.raises(aiodimse.NoAcceptedContext):
                async with pool.acquire([sop_class.ModalityWorklistInformationModelFind]) as association:
                    await association.c_find(identifier(), sop_class.ModalityWorklistInformationModelFind)
        assert stage.opened == 1


# --- what was left ----------------------------------------------------------------------------------------------------


async def test_an_association_with_a_left_operation_is_not_handed_out(stage: Stage) -> None:
    """The peer ignores C-CANCEL: its handler does not come to its end."""
    stage.hold = asyncio.Event()
    async with stage.pool(max_size=1) as pool:
        async with pool.c_find(identifier(), FIND) as matches:
            left = matches
            await anext(aiter(matches))
        assert not left.status
        found = asyncio.create_task(pool.c_echo())
        await testing.settle()
        assert found.done(), "who comes next does not wait for Timeouts.cancel_drain"
        assert found.result().status == 0x0000


# --- a peer that is not there -----------------------------------------------------------------------------------------


async def test_a_peer_that_is_down_costs_acquire_timeout_and_no_storm(stage: Stage) -> None:
    await stage.kill()
    attempts = 0
    connect = stage.network.connect

    async def counted(*arguments: Any) -> None:
        nonlocal attempts
        attempts += 1
        await connect(*arguments)

    stage.network.connect = counted  # type: ignore[method-assign]
    async with stage.pool(max_size=4, acquire_timeout=10.0) as pool:
        began = stage.clock.now()
        callers = [asyncio.create_task(pool.c_echo()) for _ in range(50)]
        await stage.clock.elapse(9.9)
        assert not any(caller.done() for caller in callers)
        await stage.clock.elapse(0.2)
        results = await asyncio.gather(*callers, return_exceptions=True)
        assert stage.clock.now() - began < 11
    assert {type(result) for result in results} == {aiodimse.AssociationTimeout}
    assert isinstance(results[0], aiodimse.AssociationTimeout)
    assert results[0].phase == "acquire"
    assert "memory:104" in str(results[0])
    assert isinstance(results[0].__cause__, ConnectionRefusedError)
    assert attempts < 30, "one attempt after the other, the pauses between them longer and longer"


async def test_a_peer_that_comes_back_is_found_again(stage: Stage) -> None:
    await stage.kill()
    async with stage.pool(acquire_timeout=30.0) as pool:
        callers = [asyncio.create_task(pool.c_echo()) for _ in range(8)]
        await stage.clock.elapse(5)
        await stage.start()
        await stage.clock.elapse(3.1)
        assert all(caller.done() and caller.result().status == 0x0000 for caller in callers)


async def test_a_peer_that_allows_one_association(stage: Stage) -> None:
    await stage.kill()
    await stage.start(limits=aiodimse.Limits(max_associations=1))
    async with stage.pool(max_size=4, acquire_timeout=60.0) as pool:
        callers = [asyncio.create_task(pool.c_store(image())) for _ in range(12)]
        await stage.until_done(*callers)
        assert all(caller.result().status == 0x0000 for caller in callers)


async def test_a_peer_that_rejects_for_good_is_told_at_once(stage: Stage) -> None:
    async with aiodimse.Pool(
        "memory",
        PORT,
        contexts=[CT],
        called_ae_title="OTHER",
        environment=aiodimse.Environment(stage.clock, stage.network),
    ) as pool:
        for _ in range(2):
            with pytest.raises(aiodimse.AssociationRejected):
                await pool.c_echo()
        assert pool.size == 0


async def test_all_in_use_is_told_as_such(stage: Stage) -> None:
    async with stage.pool(max_size=1) as pool, pool.acquire():
        waiting = asyncio.create_task(pool.c_echo())
        await stage.clock.elapse(10)
        with pytest.raises(aiodimse.AssociationTimeout, match="all 1 of the pool are in use"):
            await waiting


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_close_waits_for_what_is_in_use_and_then_aborts(stage: Stage) -> None:
    pool = stage.pool(max_size=1)
    never = asyncio.Event()
    user = asyncio.create_task(lend(pool, never))
    waiting = asyncio.create_task(pool.c_echo())
    await testing.settle()
    closing = asyncio.create_task(pool.close())
    await testing.settle()
    with pytest.raises(aiodimse.AssociationClosed):
        await waiting
    assert not closing.done()
    await stage.clock.elapse(aiodimse.Timeouts().release or 0)
    await stage.clock.elapse(2)
    never.set()
    assert not (await user).is_open
    await closing
    assert (pool.size, stage.network.open) == (0, [])
    with pytest.raises(aiodimse.AssociationClosed):
        await pool.c_echo()


@pytest.mark.parametrize("how", ["close", "leave", "an exception"])
async def test_the_end_of_a_pool_waits_for_no_peer_that_is_slow_to_accept(stage: Stage, how: str) -> None:
    """An association that is being opened is given up, and its caller is told at once."""
    stage.network.silent_ports.add(PORT)
    pool, left = stage.pool(), asyncio.Event()

    async def use() -> None:
        if how == "close":
            await left.wait()
            await pool.close()
            return
        with suppress(KeyError):
            async with pool:
                await left.wait()
                if how == "an exception":
                    raise KeyError

    using, caller = asyncio.create_task(use()), asyncio.create_task(pool.c_echo())
    await testing.settle()
    assert pool.size == 1
    left.set()
    await testing.settle()
    assert using.done()
    assert pool.size == 0
    with pytest.raises(aiodimse.AssociationClosed, match="the pool is closed"):
        await caller


async def test_nothing_is_opened_for_a_pool_that_was_closed_meanwhile(stage: Stage) -> None:
    """The peer takes its time to answer the A-ASSOCIATE-RQ: when close() returns, no connection to it is open."""
    await stage.kill()
    peers = await testing.ScriptedPeer.listen(stage.network, PORT)
    pool = stage.pool()
    caller = asyncio.create_task(pool.c_echo())
    peer = await peers.get()
    await peer.expect(AssociateRQ)
    closing = asyncio.create_task(pool.close())
    await testing.settle()
    assert closing.done()
    with pytest.raises(aiodimse.AssociationClosed, match="the pool is closed"):
        await caller
    await peer.closed()
    assert pool.size == 0
    stage.network.forget(PORT)
    assert stage.network.open == []


async def test_leaving_by_an_exception_does_not_wait(stage: Stage) -> None:
    never = asyncio.Event()
    pool = stage.pool()
    user = asyncio.create_task(lend(pool, never))
    in_use = asyncio.Event()

    async def leave() -> None:
        async with pool:
            await in_use.wait()
            raise KeyError

    leaving = asyncio.create_task(leave())
    await testing.settle()
    in_use.set()
    await stage.clock.elapse(1)  # the peer has Timeouts.close_after_abort to close
    assert isinstance(leaving.exception(), KeyError)
    never.set()
    assert not (await user).is_open
    assert (pool.size, stage.network.open) == (0, [])


@pytest.mark.parametrize("rounds", range(40))
async def test_cancelled_anywhere_it_leaves_nothing_behind(stage: Stage, rounds: int) -> None:
    """The k-th turn of the loop after a caller began to wait, with others in front of and behind it."""
    async with stage.pool(max_size=1) as pool:
        callers = [asyncio.create_task(pool.c_echo()) for _ in range(3)]
        for _ in range(rounds):
            await asyncio.sleep(0)
        callers[1].cancel()
        await testing.settle()
        results = await asyncio.gather(*callers, return_exceptions=True)
        assert [getattr(result, "status", 0) for result in (results[0], results[2])] == [0, 0]
        assert pool.size == pool.idle == 1
    assert stage.network.open == []


@pytest.mark.parametrize(
    "wrong", [{"max_size": 0}, {"max_size": None}, {"max_idle": -1}, {"acquire_timeout": "10"}, {"max_uses": 0}]
)
async def test_a_bound_that_bounds_nothing_is_refused(stage: Stage, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        stage.pool(**wrong)


async def test_storage_contexts_of_a_c_get_give_way_to_what_is_wanted_now(stage: Stage) -> None:
    """A pool for C-GET whose contexts fill an association stores, too; the last of them are left out for that."""
    get = sop_class.StudyRootQueryRetrieveInformationModelGet
    storage = [
        aiodimse.PresentationContext(each.uid, each.transfer_syntaxes, scu=False, scp=True)
        for each in aiodimse.storage_contexts(compressed=True)[:127]
    ]
    async with stage.pool(contexts=[get], storage=storage, max_size=1) as pool:
        assert (await pool.c_store(image())).status == 0x0000
        async with pool.acquire() as association:
            proposed = [each.abstract_syntax for each in association.negotiated.rq.contexts]
    assert len(proposed) == 128
    assert proposed.count(CT) > 1
    assert get in proposed


async def test_what_was_wanted_before_leaves_room_for_storage_contexts(stage: Stage) -> None:
    get = sop_class.StudyRootQueryRetrieveInformationModelGet
    storage = [
        aiodimse.PresentationContext(each.uid, scu=False, scp=True) for each in aiodimse.storage_contexts()[:120]
    ]
    async with stage.pool(contexts=[sop_class.Verification, get], storage=storage, max_size=2) as pool:
        wanted = [f"1.2.3.{number}" for number in range(40)]
        for uid in wanted:
            pool.acquire([uid])
        async with pool.acquire() as association:
            proposed = {each.abstract_syntax for each in association.negotiated.rq.contexts}
    assert {each.uid for each in storage} <= proposed
    assert proposed.intersection(wanted) == set(wanted[-6:])  # those that were wanted last


async def test_a_lease_is_entered_once_at_a_time(stage: Stage) -> None:
    """By nobody else meanwhile either; and its association goes back to the pool."""
    async with stage.pool(max_size=1, acquire_timeout=5.0) as pool:
        gate = asyncio.Event()
        holder = asyncio.create_task(lend(pool, gate))
        await testing.settle()
        lease = pool.acquire()
        waiting = asyncio.create_task(lease.__aenter__())
        await testing.settle()
        with pytest.raises(aiodimse.LocalProtocolError, match="entered already"):
            await lease.__aenter__()
        waiting.cancel()
        gate.set()
        await asyncio.wait([waiting, holder])
        for _ in range(2):
            async with lease:
                with pytest.raises(aiodimse.LocalProtocolError, match="entered already"):
                    await lease.__aenter__()
        assert (pool.size, pool.idle) == (1, 1)
