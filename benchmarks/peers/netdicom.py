"""pynetdicom with its defaults: a provider of C-ECHO, C-STORE and C-FIND, or a user of C-FIND and C-STORE."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification  # type: ignore[attr-defined]

from benchmarks.peers import answers
from benchmarks.peers.commands import files_in, go, options, run_commands

OPTIONS = options()
FIND = StudyRootQueryRetrieveInformationModelFind


def serve() -> int:
    """Start the provider in its own threads."""
    ae = AE("NETDICOM")
    # With the default, 10 associations at once, the row would only measure refusals.
    ae.maximum_associations = int(OPTIONS.get("max_associations", 10))
    ae.add_supported_context(Verification)
    ae.add_supported_context(FIND)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax or "")

    count, making = int(OPTIONS.get("find", 0)), OPTIONS.get("making")
    matches = [] if making else answers.prepared(count)

    def on_find(event: Any) -> Any:
        for number in range(count):
            yield 0xFF00, answers.match(number) if making else matches[number]

    handlers: list[Any] = [(evt.EVT_C_STORE, lambda event: 0x0000), (evt.EVT_C_FIND, on_find)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    assert server.socket is not None
    return int(server.socket.getsockname()[1])


async def find(port: int) -> dict[str, Any]:
    """Send a C-FIND, and check every match."""
    started = time.perf_counter()
    ae = AE("NETDICOM")
    ae.add_requested_context(FIND)
    association = ae.associate("127.0.0.1", port)
    if not association.is_established:
        raise ConnectionError("no association")
    right = number = 0
    for status, match in association.send_c_find(answers.identifier(), FIND):
        if match is not None and status.Status in (0xFF00, 0xFF01):
            right += answers.is_right(match, number)
            number += 1
    association.release()
    return {"seconds": time.perf_counter() - started, "done": right if right == number else -1}


async def store(port: int, folder: str) -> dict[str, Any]:
    """Send every file of a folder by C-STORE."""
    started = time.perf_counter()
    ae = AE("NETDICOM")
    paths = files_in(Path(folder))
    ae.add_requested_context(dcmread(paths[0], stop_before_pixels=True).SOPClassUID)
    association = ae.associate("127.0.0.1", port)
    if not association.is_established:
        raise ConnectionError("no association")
    statuses: Counter[int] = Counter()
    for path in paths:
        statuses[association.send_c_store(path).get("Status", -1)] += 1
    association.release()
    return {"seconds": time.perf_counter() - started, "done": statuses[0]}


async def main() -> None:
    port = serve() if OPTIONS.get("serve") else 0
    await run_commands({"find": find, "store": store}, port=port)


if __name__ == "__main__":
    go(main)
