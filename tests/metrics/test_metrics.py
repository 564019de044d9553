"""What a Metrics hook is told, over associations joined in memory; and as OpenTelemetry instruments."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.telemetry import OpenTelemetryMetrics

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind


class Told:
    """Notes every call, without the seconds."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def association_opened(self, association: aiodimse.MeasuredAssociation) -> None:
        self.calls.append(("opened", association.role, association.calling_ae_title, association.called_ae_title))

    def association_ended(self, association: aiodimse.MeasuredAssociation, how: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append(("ended", association.role, how))

    def association_failed(self, association: aiodimse.MeasuredAssociation, how: str) -> None:
        self.calls.append(("failed", association.role, how))

    def operation_ended(
        self, association: aiodimse.MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        assert seconds >= 0
        self.calls.append((service, side, status))


def _server(metrics: Any) -> aiodimse.Server:
    server = aiodimse.Server(ae_title="ARCHIVE", metrics=metrics)

    @server.on_c_find(FIND)
    async def find(request):
        yield Dataset()
        yield 0xA700, None

    return server


async def _talk(provider: Any, user: Any) -> None:
    async with testing.joined(_server(provider), contexts=[sop_class.Verification, FIND], metrics=user) as association:
        await association.c_echo()
        await association.c_find(Dataset(), FIND)


async def test_both_sides_are_told() -> None:
    provider, user = Told(), Told()
    await _talk(provider, user)
    assert provider.calls == [
        ("opened", "acceptor", "AIODIMSE", "ARCHIVE"),
        ("C-ECHO", "provider", 0x0000),
        ("C-FIND", "provider", 0xA700),
        ("ended", "acceptor", "released"),
    ]
    assert user.calls == [
        ("opened", "requestor", "AIODIMSE", "ARCHIVE"),
        ("C-ECHO", "user", 0x0000),
        ("C-FIND", "user", 0xA700),
        ("ended", "requestor", "released"),
    ]


async def test_a_rejection_is_no_association() -> None:
    told = Told()
    with pytest.raises(aiodimse.AssociationRejected):
        async with testing.joined(_server(None), contexts=[FIND], called_ae_title="NOBODY", metrics=told):
            pass
    assert told.calls == [("failed", "requestor", "rejected")]


async def test_an_operation_without_an_answer() -> None:
    provider, user = Told(), Told()
    async with (
        testing.joined(_server(provider), contexts=[FIND], metrics=user) as association,
        association.c_find(Dataset(), FIND) as matches,
    ):
        await anext(matches)
        association.abort()
    assert {("C-FIND", "user", None), ("C-FIND", "user", 0xA700)} & set(user.calls)
    assert ("ended", "requestor", "aborted_by_us") in user.calls
    assert ("ended", "acceptor", "aborted_by_peer") in provider.calls


async def test_opentelemetry() -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader]).get_meter("test")
    metrics = OpenTelemetryMetrics(meter)

    def read() -> dict[str, list[Any]]:
        """Attributes, and the count of a histogram or the value of a counter."""
        data = reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: [
                (dict(point.attributes), point.count if hasattr(point, "count") else point.value)  # type: ignore[union-attr]
                for point in metric.data.data_points
            ]
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
        }

    async with testing.joined(_server(metrics), contexts=[FIND]):
        assert read()["dicom.associations.open"] == [({"role": "acceptor"}, 1)]
    with pytest.raises(aiodimse.AssociationRejected):
        async with testing.joined(_server(metrics), contexts=[FIND], called_ae_title="NOBODY"):
            pass
    await _talk(metrics, None)
    found = read()
    assert found["dicom.associations.open"] == [({"role": "acceptor"}, 0)]
    assert found["dicom.associations.failed"] == [({"role": "acceptor", "how": "rejected"}, 1)]
    assert found["dicom.operation.duration"] == [
        ({"service": "C-ECHO", "side": "provider", "status": "0x0000"}, 1),
        ({"service": "C-FIND", "side": "provider", "status": "0xA700"}, 1),
    ]
    assert found["dicom.association.duration"] == [({"role": "acceptor", "how": "released"}, 2)]


async def test_each_is_told_whose_association_it_was() -> None:
    """In both roles, of operations too; and of a connection that came to no association."""
    seen: dict[str, list[aiodimse.MeasuredAssociation]] = {"provider": [], "user": []}

    class Whose:
        def __init__(self, side: str) -> None:
            self.side = side

        def __getattr__(self, name: str) -> Any:
            return lambda association, *_: seen[self.side].append(association)

    provider, user = Whose("provider"), Whose("user")
    async with testing.joined(
        _server(provider), contexts=[sop_class.Verification], metrics=user, ae_title="MODALITY"
    ) as association:
        await association.c_echo()
    assert {(one.role, one.calling_ae_title, one.called_ae_title) for one in seen["provider"]} == {
        ("acceptor", "MODALITY", "ARCHIVE")
    }
    assert {(one.role, one.calling_ae_title) for one in seen["user"]} == {("requestor", "MODALITY")}
    assert len(seen["provider"]) == len(seen["user"]) == 3
    assert all(one.peer_address and one.peer_address[0] == "127.0.0.1" for one in seen["provider"])
    seen["provider"].clear()
    with pytest.raises(aiodimse.AssociationRejected):
        async with testing.joined(_server(provider), contexts=[sop_class.Verification], called_ae_title="OTHER"):
            pass
    assert [one.called_ae_title for one in seen["provider"]] == ["OTHER"]


def test_the_extra_is_named_where_its_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "aiodimse.telemetry")
    with pytest.raises(ModuleNotFoundError, match=r'pip install "aiodimse\[otel\]"') as raised:
        importlib.import_module("aiodimse.telemetry")
    assert raised.value.name == "opentelemetry"
