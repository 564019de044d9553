"""Every service with the canary in data sets, in files, in the texts of exceptions and comments; and no log has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from privacy.conftest import ID, NAME, PASSWORD, Log, instance, patient, save_as
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, provide
from aiodimse.pdu import UserIdentityRequest

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
MPPS = sop_class.ModalityPerformedProcedureStep
CT = sop_class.CTImageStorage
CONTEXTS = [sop_class.Verification, FIND, GET, MOVE, MPPS]


class Unreadable(aiodimse.Instance):
    """An instance of the handler's own, which says of whom it cannot be read."""

    def __init__(self, error: Exception) -> None:
        super().__init__(CT, "1.2.3.9", ExplicitVRLittleEndian)
        self._error = error

    def stream(self) -> Any:
        raise self._error


UNREADABLE = (
    aiodimse.InstanceConflict(f"that of {NAME}"),
    aiodimse.DatasetEncodeError(f"no room for {NAME}"),
    aiodimse.DatasetDecodeError(f"no name but {NAME}"),
    aiodimse.NoAcceptedContext(f"none for {NAME}"),
)


def failing() -> dict[str, Any]:
    """What a handler does wrong, with the patient in it: an exception is raised, anything else yielded or returned."""
    no_number = instance()
    no_number.add_new("Rows", "US", NAME)
    return {
        "raises": ValueError(f"cannot do {NAME}"),
        "raises from": _chained(),
        "is in conflict": aiodimse.InstanceConflict(f"not the series of {NAME}"),
        "cannot decode": aiodimse.DatasetDecodeError(f"no name but {NAME}"),
        "fails": aiodimse.DIMSEFailure(0xA700, f"no room for {NAME}"),
        "fails with no status": aiodimse.DIMSEFailure(0xFF00, NAME),
        "cannot find": FileNotFoundError(2, "no such file"),
        "a text": NAME,
        "a text for a status": (NAME, patient()),
        "a text for a data set": (0xFF00, NAME),
        "no encoding": (0xFF00, no_number),
        "a status with a comment": patient(Status=0xA700, ErrorComment=NAME),
        "a data set": patient(),
        "an object": instance(),
        "too much": (0xFF00, patient(), NAME),
        "nothing": None,
        "no file": Path("not-there.dcm"),
        **{f"an instance with {type(error).__name__}": (0xFF00, Unreadable(error)) for error in UNREADABLE},
    }


def _chained() -> ValueError:
    try:
        try:
            raise KeyError(ID)
        except KeyError as error:
            raise ValueError(NAME) from error
    except ValueError as error:
        return error


FAILING = failing()


def does(what: Any) -> Any:
    if isinstance(what, BaseException):
        raise what
    return what


def serving(what: Any, *, first: tuple[Any, ...] = (), moves: Any = None, **options: Any) -> aiodimse.Server:
    """A server whose handlers all do that, generators after what comes first; for C-MOVE it may have another one."""
    server = aiodimse.Server(ae_title="ARCHIVE", **options)

    async def answers(request: Any) -> Any:
        if hasattr(request, "discard"):
            await request.discard()
        return does(what)

    async def yields(request: Any) -> AsyncIterator[Any]:
        for each in first:
            yield each
        yield does(what)

    for register in (server.on_c_echo, server.on_c_store, server.on_n_create, server.on_n_set):
        register(answers)
    for register in (server.on_c_find, server.on_c_get):
        register(yields)
    server.on_c_move(moves or yields)
    return server


async def ask_for_all(server: aiodimse.Server, **options: Any) -> None:
    """Each service once, with the patient in each data set."""
    async with testing.joined(server, contexts=[CT], **options) as association:
        await association.c_store(instance())
    async with testing.joined(server, contexts=CONTEXTS, storage=[CT], **options) as association:
        await association.c_echo()
        await association.c_find(patient(), FIND)
        await association.n_create(MPPS, "1.2.3", patient())
        await association.n_set(MPPS, "1.2.3", patient())
        await association.c_move(patient(), MOVE, destination="VIEWER")
        await association.c_get(patient(), GET)


@pytest.mark.parametrize("name", FAILING)
async def test_handlers(name: str, log: Log) -> None:
    await ask_for_all(serving(FAILING[name]))
    assert log.lines("association: 6 of 6")


@pytest.mark.parametrize("name", FAILING)
async def test_retrievals_half_way(name: str, log: Log) -> None:
    async with viewer() as (network, port):
        server = serving(
            FAILING[name],
            first=(3, (0xFF00, instance(7))),
            moves=_after(FAILING[name], ("viewer", port), 3, instance(8)),
            environment=aiodimse.Environment(network=network),
        )
        await ask_for_all(server, network=network)
    assert log.lines("association ended")


def _after(what: Any, *first: Any) -> Callable[[Any], Any]:
    async def yields(request: Any) -> AsyncIterator[Any]:
        for each in first:
            yield each
        yield does(what)

    return yields


