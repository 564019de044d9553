"""The conformance statement says of a server what an association with it shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiodimse
from aiodimse import conformance, sop_class, testing
from aiodimse.aio.settings import EndIdle
from aiodimse.archive import Archive, provide
from aiodimse.association import MAX_CONTEXTS
from aiodimse.cli import explain
from aiodimse.cli.main import main
from aiodimse.standard import transfer_syntax
from aiodimse.standard.service_class import STORAGE

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet


@pytest.fixture
async def archive_server(tmp_path: Path) -> AsyncIterator[aiodimse.Server]:
    server = aiodimse.Server(ae_title="ARCHIVE")
    async with await Archive.open(tmp_path) as archive:
        provide(server, archive)
        yield server


@pytest.fixture
def small_server() -> aiodimse.Server:
    server = aiodimse.Server(ae_title="SMALL", operations_window=(2, 5))

    @server.on_c_find(FIND, transfer_syntaxes=["1.2.840.10008.1.2"])
    async def find(request):
        yield 0xFF00, request.identifier

    @server.on_n_event_report(sop_class.StorageCommitmentPushModel)
    async def told(request):
        return 0x0000

    return server


@pytest.mark.parametrize("scp", [False, True], ids=["requestor is SCU", "requestor is SCP"])
async def test_the_classes_are_those_that_explain_sees(archive_server: aiodimse.Server, *, scp: bool) -> None:
    everything = [str(row) for row in sop_class.known() if row.commands]
    seen = set()
    for start in range(0, len(everything), MAX_CONTEXTS - 1):
        some = explain.contexts(everything[start : start + MAX_CONTEXTS - 1], scp=scp)
        async with testing.joined(
            archive_server, contexts=[sop_class.Verification, *some], storage=[]
        ) as peer:  # explain asks for the other role of storage classes alone
            seen |= {c.abstract_syntax for c in peer.contexts if (c.scp if scp else c.scu)}
    said = conformance.accepted(archive_server)
    if scp:
        assert {str(each.sop_class) for each in said if each.scu and each.sop_class.service_class == STORAGE} == seen
    else:
        assert {str(each.sop_class) for each in said if each.scp} == seen


async def test_each_transfer_syntax_is_accepted_alone(small_server: aiodimse.Server) -> None:
    said = {str(each.sop_class): each for each in conformance.accepted(small_server)}
    assert said.keys() == {FIND, sop_class.Verification, sop_class.StorageCommitmentPushModel}
    assert said[FIND].transfer_syntaxes == ("1.2.840.10008.1.2",)
    assert (said[FIND].scp, said[FIND].scu) == (True, False)
    assert (said[sop_class.StorageCommitmentPushModel].scp, said[sop_class.StorageCommitmentPushModel].scu) == (
        False,
        True,
    )
    for syntax in said[sop_class.Verification].transfer_syntaxes:
        context = aiodimse.PresentationContext(sop_class.Verification, [syntax])
        async with testing.joined(small_server, contexts=[context]) as association:
            assert association.contexts[0].transfer_syntax == syntax
    refused = next(uid for uid in transfer_syntax.NETWORK if uid not in said[FIND].transfer_syntaxes)
    with pytest.raises(aiodimse.NoAcceptedContext):
        async with testing.joined(small_server, contexts=[aiodimse.PresentationContext(FIND, [refused])]):
            pass


def test_the_statement_has_its_parts(small_server: aiodimse.Server) -> None:
    text = conformance.statement(small_server, name="Small", version="7")
    assert text.startswith("# DICOM conformance statement: Small 7\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## 1 Overview",
        "## 2 Networking",
        "## 3 Configuration",
        "## 4 Character sets",
        "## 5 Security",
    ]
    assert f"| {FIND.keyword} | `{FIND}` | B | SCP |" in text
    assert "| Operations at once, where the requestor negotiates them | 5 performed, 2 invoked |" in text
    assert "| C-FIND | `0xC311` | Failure |" in text
    assert "C-STORE" not in text


@pytest.mark.parametrize(
    ("end_idle", "idle", "artim", "words"),
    [
        (
            "abort",
            60.0,
            30.0,
            "Idle associations are aborted after 60.0 s; an A-ASSOCIATE-RQ has to come within 30.0 s.",
        ),
        (
            "release",
            5.0,
            1.0,
            "Idle associations are released after 5.0 s; an A-ASSOCIATE-RQ has to come within 1.0 s.",
        ),
        ("abort", None, None, "Idle associations are not ended; an A-ASSOCIATE-RQ may come at any time."),
    ],
)
def test_what_ends_an_idle_association(end_idle: EndIdle, idle: float | None, artim: float | None, words: str) -> None:
    server = aiodimse.Server(timeouts=aiodimse.Timeouts(idle=idle, artim=artim), end_idle=end_idle)
    assert words in conformance.statement(server)


def test_there_may_be_any_number_of_sets_of_transfer_syntaxes() -> None:
    server = aiodimse.Server()
    syntaxes = [str(row) for row in transfer_syntax.NETWORK[:30]]
    for number, row in enumerate(sop_class.STORAGE[:30]):

        @server.on_c_store(row, transfer_syntaxes=[syntaxes[number]])
        async def store(request: aiodimse.StoreRequest) -> int:
            return 0x0000

    text = conformance.statement(server)
    keyword = sop_class.STORAGE[29].keyword
    (letter,) = [line.split(" | ")[2] for line in text.splitlines() if line.startswith(f"| {keyword} |")]
    assert f"**{letter}**: " in text
    assert syntaxes[29] in text.partition(f"**{letter}**: ")[2].splitlines()[0]
    assert text.count("\n**") == 31  # and the one of Verification


def test_a_server_that_rejects_says_so() -> None:
    server = aiodimse.Server(accept_calling=["FRIEND"])
    with pytest.raises(aiodimse.LocalProtocolError, match="rejects an association of AIODIMSE"):
        conformance.statement(server)
    assert conformance.statement(server, calling_ae_title="FRIEND")


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--ae-title", "ARCHIVE"]) == 0
    assert "application entity, `ARCHIVE`" in capsys.readouterr().out
    assert main(["conformance", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sop_classes"]
    (get,) = [each for each in found if each["sop_class"] == GET]
    assert (get["keyword"], get["scp"], get["scu"]) == (GET.keyword, True, False)
