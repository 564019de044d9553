"""pynetdicom, the Python peer: a provider over a list of files, and blocking users to be called in a thread.

received = await asyncio.to_thread(store, port, [path], called="ARCHIVE")
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from interop.samples import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from pydicom import Dataset, dcmread
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context, build_role

HOST = "127.0.0.1"
UNCOMPRESSED = [EXPLICIT_LE, IMPLICIT_LE]
EVERY_SYNTAX = [
    EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE, EXPLICIT_BE,
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)), "1.2.840.10008.1.2.5",
]  # fmt: skip
Result = tuple[int, Dataset | None]
"""A response: its status, and its data set where it had one."""


class _Checkpoint(threading.Event):
    """Where the thread of an association pauses while another one sends on it and awaits the response.

    pynetdicom's own one has a race: a send may take the thread for paused that has been let go on by the send before,
    and has not begun to. That thread then takes the response, and says "Received unexpected C-STORE service message".
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association
        self.set()

    def clear(self) -> None:
        super().clear()
        if threading.current_thread() is not self._association:  # which may send, too, in a handler
            self._association._is_paused = False  # until it says so anew

    def wait(self, timeout: float | None = None) -> bool:
        while not self.is_set():
            self._association._is_paused = True
            super().wait()
        return True


def _with_checkpoint(init: Callable[..., None]) -> Callable[..., None]:
    @wraps(init)
    def made(self: Association, *arguments: Any, **more: Any) -> None:
        init(self, *arguments, **more)
        self._reactor_checkpoint = _Checkpoint(self)

    return made


Association.__init__ = _with_checkpoint(Association.__init__)


def _titled(title: str) -> AE:
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 60
    return ae


# --- users ------------------------------------------------------------------------------------------------------------
@contextmanager
def association(
    port: int, contexts: Iterable[tuple[str, Sequence[str]]], *, called: str = "ANY-SCP", **more: Any
) -> Iterator[Association]:
    """An established association; whatever the body does, it is released or aborted and its thread has ended."""
    ae = _titled("PYNETDICOM")
    assoc = ae.associate(
        HOST, port, contexts=[build_context(uid, list(ts)) for uid, ts in contexts], ae_title=called, **more
    )
    try:
        assert assoc.is_established, f"pynetdicom could not associate with port {port}: {assoc}"
        yield assoc
        if assoc.is_established:
            assoc.release()
    finally:
        if assoc.is_alive():
            assoc.abort()
        assoc.join(10)


def echo(port: int, *, called: str = "ANY-SCP") -> int:
    with association(port, [("1.2.840.10008.1.1", UNCOMPRESSED)], called=called) as assoc:
        return int(assoc.send_c_echo().Status)


def store(port: int, paths: Iterable[Path], *, called: str = "ANY-SCP", **more: Any) -> list[int]:
    """Store files as they are: each in its own transfer syntax. One status for each."""
    heads = [(path, dcmread(path, stop_before_pixels=True)) for path in paths]
    wanted = {(str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for _, ds in heads}
    with association(port, [(uid, [ts]) for uid, ts in sorted(wanted)], called=called, **more) as assoc:
        return [int(assoc.send_c_store(dcmread(path)).Status) for path, _ in heads]


def _collect(responses: Iterator[tuple[Dataset, Dataset | None]]) -> list[Result]:
    return [(int(status.Status), identifier) for status, identifier in responses if "Status" in status]


def find(port: int, sop_class: str, identifier: Dataset, *, called: str = "ANY-SCP", **more: Any) -> list[Result]:
    with association(port, [(sop_class, UNCOMPRESSED)], called=called, **more) as assoc:
        return _collect(assoc.send_c_find(identifier, sop_class))


def get(
    port: int,
    sop_class: str,
    identifier: Dataset,
    storage: Mapping[str, Sequence[str]],
    *,
    called: str = "ANY-SCP",
    answer: int = 0x0000,
) -> tuple[list[Result], dict[str, bytes]]:
    """The responses, and the data set of each instance as it came. storage: SOP class -> transfer syntaxes we take."""
    received: dict[str, bytes] = {}

    def stored(event: evt.Event) -> int:
        received[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return answer

    contexts = [(sop_class, UNCOMPRESSED), *storage.items()]
    roles = [build_role(uid, scp_role=True) for uid in storage]
    with association(port, contexts, called=called, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, stored)]) as assoc:
        return _collect(assoc.send_c_get(identifier, sop_class)), received


