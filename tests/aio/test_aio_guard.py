"""What an application's trace and metrics raise is logged, without its text, and changes nothing else."""

from __future__ import annotations

from typing import Any

import pytest

import aiodimse

TEXT = "secret"
CALLS = ["association_opened", "association_ended", "association_failed", "operation_ended"]


class Metrics:
    """One of its methods raises, all are noted."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> None:
            self.called.append(name)
            if name == self.wrong:
                raise ValueError(TEXT)

        return call


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert "secret" not in caplog.text
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("wrong", CALLS)
async def test_metrics_that_raise(world, caplog, wrong):
    metrics = Metrics(wrong)
    server = world.server(metrics=metrics)
    async with world.listen(server) as listening:
        async with world.connect(called_ae_title="AIODIMSE", metrics=metrics) as association:
            assert (await association.c_echo()).status == 0
        with pytest.raises(aiodimse.AssociationRejected):
            await world.connect(called_ae_title="OTHER", metrics=metrics)
        assert len(listening.associations) == 0
    assert sorted(metrics.called) == sorted(2 * CALLS)  # both sides
    said = errors(caplog)
    assert len(said) == 2
    assert all(f"the metrics' {wrong} raised" in line for line in said)


@pytest.mark.parametrize("wrong", ["the call", "a read", "a write", "the end"])
async def test_a_trace_that_raises(world, caplog, wrong):
    """It sees no more of its connection, and others see theirs."""
    seen: list[tuple[str, int]] = []

    def trace(role: str) -> Any:
        def tap(way: str, data: bytes | memoryview) -> None:
            seen.append((role, len(data)))
            if role == "acceptor" and wrong == ("the end" if not data else {">": "a read", "<": "a write"}[way]):
                raise ValueError(TEXT)

        if role == "acceptor" and wrong == "the call":
            raise ValueError(TEXT)
        return tap

    async with world.listen(world.server(trace=trace, accept_called=True)), world.connect(trace=trace) as association:
        assert (await association.c_echo()).status == 0
    sizes = {side: [size for role, size in seen if role == side] for side in ("requestor", "acceptor")}
    assert sizes["requestor"][-2:] == [0, 0]
    expected = {"the call": 0, "a read": 1, "a write": 2, "the end": len(sizes["requestor"]) - 1}[wrong]
    assert len(sizes["acceptor"]) == expected
    (said,) = errors(caplog)
    assert "a trace, which is told no more of this connection, raised" in said
