"""What a DetailedMetrics is told beside: of transcoding, of pools, of moves to oneself; and spans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from metrics.test_metrics import Told
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian, RLELossless
from aiodimse.telemetry import OpenTelemetryMetrics

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
RLE, BROKEN = FILES / "SC_rgb_rle_2frame.dcm", FILES / "JPEG2000-embedded-sequence-delimiter.dcm"
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove


class ToldMore(Told):
    """Notes every call of a DetailedMetrics, without the seconds."""

    def instance_transcoded(
        self,
        association: aiodimse.MeasuredAssociation,
        source: str,
        target: str,
        frames: int,
        error: str | None,
        seconds: float,
    ) -> None:
        assert seconds >= 0
        self.calls.append(("transcoded", association.called_ae_title, source, target, frames, error))

    def pool_changed(self, pool: aiodimse.MeasuredPool, size: int, in_use: int, waiting: int) -> None:
        self.calls.append(("pool", pool.peer, size, in_use, waiting))

    def pool_acquired(self, pool: aiodimse.MeasuredPool, how: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append(("acquired", pool.called_ae_title, how))

    def move_ended(
        self, association: aiodimse.MeasuredAssociation, instances: int, missing: int, seconds: float
    ) -> None:
        assert seconds >= 0
        self.calls.append(("moved", association.called_ae_title, instances, missing))

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, str]) -> Iterator[None]:
        self.calls.append(("begin", name, dict(attributes)))
        try:
            yield
        except BaseException as error:
            self.calls.append(("end", name, type(error).__name__))
            raise
        else:
            self.calls.append(("end", name, None))

    def of(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] in kinds]


def taking(network: Any = None) -> aiodimse.Server:
    """Takes nothing that is compressed."""
    environment = aiodimse.Environment(network=network) if network is not None else None
    server = aiodimse.Server(ae_title="DEST", environment=environment)

    @server.on_c_store(transfer_syntaxes=[ExplicitVRLittleEndian])
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        return 0x0000

    return server


async def test_of_transcoding() -> None:
    told = ToldMore()
    contexts = aiodimse.contexts_for([RLE, BROKEN])
    async with testing.joined(taking(), contexts=contexts, metrics=told) as association:
        await association.c_store(RLE)
        with pytest.raises(aiodimse.DatasetEncodeError):
            await association.c_store(BROKEN)
        await association.c_store(FILES / "SC_rgb_small_odd.dcm")
    assert told.of("transcoded") == [
        ("transcoded", "DEST", RLELossless, ExplicitVRLittleEndian, 2, None),
        ("transcoded", "DEST", "1.2.840.10008.1.2.4.91", ExplicitVRLittleEndian, 0, "DatasetEncodeError"),
    ]
    assert [call[1:] for call in told.of("end")] == [
        ("dicom.transcode", None),
        ("dicom.transcode", "DatasetEncodeError"),
    ]


async def test_of_a_pool() -> None:
    network, told = testing.MemoryNetwork(), ToldMore()
    environment = aiodimse.Environment(network=network)
    options: dict[str, Any] = {"called_ae_title": "DEST", "environment": environment, "metrics": told}
    async with (
        taking().listen("dest", 104, network=network),
        aiodimse.Pool("dest", 104, contexts=[sop_class.Verification], max_size=1, **options) as pool,
    ):
        await pool.c_echo()
        await pool.c_echo()
        assert told.of("pool")[-1] == ("pool", "dest:104", 1, 0, 0)
    assert [how for _, _, how in told.of("acquired")] == ["opened", "reused"]
    assert told.of("pool")[0] == ("pool", "dest:104", 1, 1, 0)
    assert told.of("pool")[-1] == ("pool", "dest:104", 0, 0, 0)
    async with aiodimse.Pool(
        "nowhere", 104, contexts=[sop_class.Verification], acquire_timeout=0.01, **options
    ) as pool:
        with pytest.raises(aiodimse.AssociationTimeout):
            await pool.c_echo()
    assert told.of("acquired")[-1][-1] == "timeout"
    assert told.of("end")[-1] == ("end", "dicom.pool.acquire", "AssociationTimeout")


async def test_of_a_move_to_oneself() -> None:
    network, told = testing.MemoryNetwork(), ToldMore()
    environment = aiodimse.Environment(network=network)
    archive, receiver = aiodimse.Server(ae_title="ARCHIVE"), aiodimse.Server(ae_title="ME", environment=environment)

    @archive.on_c_move(MOVE)
    async def move(request: aiodimse.MoveRequest) -> Any:
        yield "me", 104
        yield 2
        yield FILES / "CT_small.dcm"
        yield FILES / "MR_small.dcm"

    async with (
        receiver.listen("me", 104, network=network),
        testing.joined(archive, contexts=[MOVE], network=network, ae_title="ME", metrics=told) as association,
    ):
        async with association.c_move(Dataset(), MOVE, destination="ME", receiver=receiver) as moving:
            async for instance in moving:
                await instance.discard()
        async with association.c_move(Dataset(), MOVE, destination="ME", receiver=receiver) as moving:
            await (await anext(moving)).discard()
    first, second = told.of("moved")
    assert first == ("moved", "ARCHIVE", 2, 0)
    assert second[2] >= 1
    assert told.of("end") == [("end", "dicom.move", None)] * 2


async def test_what_a_metrics_does_not_have_is_not_called(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    async with testing.joined(taking(), contexts=aiodimse.contexts_for([RLE]), metrics=told) as association:
        await association.c_store(RLE)
    assert told.calls[-1] == ("ended", "requestor", "released")
    assert "raised" not in caplog.text


async def test_what_it_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Told):
        def instance_transcoded(self, *args: Any) -> None:
            raise ValueError("broken")

        def span(self, name: str, attributes: Mapping[str, str]) -> Any:
            raise ValueError("broken")

    async with testing.joined(taking(), contexts=aiodimse.contexts_for([RLE]), metrics=Raising()) as association:
        assert (await association.c_store(RLE)).status == 0x0000
    assert "the metrics' instance_transcoded raised" in caplog.text
    assert "the metrics' span raised" in caplog.text


async def test_as_opentelemetry_instruments_and_spans() -> None:
    reader, exporter, tracers = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    metrics = OpenTelemetryMetrics(MeterProvider([reader]).get_meter("test"), tracers.get_tracer("test"))
    network = testing.MemoryNetwork()
    environment = aiodimse.Environment(network=network)
    with tracers.get_tracer("test").start_as_current_span("ours") as ours:
        async with (
            taking().listen("dest", 104, network=network),
            aiodimse.Pool(
                "dest",
                104,
                contexts=aiodimse.contexts_for([RLE, BROKEN]),
                called_ae_title="DEST",
                environment=environment,
                metrics=metrics,
            ) as pool,
        ):
            await pool.c_store(RLE)
            with pytest.raises(aiodimse.DatasetEncodeError):
                await pool.c_store(BROKEN)
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: [(dict(point.attributes), getattr(point, "count", getattr(point, "value", 0)))
                      for point in metric.data.data_points]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }  # fmt: skip
    by = {"role": "requestor", "source": "RLELossless", "target": "ExplicitVRLittleEndian", "error": "none"}
    assert (by, 1) in found["dicom.transcode.duration"]
    assert (by, 2) in found["dicom.transcode.frames"]
    assert found["dicom.pool.associations"] == [({"peer": "dest:104"}, 0)]
    assert sum(count for _, count in found["dicom.pool.acquire.duration"]) >= 2
    spans = exporter.get_finished_spans()
    names = {span.name for span in spans}
    assert {"dicom.pool.acquire", "dicom.transcode"} <= names
    failed = [span for span in spans if span.name == "dicom.transcode" and not span.status.is_ok]
    assert [span.status.description for span in failed] == ["DatasetEncodeError"]
    assert all(span.parent is not None and span.parent.span_id == ours.get_span_context().span_id
               for span in spans if span.name != "ours")  # fmt: skip