def move(port: int, sop_class: str, identifier: Dataset, destination: str, *, called: str = "ANY-SCP") -> list[Result]:
    with association(port, [(sop_class, UNCOMPRESSED)], called=called) as assoc:
        return _collect(assoc.send_c_move(identifier, destination, sop_class))


# --- provider ---------------------------------------------------------------------------------------------------------
class NetdicomSCP:
    """A provider of verification, storage and query/retrieve over a list of files, in threads of its own.

    It takes every transfer syntax as it is. C-FIND answers each file's header at whatever level was asked; C-GET and
    C-MOVE send every file. destinations: AE title -> port. sent: SOP classes beside pynetdicom's list of storage that
    it stores and sends. .received: SOP Instance UID -> data set bytes.
    """

    title = "NETDICOM"

    def __init__(
        self,
        paths: Sequence[Path] = (),
        destinations: Mapping[str, int] | None = None,
        query: Iterable[str] = (),
        retrieve: Iterable[str] = (),
        handlers: Mapping[Any, Callable[[evt.Event], Any]] | None = None,
        sent: Iterable[str] = (),
    ) -> None:
        self.paths, self.destinations = list(paths), dict(destinations or {})
        self.received: dict[str, bytes] = {}
        self.requests: list[Dataset] = []
        ae = _titled(self.title)
        ae.maximum_associations = 50
        ae.add_supported_context("1.2.840.10008.1.1", UNCOMPRESSED)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax or "", EVERY_SYNTAX, scu_role=True, scp_role=True)
        for uid in (*query, *retrieve):
            ae.add_supported_context(uid, UNCOMPRESSED)
        for uid in sent:
            ae.add_supported_context(uid, EVERY_SYNTAX, scu_role=True, scp_role=True)
        bound = {
            evt.EVT_C_ECHO: lambda event: 0x0000,
            evt.EVT_C_STORE: self._store,
            evt.EVT_C_FIND: self._find,
            evt.EVT_C_GET: self._get,
            evt.EVT_C_MOVE: self._move,
            **(handlers or {}),
        }
        self._server = ae.start_server((HOST, 0), block=False, evt_handlers=list(bound.items()))
        assert self._server is not None
        self.port = int(self._server.socket.getsockname()[1])
        self._ae = ae

    def stop(self) -> None:
        self._ae.shutdown()

    def _store(self, event: evt.Event) -> int:
        self.received[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0x0000

    def _find(self, event: evt.Event) -> Iterator[Result]:
        self.requests.append(event.identifier)
        for path in self.paths:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            header = dcmread(path, stop_before_pixels=True)
            answer = Dataset()
            if "SpecificCharacterSet" in header:
                answer.SpecificCharacterSet = header.SpecificCharacterSet
            for element in event.identifier:
                answer[element.tag] = header.get(element.tag, element)
            yield 0xFF00, answer

    def _files(self, event: evt.Event) -> Iterator[Any]:
        self.requests.append(event.identifier)
        yield len(self.paths)
        for path in self.paths:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, dcmread(path)

    def _get(self, event: evt.Event) -> Iterator[Any]:
        yield from self._files(event)

    def _move(self, event: evt.Event) -> Iterator[Any]:
        port = self.destinations.get(str(event.move_destination).strip())
        if port is None:
            yield None, None
            return
        syntaxes = {
            (str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID))
            for ds in (dcmread(path, stop_before_pixels=True) for path in self.paths)
        }
        yield HOST, port, {"contexts": [build_context(uid, ts) for uid, ts in sorted(syntaxes)]}
        yield from self._files(event)


def encoded(dataset: Dataset) -> bytes:
    """The data set as Explicit VR Little Endian, to compare what came with what should have."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def uid(value: str) -> UID:
    return UID(value)
