"""examples/router: where images go, what happens when they cannot, and that kill -9 loses none of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from examples.readme import EXAMPLES, changed, commands, ended, started
from interop.dcmtk import DcmQRSCP, storescu
from interop.orthanc import Orthanc
from interop.programs import Keeper
from ports import free_port
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from router.config import Config, Destination, Rule
from router.router import Router

import aiodimse
from aiodimse import commitment, sop_class, testing
from aiodimse.outbox import Outbox

HOST = "127.0.0.1"
PATIENCE = 60.0


def images(count: int = 1, **attributes: Any) -> list[Dataset]:
    """A study of one series."""
    study, series = generate_uid(), generate_uid()
    found = []
    for _ in range(count):
        dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = study, series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        found.append(dataset)
    return found


def uids(datasets: list[Dataset]) -> set[str]:
    return {dataset.SOPInstanceUID for dataset in datasets}


class Sink:
    """A destination that notes what it gets."""

    def __init__(self, title: str, status: Callable[[Dataset], int] = lambda dataset: 0) -> None:
        self.server = aiodimse.Server(ae_title=title)
        self.title, self.came = title, asyncio.Queue[Dataset]()
        self.port = 0

        @self.server.on_c_store
        async def store(request: aiodimse.StoreRequest) -> int:
            dataset = await request.dataset()
            self.came.put_nowait(dataset)
            return status(dataset)

    async def __aenter__(self) -> Sink:
        self._listening = self.server.listen(HOST, self.port)
        self.port = (await self._listening.__aenter__()).port
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self._listening.__aexit__(*exception)

    async def next(self) -> Dataset:
        async with asyncio.timeout(PATIENCE):
            return await self.came.get()

    async def some(self, count: int) -> list[Dataset]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def routing(folder: Path, to: list[Sink | testing.FakeArchive], **more: Any) -> AsyncIterator[int]:
    """The router in this process; gives its port. Options of all destinations begin with an underscore."""
    options = {name[1:]: value for name, value in more.items() if name.startswith("_")}
    destinations = {getattr(each, "title", "FAKE"): Destination(host=HOST, port=each.port, **options) for each in to}
    rest = {name: value for name, value in more.items() if not name.startswith("_")}
    rest = {"port": 0, "rules": [Rule(to=list(destinations))], "quiet_after_end": 0.01, **rest}
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        Router(Config(folder=str(folder / "outbox"), destinations=destinations, **rest)).run(port.set_result)
    )
    try:
        await asyncio.wait({task, port}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield port.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def send(port: int, datasets: list[Dataset], calling: str = "CT1") -> list[int]:
    """The statuses of C-STORE requests over one association."""
    contexts = [sop_class.CTImageStorage]
    async with aiodimse.connect(
        HOST, port, ae_title=calling, called_ae_title="ROUTER", contexts=contexts
    ) as association:
        return [(await association.c_store(dataset)).status for dataset in datasets]


async def waiting(folder: Path) -> int:
    async with Outbox(folder / "outbox") as outbox:
        return outbox.waiting


async def unanswered(folder: Path) -> int:
    async with Outbox(folder / "outbox") as outbox:
        return outbox.unanswered


async def emptied(folder: Path) -> None:
    """Return when nothing waits any more, as another process sees it: no event tells of it."""
    async with asyncio.timeout(PATIENCE):
        while await waiting(folder):
            pass


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_SEED", "a seed")  # for router.deidentify, which is imported once
    monkeypatch.setattr("router.router._POLL", 0.05)
    monkeypatch.setattr("router.router._LONGEST_PAUSE", 0.05)


# --- where images go --------------------------------------------------------------------------------------------------


async def test_each_rule_that_matches_adds_its_destinations(tmp_path: Path) -> None:
    rules = [
        Rule(to=["A"], match={"Modality": "CT"}),
        Rule(to=["B"], match={"calling": "MR*", "PatientID": "R-?"}),
    ]
    async with Sink("A") as first, Sink("B") as second, routing(tmp_path, [first, second], rules=rules) as port:
        plain, research, other = images(), images(PatientID="R-1"), images(PatientID="R-1", Modality="PT")
        assert await send(port, plain + research) == [0, 0]
        assert await send(port, research + other, calling="MR7") == [0, 0]
        assert uids(await first.some(3)) == uids(plain + research)
        assert uids(await second.some(2)) == uids(research + other)
        assert await send(port, other) == [0xC000]  # no rule
        await emptied(tmp_path)
    assert [path.name for path in (tmp_path / "outbox").glob("*.dcm")] == []


def test_rules_look_at_each_value() -> None:
    header = aiodimse.identifier(None, ImageType=["DERIVED", "PRIMARY"], StationName=None)
    for pattern, matches in (("DERIVED", True), ("PRI*", True), ("ORIGINAL", False)):
        assert Rule(to=[], match={"ImageType": pattern}).matches("X", header) is matches
    assert Rule(to=[], match={"StationName": ""}).matches("X", header)
    assert Rule(to=[], match={"PatientID": "*"}).matches("X", header)
    assert not Rule(to=[], match={"PatientID": "?*"}).matches("X", header)


async def test_what_is_sent_may_be_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (dataset,) = images(PatientName="Doe^Jane", PatientID="4711")
    options = {"_coerce": {"InstitutionName": "HERE"}, "_change": "router.deidentify:deidentify"}
    async with Sink("A") as sink, routing(tmp_path, [sink], **options) as port:
        assert await send(port, [dataset, dataset]) == [0, 0]
        first, second = await sink.some(2)
    assert "Doe" not in str(first)
    assert (first.PatientID != "4711", first.SOPInstanceUID != dataset.SOPInstanceUID) == (True, True)
    assert first.SOPInstanceUID == second.SOPInstanceUID  # the same one each time
    assert first.PixelData == dataset.PixelData


async def test_coercion_alone(tmp_path: Path) -> None:
    async with Sink("A") as sink, routing(tmp_path, [sink], _coerce={"InstitutionName": "HERE"}) as port:
        await send(port, images())
        assert (await sink.next()).InstitutionName == "HERE"


async def test_a_change_that_raises_costs_only_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(dataset: Dataset) -> Dataset:
        if dataset.PatientID == "bad":
            raise KeyError("bad")
        return dataset

    monkeypatch.setattr("router.deidentify.deidentify", change)
    bad, good = images(PatientID="bad"), images()
    options = {"_change": "router.deidentify:deidentify", "attempts": 1}
    async with Sink("A") as sink, routing(tmp_path, [sink], **options) as port:
        await send(port, bad + good)
        assert uids([await sink.next()]) == uids(good)
    async with Outbox(tmp_path / "outbox") as outbox:
        assert [letter.sop_instance_uid for letter in await outbox.dead()] == [bad[0].SOPInstanceUID]


@pytest.mark.parametrize("by", ["the end of the association", "quiet"])
async def test_a_study_goes_when_it_is_complete(by: str, tmp_path: Path) -> None:
    study = images(3)
    more = {"quiet_after_end": 0.01, "quiet": 60.0} if by != "quiet" else {"quiet_after_end": 60.0, "quiet": 0.3}
    async with Sink("A") as sink, routing(tmp_path, [sink], _whole_studies=True, **more) as port:
        async with aiodimse.connect(
            HOST, port, called_ae_title="ROUTER", contexts=[sop_class.CTImageStorage]
        ) as association:
            for dataset in study:
                assert (await association.c_store(dataset)).status == 0
                assert sink.came.empty()
            if by == "quiet":
                assert uids(await sink.some(3)) == uids(study)
        if by != "quiet":
            assert uids(await sink.some(3)) == uids(study)


async def test_a_study_that_was_held_goes_after_a_restart(tmp_path: Path) -> None:
    study = images(2)
    async with Sink("A") as sink:
        async with routing(tmp_path, [sink], _whole_studies=True, quiet_after_end=60.0) as port:
            await send(port, study)
        assert sink.came.empty()
        async with routing(tmp_path, [sink], _whole_studies=True):
            assert uids(await sink.some(2)) == uids(study)


# --- what happens when they cannot ------------------------------------------------------------------------------------


async def test_an_outage_makes_no_dead_letters_and_the_outbox_has_a_bound(tmp_path: Path) -> None:
    sink, study = Sink("A"), images(4)
    sink.port = free_port()
    async with routing(tmp_path, [sink], most=3, attempts=1) as port:
        assert await send(port, study) == [0, 0, 0, 0xA700]
        assert await waiting(tmp_path) == 3
        async with sink:
            assert uids(await sink.some(3)) == uids(study[:3])
            async with asyncio.timeout(PATIENCE):
                while await send(port, study[3:]) != [0]:
                    pass
            assert uids([await sink.next()]) == uids(study[3:])
            await emptied(tmp_path)
    async with Outbox(tmp_path / "outbox") as outbox:
        assert (outbox.waiting, await outbox.dead()) == (0, [])


async def test_one_destination_that_is_away_does_not_hold_up_another(tmp_path: Path) -> None:
    gone, study = Sink("GONE"), images(3)
    gone.port = free_port()
    async with Sink("A") as sink, routing(tmp_path, [gone, sink]) as port:
        await send(port, study)
        assert uids(await sink.some(3)) == uids(study)
    assert await waiting(tmp_path) == 3


async def test_a_destination_that_dies_in_the_middle_gets_it_again(tmp_path: Path) -> None:
    sink, deaths = Sink("A"), 3

    @sink.server.authorize
    async def die(request: aiodimse.Request) -> bool:
        nonlocal deaths
        deaths -= 1
        if deaths >= 0:
            request.association.abort()
        return True

    study = images(4)
    async with sink, routing(tmp_path, [sink]) as port:
        assert await send(port, study) == [0] * 4
        await emptied(tmp_path)
    arrived = Counter(sink.came.get_nowait().SOPInstanceUID for _ in range(sink.came.qsize()))
    assert arrived.keys() == uids(study)


async def test_a_sender_that_goes_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    half = asyncio.Event()

    class Going(aiodimse.Instance):
        async def _stream(self) -> AsyncIterator[bytes]:
            yield b"\0" * 20_000
            half.set()
            await asyncio.get_running_loop().create_future()

        def stream(self) -> AsyncIterator[bytes]:
            return self._stream()

    async with Sink("A") as sink, routing(tmp_path, [sink]) as port:
        instance = Going(sop_class.CTImageStorage, "1.2.3", ExplicitVRLittleEndian)
        async with aiodimse.connect(
            HOST, port, called_ae_title="ROUTER", contexts=[sop_class.CTImageStorage]
        ) as association:
            task = asyncio.create_task(association.c_store(instance))
            await asyncio.wait_for(half.wait(), PATIENCE)
            association.abort()
            await asyncio.gather(task, return_exceptions=True)
        study = images()
        assert await send(port, study) == [0]
        assert uids([await sink.next()]) == uids(study)
        await emptied(tmp_path)
    assert [path.name for path in (tmp_path / "outbox").iterdir() if "outbox.db" not in path.name] == []


async def test_out_of_resources_is_waited_for(tmp_path: Path) -> None:
    answers = iter([0xA700, 0xA701, 0])
    async with Sink("A", lambda dataset: next(answers)) as sink, routing(tmp_path, [sink], attempts=1) as port:
        await send(port, images())
        await sink.some(3)
        await emptied(tmp_path)


async def test_a_refusal_ends_as_a_dead_letter_and_may_be_tried_again(tmp_path: Path) -> None:
    bad, good = images(PatientID="bad"), images()
    refusing = True
    sink = Sink("A", lambda dataset: 0xA900 if dataset.PatientID == "bad" and refusing else 0)
    async with sink:
        async with routing(tmp_path, [sink], attempts=1) as port:
            assert await send(port, bad + good) == [0, 0]
            assert uids(await sink.some(2)) == uids(bad + good)
            async with asyncio.timeout(PATIENCE), Outbox(tmp_path / "outbox") as outbox:
                while not await outbox.dead() or await waiting(tmp_path) != 1:
                    pass
        refusing = False
        toml = tmp_path / "router.toml"
        text = (
            f'folder = "{tmp_path / "outbox"}"\nrules = [{{ to = ["A"] }}]\n'
            f'[destinations.A]\nhost = "{HOST}"\nport = {sink.port}\n'
        )
        toml.write_text(text, encoding="utf-8")
        code, out = await ended(f"python -m router {toml} retry", tmp_path)
        assert (code, out.split("\t")[:2]) == (0, ["A", bad[0].SOPInstanceUID])
        async with routing(tmp_path, [sink]):
            assert uids([await sink.next()]) == uids(bad)
            await emptied(tmp_path)


# --- storage commitment -----------------------------------------------------------------------------------------------


async def test_a_destination_commits_what_it_has(tmp_path: Path) -> None:
    study = images(3)
    async with testing.FakeArchive() as archive, routing(tmp_path, [archive], _commit=True) as port:
        archive.destinations["ROUTER"] = (HOST, port)
        await send(port, study)
        await emptied(tmp_path)
        assert uids(archive.stored) == uids(study)
        assert "N-ACTION" in archive.requests


async def test_what_is_not_committed_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiodimse.outbox.deliveries._LONGEST_PAUSE", 0)
    sink, asked = Sink("A"), asyncio.Queue[commitment.CommitmentRequest]()

    @sink.server.on_n_action(commitment.SOP_CLASS)
    async def ask(request: aiodimse.NormalizedRequest) -> int:
        asked.put_nowait(commitment.CommitmentRequest.read(request))
        return 0

    context = aiodimse.PresentationContext(commitment.SOP_CLASS, scu=False, scp=True)
    async with sink, routing(tmp_path, [sink], _commit=True) as port:
        await send(port, images())
        for reason in (commitment.NO_SUCH_INSTANCE, 0):
            await sink.next()
            async with asyncio.timeout(PATIENCE):
                request = await asked.get()
            references = [commitment.Reference(e.sop_class_uid, e.sop_instance_uid, reason) for e in request.references]
            report = commitment.CommitmentReport(request.transaction_uid, tuple(references))
            async with aiodimse.connect(HOST, port, called_ae_title="ROUTER", contexts=[context]) as association:
                assert (await report.send(association)).status == 0
        await emptied(tmp_path)


async def test_a_sender_is_told_when_everything_has_arrived(tmp_path: Path) -> None:
    sender, told = aiodimse.Server(ae_title="CT1"), asyncio.Queue[commitment.CommitmentReport]()

    @sender.on_n_event_report(commitment.SOP_CLASS)
    async def hear(request: aiodimse.NormalizedRequest) -> int:
        told.put_nowait(commitment.CommitmentReport.read(request))
        return 0

    study, sink = images(2), Sink("A")
    sink.port = free_port()
    known = [commitment.Reference(sop_class.CTImageStorage, each.SOPInstanceUID) for each in study]
    unknown = commitment.Reference(sop_class.CTImageStorage, "1.2.3")
    request = commitment.CommitmentRequest(generate_uid(), (*known, unknown))
    async with sender.listen(HOST, 0) as listening:
        senders = {"CT1": aiodimse.Destination(HOST, listening.port)}
        async with routing(tmp_path, [sink], senders=senders) as port:
            await send(port, study)
            for calling, status in (("STRANGER", 0x0124), ("CT1", 0)):
                async with aiodimse.connect(
                    HOST, port, ae_title=calling, called_ae_title="ROUTER", contexts=[commitment.SOP_CLASS]
                ) as association:
                    assert (await request.send(association)).status == status
            assert told.empty()
            async with sink, asyncio.timeout(PATIENCE):
                report = await told.get()
    assert report.transaction_uid == request.transaction_uid
    assert [each.failure_reason for each in report.references] == [0, 0, commitment.NO_SUCH_INSTANCE]


async def test_a_sender_that_is_no_longer_configured_ends_nothing(tmp_path: Path) -> None:
    """It cannot be told of what it asked for, and is not asked about again after a restart."""
    async with Outbox(tmp_path / "outbox") as outbox:
        await outbox.asked(commitment.CommitmentRequest("2.1", (commitment.Reference("1.2", "1.3"),)), "GONE")
    async with Sink("A") as sink, routing(tmp_path, [sink]) as port:
        async with asyncio.timeout(PATIENCE):
            while await unanswered(tmp_path):
                pass
        assert await send(port, images()) == [0]
        await sink.next()


async def test_what_waits_for_a_destination_that_is_no_longer_configured_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Outbox(tmp_path / "outbox") as outbox:
        path = tmp_path / "outbox" / "1.dcm"
        path.write_bytes(b"an image")
        await outbox.put(path, sop_class.CTImageStorage, "1.2.3", "1.2", {"OLD": False})
    async with Sink("A") as sink, routing(tmp_path, [sink]):
        said = [record.getMessage() for record in caplog.records if record.name == "router"]
    assert said == ["OLD is not a destination any more, and 1 deliveries wait for it"]
    assert path.exists()


async def test_no_more_commitments_are_promised_than_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.router._MOST_UNANSWERED", 2)
    sink = Sink("A")
    sink.port = free_port()  # is away
    (image,) = images()
    references = (commitment.Reference(sop_class.CTImageStorage, image.SOPInstanceUID),)
    senders = {"CT1": aiodimse.Destination(HOST, free_port())}
    async with routing(tmp_path, [sink], senders=senders) as port:
        await send(port, [image])
        async with aiodimse.connect(
            HOST, port, ae_title="CT1", called_ae_title="ROUTER", contexts=[commitment.SOP_CLASS]
        ) as association:
            requests = [commitment.CommitmentRequest(f"2.{number}", references) for number in range(3)]
            statuses = [(await each.send(association)).status for each in requests]
    assert statuses == [0, 0, 0x0213]
    assert await unanswered(tmp_path) == 2


# --- the program ------------------------------------------------------------------------------------------------------


def configured(folder: Path, port: int, destinations: dict[str, int]) -> Path:
    path = folder / "router.toml"
    lines = [f'folder = "{folder / "outbox"}"', f"port = {port}", f"rules = [{{ to = {list(destinations)} }}]"]
    for title, to in destinations.items():
        lines += [f"[destinations.{title}]", f'host = "{HOST}"', f"port = {to}"]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Killed again and again, between two steps that are chosen at random; everything arrives everywhere."""
    chance, study, changes = random.Random(69), images(120), asyncio.Event()
    router: asyncio.subprocess.Process | None = None
    kills, countdown = 0, 5

    def step() -> None:
        """Something has happened; perhaps the last thing that it does."""
        nonlocal kills, countdown
        changes.set()
        countdown -= 1
        if countdown <= 0 and kills < 12 and router is not None and router.returncode is None:
            router.kill()
            kills, countdown = kills + 1, chance.randint(1, 30)

    def stored(dataset: Dataset) -> int:
        arrived[dataset.SOPInstanceUID] += 1
        step()
        return 0

    arrived: Counter[str] = Counter()
    acknowledged: set[str] = set()
    async with Sink("A", stored) as first, Sink("B", stored) as second, AsyncExitStack() as stack:
        port = free_port()
        path = configured(tmp_path, port, {"A": first.port, "B": second.port})

        async def run() -> asyncio.subprocess.Process:
            process = await stack.enter_async_context(started(f"python -m router {path}", tmp_path))
            assert process.stdout is not None
            assert await process.stdout.readline() == f"routes on port {port}\n".encode()
            return process

        left = list(study)
        async with asyncio.timeout(200):
            router = await run()
            while left:
                try:
                    async with aiodimse.connect(
                        HOST, port, called_ae_title="ROUTER", contexts=[sop_class.CTImageStorage]
                    ) as association:
                        while left:
                            assert (await association.c_store(left[0])).status == 0
                            acknowledged.add(left.pop(0).SOPInstanceUID)
                            step()
                except (aiodimse.AssociationError, OSError):
                    await router.wait()
                    router = await run()
            # What has arrived is noted a little later, of which no event tells.
            while await missing(first, second, acknowledged) or await waiting(tmp_path):
                changes.clear()
                over = asyncio.ensure_future(router.wait())
                news = asyncio.ensure_future(changes.wait())
                await asyncio.wait({over, news}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if router.returncode is not None:
                    router = await run()
                over.cancel()
            router.terminate()
            await router.wait()
    assert kills == 12
    assert acknowledged == uids(study)
    async with Outbox(tmp_path / "outbox") as outbox:
        await outbox.tidy(days=30)
        assert outbox.waiting == 0
        assert await outbox.dead() == []
    assert list((tmp_path / "outbox").glob("*.dcm")) == []


_SEEN: dict[Sink, set[str]] = {}


async def missing(first: Sink, second: Sink, acknowledged: set[str]) -> bool:
    """Whether one of the sinks has not got something yet."""
    for sink in (first, second):
        seen = _SEEN.setdefault(sink, set())
        while not sink.came.empty():
            seen.add(sink.came.get_nowait().SOPInstanceUID)
    return not all(acknowledged <= _SEEN[sink] for sink in (first, second))


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.stop()


@pytest.mark.interop
async def test_strangers(keeper: Keeper, tmp_path: Path) -> None:
    """From storescu to dcmqrscp and Orthanc; SIGTERM ends it when it has nothing more to do."""
    study = images(5)
    source = tmp_path / "source"
    source.mkdir()
    for dataset in study:
        dataset.save_as(source / f"{dataset.SOPInstanceUID}.dcm")
    archives = [keeper.start(kind) for kind in (DcmQRSCP, Orthanc)]
    port = free_port()
    path = configured(tmp_path, port, {archive.title: archive.port for archive in archives})
    find = sop_class.StudyRootQueryRetrieveInformationModelFind
    keys = {"StudyInstanceUID": study[0].StudyInstanceUID, "SeriesInstanceUID": study[0].SeriesInstanceUID}
    async with started(f"python -m router {path}", tmp_path) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        await storescu(port, sorted(source.iterdir()), called="ROUTER", code=0)
        for archive in archives:
            async with (
                asyncio.timeout(PATIENCE),
                aiodimse.connect(HOST, archive.port, called_ae_title=archive.title, contexts=[find]) as association,
            ):
                while True:
                    identifier = aiodimse.identifier("IMAGE", **keys, SOPInstanceUID=None)
                    if uids(await association.c_find(identifier, find).collect()) == uids(study):
                        break
        process.terminate()
        assert await process.wait() == 0


async def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    ports = {str(port): free_port() for port in (11112, 11113, 11114)}
    text = (EXAMPLES / "router" / "router.toml").read_text(encoding="utf-8")
    (tmp_path / "router.toml").write_text(changed(text, ports), encoding="utf-8")
    (tmp_path / "my_images").mkdir()
    (dataset,) = images()
    dataset.save_as(tmp_path / "my_images" / "1.dcm")
    instead = {**ports, "router/router.toml": tmp_path / "router.toml"}
    lines = [changed(line, instead) for line in commands("router")]
    _, _, _, make, pacs, research, export, router, store, dead = lines
    assert (await ended(make, tmp_path))[0] == 0
    async with AsyncExitStack() as stack:
        for line in (pacs, research, f"env {export.removeprefix('export ')} {router}"):
            process = await stack.enter_async_context(started(line, tmp_path))
            assert process.stdout is not None
            await process.stdout.readline()
        assert (await ended(store, tmp_path))[0] == 0
        await emptied(tmp_path)  # PACS has committed it
        assert await ended(dead, tmp_path) == (0, "")
    assert len(list((tmp_path / "pacs").rglob("*.dcm"))) == 1


async def test_what_it_cannot_use_is_told_in_a_line(tmp_path: Path) -> None:
    async with aiodimse.Server(ae_title="OTHER").listen("127.0.0.1", 0) as taken:
        text = f'folder = "outbox"\nport = {taken.port}\nrules = []\n[destinations]\n'
        (tmp_path / "router.toml").write_text(text, encoding="utf-8")
        for words, said in (("", "address already in use\n"), ("ded", "[dead | retry]\n")):
            code, out = await ended(f"python -m router router.toml {words}", tmp_path)
            assert (code, out.endswith(said), out.count("\n")) == (1, True, 1), out


def test_the_configuration(tmp_path: Path) -> None:
    config = msgspec.toml.decode((EXAMPLES / "router" / "router.toml").read_bytes(), type=Config)
    assert config.destinations["RESEARCH"].whole_studies
    assert config.senders["MR1"].port == 11115
    path = tmp_path / "router.toml"
    path.write_text('folder = "x"\nrules = [{ to = ["NOBODY"] }]\n[destinations]\n', encoding="utf-8")
    with pytest.raises(ValueError, match="NOBODY"):
        msgspec.toml.decode(path.read_bytes(), type=Config)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('change = "no_such_module:change"', "destinations.PACS: No module named 'no_such_module'"),
        ('change = "router.deidentify:no_such"', "destinations.PACS: .*no_such"),
        ('coerce = { InstitutionNam = "" }', "destinations.PACS: .*InstitutionNam"),
    ],
)
def test_a_change_that_cannot_be_made_is_told_at_the_start(line: str, said: str, tmp_path: Path) -> None:
    """Not with the first image, which then nobody could ever send."""
    path = tmp_path / "router.toml"
    path.write_text(f'folder = "x"\nrules = []\n[destinations.PACS]\nhost = "x"\nport = 1\n{line}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        msgspec.toml.decode(path.read_bytes(), type=Config).check()
