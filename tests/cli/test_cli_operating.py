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
from typing import Any

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
from aiodimse.cli.tally import Tally

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
            status, page = await asked(pages.port, get("/metrics"))
            assert (status, "aiodimse_archive_index_up 0.0" in page) == (200, False)
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
            assert "aiodimse_archive_index_up 1.0" in (await asked(pages, get("/metrics")))[1]
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


@pytest.fixture
async def pages() -> AsyncIterator[operating.Pages]:
    """The pages without an archive."""
    pages = operating.Pages(operating.PrometheusMetrics(prometheus_client))
    async with await pages.listen(HOST, 0):
        yield pages


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the connection has ended; waits for it. False: what arrived was an answer."""
    try:
        return await asyncio.wait_for(reader.read(), 10) == b""
    except ConnectionError:
        return True


async def test_connections_have_a_number_and_the_oldest_that_ask_nothing_make_way(pages: operating.Pages) -> None:
    most, more = operating._MAX_CONNECTIONS, 40
    async with AsyncExitStack() as stack:
        idle = []
        for number in range(most + more):
            reader, writer = await asyncio.open_connection(HOST, pages.port)
            stack.callback(writer.close)
            writer.write(b"GET /healthz HTTP/1.1\r\n"[: number % 20])  # some have begun, none has asked
            idle.append(reader)
        assert all([await is_closed(reader) for reader in idle[:more]])
        assert await asked(pages.port, get("/healthz")) == (200, "alive\n")
        assert await is_closed(idle[more])
        assert await asked(pages.port, get("/readyz")) == (503, "not ready\n")
        assert not any(reader.at_eof() for reader in idle[more + 2 :])


async def test_more_connections_than_there_may_be_while_all_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each request for /metrics asks the index, so that a thousand at once would be a thousand queries."""
    monkeypatch.setattr(operating, "_MAX_CONNECTIONS", 3)
    asking, go = asyncio.Semaphore(0), asyncio.Event()

    class Slow(operating.PrometheusMetrics):
        async def page(self, archive: Archive | None) -> bytes:
            asking.release()
            await go.wait()
            return b"figures"

    pages = operating.Pages(Slow(prometheus_client))
    async with await pages.listen(HOST, 0), asyncio.TaskGroup() as group:
        three = [group.create_task(asked(pages.port, get("/metrics"))) for _ in range(3)]
        for _ in three:
            await asking.acquire()
        reader, writer = await asyncio.open_connection(HOST, pages.port)
        assert await is_closed(reader)
        writer.close()
        go.set()
        assert [await each for each in three] == [(200, "figures")] * 3
        assert await asked(pages.port, get("/metrics")) == (200, "figures")


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /healthz HTTP/1.1\r\n"])
async def test_a_request_that_does_not_come_is_given_up(
    pages: operating.Pages, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(operating, "_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection(HOST, pages.port)
    writer.write(sent)
    assert await is_closed(reader)
    writer.close()


async def test_a_request_that_comes_byte_by_byte_is_given_up(
    pages: operating.Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is that of the whole request: a byte does not begin it anew."""
    monkeypatch.setattr(operating, "_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection(HOST, pages.port)
    closed = asyncio.ensure_future(is_closed(reader))
    while not (await asyncio.wait([closed], timeout=0.02))[0]:
        writer.write(b"G")
    assert closed.result()
    writer.close()


@pytest.mark.parametrize(("length", "status"), [(8000, 404), (8300, 0)])
async def test_the_head_of_a_request_has_a_length(pages: operating.Pages, length: int, status: int) -> None:
    path = "/" + "a" * (length - len(get("/")))
    assert (await asked(pages.port, get(path)))[0] == status


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


def test_the_page_about_metrics_has_each_of_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "metrics.md").read_text(encoding="utf-8")
    of_page = set(re.findall(r"^\| `(aiodimse_\w+)` ", page, re.M))
    figures = operating.PrometheusMetrics(prometheus_client)
    assert of_page == {metric.name for metric in figures._registry.collect()}


async def test_a_transcoded_instance_is_counted_by_its_syntaxes_and_its_error() -> None:
    """And it reaches the hooks that want to know, past one that has no such method."""
    association: Any = None
    figures = operating.PrometheusMetrics(prometheus_client)
    hooks = operating.CombinedMetrics([Tally(), figures])
    for error in (None, None, "DatasetEncodeError"):
        hooks.instance_transcoded(association, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", 1, error, 0.5)
    page = (await figures.page(None)).decode()
    for error, count in (("none", 2), ("DatasetEncodeError", 1)):
        labels = f'error="{error}",source="ExplicitVRLittleEndian",target="RLELossless"'
        assert f"aiodimse_transcoded_seconds_count{{{labels}}} {count}.0" in page