class viewer:
    """A destination in memory that fails every second object, and says the patient's name."""

    def __init__(self) -> None:
        self.network, self.count = testing.MemoryNetwork(), 0
        server = aiodimse.Server(ae_title="VIEWER")
        self.listening = server.listen(network=self.network)

        @server.on_c_store
        async def store(request: Any) -> Any:
            await request.dataset()
            self.count += 1
            if self.count % 2:
                raise aiodimse.DIMSEFailure(0xA700, NAME)
            return 0x0000

    async def __aenter__(self) -> tuple[testing.MemoryNetwork, int]:
        listening = await self.listening.__aenter__()
        return self.network, listening.port

    async def __aexit__(self, *how: Any) -> None:
        await self.listening.__aexit__(*how)


# --- levels and fields ------------------------------------------------------------------------------------------------


async def test_an_unknown_destination_is_no_error_of_the_handler(log: Log) -> None:
    await ask_for_all(serving(None))
    (line,) = log.lines("the move destination is not known")
    assert (line.levelno, line.name) == (logging.INFO, "aiodimse.retrieve")
    assert "destination VIEWER" in line.getMessage()


async def test_a_failure_that_a_handler_raises_is_information(log: Log) -> None:
    await ask_for_all(serving(FAILING["fails"]))
    lines = log.lines("raised DIMSEFailure: 0xA700")
    assert len(lines) == 7
    assert {line.levelno for line in lines} == {logging.INFO}
    assert log.lines("", logging.WARNING) == []


async def test_each_line_has_its_association_and_message(log: Log) -> None:
    """Two associations at once, and nobody has to guess."""
    server = serving(FAILING["raises"])
    network = testing.MemoryNetwork()
    async with (
        testing.joined(server, contexts=CONTEXTS, network=network, ae_title="CT1") as first,
        testing.joined(server, contexts=CONTEXTS, network=network, ae_title="MR 1") as second,
    ):
        for association in (first, second, first):
            await association.c_find(patient(), FIND)
    lines = log.lines("raised ValueError at")
    names = [line.association for line in lines]  # type: ignore[attr-defined]
    assert names[0] == names[2] != names[1]
    assert [line.message_id for line in lines] == [1, 1, 2]  # type: ignore[attr-defined]
    for line, title in zip(lines, ("CT1", "MR 1", "CT1"), strict=True):
        fields = vars(line)
        assert (fields["calling"], fields["called"]) == (title, "ARCHIVE")
        assert fields["peer"].startswith("127.0.0.1:")
        prefix = f"[{fields['association']} {title}@{fields['peer']}] the handler of C-FIND-RQ "
        assert line.getMessage().startswith(prefix)
        assert line.filename == "handler_run.py"  # where it was logged, not the adapter


async def test_the_store_association_of_a_c_move_says_whose_it_is(log: Log) -> None:
    network = testing.MemoryNetwork()
    peers = await testing.ScriptedPeer.listen(network, 104)
    moves = _after(instance(), ("viewer", 104), 1)
    server = serving(None, moves=moves, environment=aiodimse.Environment(network=network))

    async def move(association: aiodimse.Association) -> aiodimse.Response:
        return await association.c_move(patient(), MOVE, destination="VIEWER")

    async with testing.joined(server, contexts=[MOVE], network=network, ae_title="CT1") as association:
        moving = asyncio.ensure_future(move(association))
        viewer = await peers.get()
        await viewer.accept()
        await viewer.read_message()
        viewer.send(b"\x99" * 6)
        assert (await moving).status == 0xA702
    (line,) = log.lines("aborted the association 2/1")
    child, parent = line.association, line.parent  # type: ignore[attr-defined]
    assert line.getMessage().startswith(f"[{child} VIEWER@127.0.0.1:104 for {parent}] ")
    (line,) = log.lines(f"stores over {child} with VIEWER at viewer:104, ")
    assert (line.levelno, line.name) == (logging.INFO, "aiodimse.retrieve")
    fields = vars(line)
    assert (fields["association"], fields["message_id"], fields["parent"]) == (parent, 1, None)
    assert (fields["calling"], fields["called"]) == ("CT1", "ARCHIVE")


async def test_lines_of_a_handler(log: Log) -> None:
    """request.logger(): a program's own lines say which association too."""
    server, mine = aiodimse.Server(ae_title="ARCHIVE"), logging.getLogger("my.archive")

    @server.on_associate
    async def associate(request: Any) -> None:
        request.logger(mine).info("who is it?")

    @server.on_c_find(FIND)
    async def find(request: Any) -> AsyncIterator[Any]:
        request.logger(mine).info("asked by %s", "somebody", extra={"study": "1.2"})
        yield 0x0000, None

    async with testing.joined(server, contexts=[FIND]) as association:
        await association.c_find(patient(), FIND)
    first, second = (line for line in log.records if line.name == "my.archive")
    assert first.getMessage().endswith("] who is it?")
    assert second.getMessage().endswith("] asked by somebody")
    assert (second.message_id, second.study) == (1, "1.2")  # type: ignore[attr-defined]
    assert first.association == second.association  # type: ignore[attr-defined]
    assert second.filename == Path(__file__).name


