"""serve --metrics: what Prometheus and an orchestrator ask."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from archive.databases import PROGRAMS
from cli.conftest import HOST
from cli.test_cli_processes import folder, serving  # noqa: F401
from durable.archive_kills import Postgres
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive
from aiodimse.cli import operating

prometheus_client = pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind


@pytest.fixture
async def ports(folder: Path) -> AsyncIterator[tuple[int, int]]:  # noqa: F811
    async with serving(folder, "--metrics", "0") as (process, port):
        assert process.stdout is not None
        event = json.loads(await process.stdout.readline())
        assert event["event"] == "metrics"
        yield port, event["port"]


async def asked(port: int, request: bytes) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    return (int(answer.split()[1]), answer.partition("\r\n\r\n")[2]) if answer else (0, "")


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


async def test_figures(ports: tuple[int, int]) -> None:
    port, pages = ports
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.PatientName = "STUDY", "*"
    async with aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[FIND]) as association:
        await association.c_find(identifier, FIND).collect()
        _, page = await asked(pages, get("/metrics"))
        assert 'aiodimse_associations_open{role="acceptor"} 1.0' in page
    _, page = await asked(pages, get("/metrics?x=y"))
    assert re.search(r'aiodimse_operation_seconds_count\{service="C-FIND",side="provider",status="success"\} 1.0', page)
    assert 'aiodimse_archive_entities{level="instances"} 2.0' in page


async def test_alive_and_ready(ports: tuple[int, int], folder: Path) -> None:  # noqa: F811
    _, pages = ports
    assert await asked(pages, get("/healthz")) == (200, "alive\n")
    assert await asked(pages, get("/readyz")) == (200, "ready\n")
    folder.rename(folder.with_name("unmounted"))
    assert await asked(pages, get("/healthz")) == (200, "alive\n")
    assert await asked(pages, get("/readyz")) == (503, "not ready\n")
    shutil.move(folder.with_name("unmounted"), folder)
    assert await asked(pages, get("/readyz")) == (200, "ready\n")


async def test_alive_but_not_ready_before_it_serves_and_while_it_ends(folder: Path) -> None:  # noqa: F811
    """The first scan may take minutes. Who looks after it must not kill it meanwhile."""
    pages = operating.Pages(operating.PrometheusMetrics(pytest.importorskip("prometheus_client")))
    async with AsyncExitStack() as stack:
        archive = await Archive.open(folder, index="memory:")
        stack.push_async_callback(archive.close)
        stack.callback((await pages.listen(HOST, 0)).close)

        async def both() -> tuple[int, int]:
            assert (await asked(pages.port, get("/metrics")))[0] == 200
            return (await asked(pages.port, get("/healthz")))[0], (await asked(pages.port, get("/readyz")))[0]

        assert await both() == (200, 503)
        with pages.ready(archive):
            assert await both() == (200, 200)
        assert await both() == (200, 503)


async def test_not_ready_while_the_database_is_away(folder: Path) -> None:  # noqa: F811
    if not (PROGRAMS / "postgres").exists():
        pytest.skip("PostgreSQL 15 is not here: apt-get install postgresql-15 (.ci/peers does it)")
    database = Postgres()
    study = aiodimse.identifier("STUDY", StudyInstanceUID=None)
    try:
        database.make()
        async with serving(folder, "--index", database.url, "--metrics", "0") as (process, port):
            assert process.stdout is not None
            pages = json.loads(await process.stdout.readline())["port"]
            assert await asked(pages, get("/readyz")) == (200, "ready\n")
            async with aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[FIND]) as association:
                database.signal_all(signal.SIGKILL)
                assert (await association.c_find(study, FIND)).status == 0xA700
                assert await asked(pages, get("/healthz")) == (200, "alive\n")
                assert await asked(pages, get("/readyz")) == (503, "not ready\n")
                assert "aiodimse_archive_index_up 0.0" in (await asked(pages, get("/metrics")))[1]
                await asyncio.to_thread(database.start)
                assert await asked(pages, get("/readyz")) == (200, "ready\n")
                assert "aiodimse_archive_index_up 1.0" in (await asked(pages, get("/metrics")))[1]
                assert len(await association.c_find(study, FIND).collect()) == 2
    finally:
        database.stop()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/"), 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 404),
        (b"GET\r\n\r\n", 404),
        (b"\x01\0\0\0\0\r\n\r\n", 404),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 0),
    ],
)
async def test_what_is_not_asked_so(ports: tuple[int, int], request_: bytes, status: int) -> None:
    _, pages = ports
    try:
        answered, _ = await asked(pages, request_)
    except ConnectionError:
        answered = 0
    assert answered == status
    assert await asked(pages, get("/healthz")) == (200, "alive\n")


# --- the pages alone, in front of clients and disks that are slow -----------------------------------------------------


class Large(operating.PrometheusMetrics):
    """Metrics that fill every buffer on the way."""

    async def page(self, archive: Archive | None) -> bytes:
        return b"#" * (32 << 20)


async def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "_SECONDS", 0.2)
    served = await operating.Pages(Large(prometheus_client)).listen(HOST, 0)
    before = asyncio.all_tasks()
    reader, writer = await asyncio.open_connection(HOST, served.sockets[0].getsockname()[1])
    writer.write(get("/metrics"))
    assert await reader.readexactly(12) == b"HTTP/1.1 200"
    (task,) = asyncio.all_tasks() - before
    await asyncio.wait_for(task, 10)
    assert len(await reader.read()) < 32 << 20  # cut off in the middle
    writer.close()
    served.close()


async def test_a_disk_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "_SECONDS_OF_INDEX", 0.2)
    archive, go = Archive("unused"), threading.Event()
    monkeypatch.setattr(archive.storage, "check", lambda: go.wait(20))
    pages = operating.Pages(operating.PrometheusMetrics(prometheus_client))
    served = await pages.listen(HOST, 0)
    try:
        with pages.ready(archive):
            assert await asked(pages.port, get("/readyz")) == (503, "not ready\n")
            assert await asked(pages.port, get("/healthz")) == (200, "alive\n")
    finally:
        go.set()
        served.close()