# --- hooks, secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["authenticate", "on_associate", "authorize"])
@pytest.mark.parametrize("name", ["raises", "raises from", "fails", "fails with no status", "cannot find"])
async def test_hooks(hook: str, name: str, log: Log) -> None:
    server = serving(0x0000)

    @getattr(server, hook)
    async def ask(*asked: Any) -> Any:
        raise FAILING[name]

    if hook == "authorize":
        await ask_for_all(server)
    else:
        with pytest.raises(aiodimse.AssociationRejected):
            await ask_for_all(server)
    assert log.lines("rejecting" if hook != "authorize" else "refused")


@pytest.mark.parametrize("identity_type", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("verdict", [True, False, PASSWORD, "raises"])
async def test_user_identities(identity_type: int, verdict: Any, log: Log) -> None:
    server = serving(0x0000)

    @server.authenticate
    async def authenticate(identity: Any, request: Any) -> Any:
        logging.getLogger("my.program").debug("%s %r %s", identity, identity, request)
        return does(FAILING["raises"] if verdict == "raises" else verdict)

    secrets = PASSWORD, PASSWORD if identity_type == 2 else b""
    identity = UserIdentityRequest(identity_type, True, *secrets)
    try:
        async with testing.joined(server, contexts=[FIND], user_identity=identity) as association:
            logging.getLogger("my.program").debug("%r %r", association, association.negotiated)
    except aiodimse.AssociationRejected:
        assert verdict in (False, "raises")
    assert log.lines("")


# --- values that pydicom cannot read ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
async def test_values_that_a_handler_reads(log: Log) -> None:
    """pydicom would check a value when it is read, and log what it does not like."""
    server, read = aiodimse.Server(ae_title="ARCHIVE"), []

    @server.on_c_store
    async def store(request: Any) -> int:
        dataset = await request.dataset()
        read.extend(element.value for element in dataset)
        return 0x0000

    @server.on_c_find
    async def find(request: Any) -> AsyncIterator[Any]:
        read.extend(element.value for element in request.identifier)
        yield 0xFF00, request.identifier

    async with testing.joined(server, contexts=[CT, FIND]) as association:
        assert (await association.c_store(instance())).status == 0x0000
        matches = await association.c_find(patient(StudyInstanceUID="1.2"), FIND).collect()
        assert matches[0].PatientName == NAME
        assert matches[0].InstanceNumber == "ZEISIG"
    assert NAME in map(str, read)
    assert [record for record in log.records if record.name == "pydicom" and record.levelno > logging.DEBUG] == []


# --- files ------------------------------------------------------------------------------------------------------------


def damaged(path: Path) -> Path:
    """The canary's file, cut in the middle of an element."""
    save_as(
        instance(9, PatientComments=NAME * 20), path, implicit_vr=False, little_endian=True, enforce_file_format=False
    )
    data = path.read_bytes()
    path.write_bytes(data[:-15])
    return path


async def test_files(tmp_path: Path, log: Log) -> None:
    """An archive of a sound file and a damaged one, filled, asked and emptied."""
    folder, fetched = tmp_path / "archive", tmp_path / "fetched"
    for each in (folder, fetched):
        each.mkdir()
    sound = instance(1, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1", StudyDate="20240101")
    sound.file_meta = FileMetaDataset()
    sound.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    save_as(sound, folder / "sound.dcm", implicit_vr=False, little_endian=True, enforce_file_format=True)
    archive = await Archive.open(folder, index="memory:")
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    query = patient(QueryRetrieveLevel="STUDY", StudyInstanceUID="")
    async with testing.joined(server, contexts=[CT]) as association:
        await association.c_store(instance(2))  # without a study: it cannot be found
        await association.c_store(folder / "sound.dcm")
        await association.c_store(damaged(tmp_path / "damaged.dcm"))  # read without its preamble, and sent as it is
    async with testing.joined(server, contexts=CONTEXTS, storage=[CT]) as association:
        assert len(await association.c_find(query, FIND).collect()) <= 1
        one = Dataset()
        one.QueryRetrieveLevel, one.StudyInstanceUID = "STUDY", "1.2"
        async with association.c_get(one, GET) as retrieval:
            async for found in retrieval:
                await found.save(fetched)
        await association.c_get(query, GET)
        with pytest.raises(aiodimse.DIMSEFailure):
            async for _ in association.c_get(one, GET):
                pass  # neither saved nor read
    assert log.lines("was not saved, read, or discarded")
