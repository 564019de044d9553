"""The audit trail of an application: events become messages, which wait for the sink in a bounded queue."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import Any

import aiodimse
from aiodimse.aio.interrupt import is_own_cancellation
from aiodimse.audit import message as m
from aiodimse.audit.syslog import Sink, frame
from aiodimse.datasets import encode_dataset
from aiodimse.record import record
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian

_log = logging.getLogger("aiodimse.audit")

_BATCH = 100


@record(frozen=True)
class TransferredStudy:
    """A study of which instances were transferred. PS3.15 A.5.3.7 demands the study and the patient."""

    study_instance_uid: str
    patient_id: str = field(repr=False)
    patient_name: str = field(default="", repr=False)
    """The name of the patient. The profile allows it and does not demand it."""
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    """The number of instances of each SOP class."""


class AuditTrail:
    """Reports events to a sink. Entering it reports that the application starts, leaving it that the application stops.

    Args:
        source_id: The identity of this system in the audit repository.
        sink: Where messages go: `FileSink`, `SyslogTLS`, or one of your own.
        ae_titles: The AE titles of the application.
        site_id: The site or enterprise, to make source_id unique.
        app_name: The name of the application.
        capacity: The number of messages that may wait. Further ones are dropped and counted in `dropped`; the log says
            so once for each outage.
        capacity_bytes: The number of bytes from which on no further message may wait. The peer chooses the length of
            a query: up to `Limits.identifier` and a third more.
        drain: Seconds that leaving waits for messages that have not been written.
        retry: Seconds to wait after the first, second, ... failure in a row. After further failures the last one is
            used.

    Raises:
        ValueError: `retry` is empty, or has a negative time.
    """

    def __init__(
        self,
        source_id: str,
        sink: Sink,
        *,
        ae_titles: Sequence[str] = (),
        site_id: str | None = None,
        app_name: str = "aiodimse",
        capacity: int = 10_000,
        capacity_bytes: int = 64 << 20,
        drain: float = 5.0,
        retry: Sequence[float] = (1.0, 2.0, 5.0, 10.0, 30.0),
    ) -> None:
        if not retry or min(retry) < 0:
            raise ValueError("retry needs at least one time, and no negative ones")
        self._source_id, self._sink, self._site_id, self._app_name = source_id, sink, site_id, app_name
        self._titles = tuple(ae_titles)
        self._capacity, self._capacity_bytes = capacity, capacity_bytes
        self._drain_seconds, self._retry = drain, tuple(retry)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._task: asyncio.Task[None] | None = None
        self._is_losing = False
        self.dropped: int = 0
        """The number of messages that were dropped because the queue was full."""

    @property
    def waiting(self) -> int:
        """The number of messages that the sink has not taken yet."""
        return len(self._waiting)

    async def __aenter__(self) -> AuditTrail:
        self._task = asyncio.create_task(self._write_all(), name="aiodimse audit")
        self._activity(m.APPLICATION_START)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._activity(m.APPLICATION_STOP)
        try:
            async with asyncio.timeout(self._drain_seconds):
                await self._is_empty.wait()
        except TimeoutError:
            _log.error("%d audit messages were not written", len(self._waiting))
        finally:
            assert self._task is not None
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._sink.close()

    # --- events -------------------------------------------------------------------------------------------------------

    def query(self, request: aiodimse.FindRequest, *, outcome: int = m.SUCCESS) -> None:
        """Report a C-FIND with its Identifier, which the profile demands (PS3.15 A.5.3.10).

        Args:
            request: The request, in its handler.
            outcome: 0: success, 4: minor failure, 8: serious failure, 12: major failure.
        """
        association = request.association
        concerned = m.ParticipantObject(
            request.sop_class_uid,
            m.SOP_CLASS_UID,
            type_code=2,
            role=3,
            query=encode_dataset(request.identifier, ExplicitVRLittleEndian),
            details={"TransferSyntax": ExplicitVRLittleEndian.encode("ascii")},
        )
        peer = _peer(association.calling_ae_title, association.peer_address, m.SOURCE, is_requestor=True)
        self._report(m.QUERY, "E", outcome, (peer, self._process(m.DESTINATION)), objects=(concerned,))

    def begin_transferring(self, destination: str, address: str | None, studies: Sequence[TransferredStudy]) -> None:
        """Report that a transfer to a peer begins, as of a C-MOVE (PS3.15 A.5.3.3): one message for each patient.

        Args:
            destination: The AE title of the peer.
            address: Its IP address; None if it is not known.
            studies: What is sent.
        """
        peer = _peer(destination, (address, 0) if address else None, m.DESTINATION)
        us = self._process(m.SOURCE, is_requestor=True)
        for objects in _by_patient(studies):
            self._report(m.BEGIN_TRANSFERRING, "E", m.SUCCESS, (us, peer), objects=objects)

    def instances_transferred(
        self,
        peer: str,
        address: str | None,
        studies: Sequence[TransferredStudy],
        *,
        received: bool,
        action: str = "C",
        outcome: int = m.SUCCESS,
    ) -> None:
        """Report that instances were transferred (PS3.15 A.5.3.7): one message for each patient.

        Args:
            peer: The AE title of the peer.
            address: Its IP address; None if it is not known.
            studies: What was transferred.
            received: Whether we received the instances. Otherwise we sent them.
            action: "C" if the receiver did not have the instances, "R" if it had the same, "U" if it had others.
            outcome: As for `query`.
        """
        theirs, ours = (m.SOURCE, m.DESTINATION) if received else (m.DESTINATION, m.SOURCE)
        participants = (
            _peer(peer, (address, 0) if address else None, theirs, is_requestor=received),
            self._process(ours, is_requestor=not received),
        )
        if not received:
            participants = participants[::-1]
        for objects in _by_patient(studies):
            self._report(m.INSTANCES_TRANSFERRED, action, outcome, participants, objects=objects)

    def security_alert(
        self,
        description: str,
        *,
        peer: str | None = None,
        address: str | None = None,
        event_type: m.Code = m.NODE_AUTHENTICATION,
        outcome: int = m.MINOR_FAILURE,
    ) -> None:
        """Report an event that concerns security (PS3.15 A.5.3.11).

        Args:
            description: What happened, without patient data.
            peer: The AE title or the name of the peer that caused the event.
            address: Its IP address.
            event_type: The type of the event; by default Node Authentication.
            outcome: As for `query`.
        """
        node = address or peer
        objects = () if node is None else (m.ParticipantObject(node, m.NODE_ID, type_code=2, role=13, name=peer),)
        self._report(
            m.SECURITY_ALERT,
            "E",
            outcome,
            (self._process(m.APPLICATION),),
            types=(event_type,),
            description=description,
            objects=objects,
        )

    def metrics(self, also: aiodimse.Metrics | None = None) -> aiodimse.Metrics:
        """Return hooks for `Server(metrics=...)` or `connect(metrics=...)` that report security alerts.

        They report associations that were rejected, and TLS handshakes in which the peers did not agree.

        Args:
            also: Hooks that get every event too.
        """
        return _Alerts(self, also)

    # --- from event to sink -------------------------------------------------------------------------------------------

    def _activity(self, kind: m.Code) -> None:
        self._report(m.APPLICATION_ACTIVITY, "E", m.SUCCESS, (self._process(m.APPLICATION),), types=(kind,))

    def _process(self, role: m.Code, *, is_requestor: bool = False) -> m.Participant:
        titles = f"AETITLES={';'.join(self._titles)}" if self._titles else None
        return m.Participant(self._app_name, (role,), is_requestor, alternative_user_id=titles)

    def _report(
        self,
        event: m.Code,
        action: str,
        outcome: int,
        participants: tuple[m.Participant, ...],
        *,
        types: tuple[m.Code, ...] = (),
        description: str | None = None,
        objects: tuple[m.ParticipantObject, ...] = (),
    ) -> None:
        now = datetime.now(UTC)
        message = m.Message(
            event, action, now, outcome, participants, self._source_id, types, description, self._site_id, objects
        )
        if len(self._waiting) >= self._capacity or self._waiting_bytes >= self._capacity_bytes:
            self.dropped += 1
            if not self._is_losing:
                self._is_losing = True
                _log.error("%d audit messages wait, and no more are taken", len(self._waiting))
            return
        framed = frame(message.xml(), now, app_name=self._app_name)
        self._waiting.append(framed)
        self._waiting_bytes += len(framed)
        self._is_empty.clear()
        self._wake.set()

    async def _write_all(self) -> None:
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = list(islice(self._waiting, _BATCH))
                try:
                    await self._sink.write(batch)
                except (Exception, asyncio.CancelledError) as error:
                    # A sink of the application may have faults, or await what others have cancelled. Its text may quote
                    # a message.
                    if is_own_cancellation(error):
                        raise
                    if not failures:
                        _log.error("audit messages cannot be written: %s", type(error).__name__)
                    await asyncio.sleep(self._retry[min(failures, len(self._retry) - 1)])
                    failures += 1
                    continue
                if failures:
                    _log.warning("audit messages are written again")
                failures, self._is_losing = 0, False
                for each in batch:
                    self._waiting.popleft()
                    self._waiting_bytes -= len(each)
            self._is_empty.set()


class _Alerts:
    """Metrics hooks: a rejected association, and a TLS handshake that failed, are reported as security alerts."""

    def __init__(self, trail: AuditTrail, also: aiodimse.Metrics | None) -> None:
        self._trail, self._also = trail, also

    def __getattr__(self, name: str) -> Any:
        """Return a hook of aiodimse.DetailedMetrics, if `also` has it."""
        return getattr(self.__dict__["_also"], name)

    def association_opened(self, association: aiodimse.MeasuredAssociation) -> None:
        if self._also is not None:
            self._also.association_opened(association)

    def association_ended(self, association: aiodimse.MeasuredAssociation, how: str, seconds: float) -> None:
        if self._also is not None:
            self._also.association_ended(association, how, seconds)

    def association_failed(self, association: aiodimse.MeasuredAssociation, how: str) -> None:
        if how in ("rejected", "tls"):
            who = "we rejected an association" if association.role == "acceptor" else "our association was rejected"
            address = association.peer_address[0] if association.peer_address else None
            peer = association.calling_ae_title if association.role == "acceptor" else association.called_ae_title
            what = who if how == "rejected" else "a TLS handshake failed"
            self._trail.security_alert(what, peer=peer or None, address=address)
        if self._also is not None:
            self._also.association_failed(association, how)

    def operation_ended(
        self, association: aiodimse.MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        if self._also is not None:
            self._also.operation_ended(association, service, side, status, seconds)


def _peer(title: str, address: tuple[str, int] | None, role: m.Code, *, is_requestor: bool = False) -> m.Participant:
    where = address[0] if address else None
    return m.Participant(where or title, (role,), is_requestor, f"AETITLES={title}", where)


def _by_patient(studies: Sequence[TransferredStudy]) -> list[tuple[m.ParticipantObject, ...]]:
    """Group the studies by patient, each group with its patient: a message names one (PS3.15 A.5.3.3, A.5.3.7)."""
    patients: dict[str, list[TransferredStudy]] = {}
    for study in studies:
        patients.setdefault(study.patient_id, []).append(study)
    return [
        (
            *(
                m.ParticipantObject(
                    each.study_instance_uid, m.STUDY_UID, type_code=2, role=3, sop_classes=each.sop_classes
                )
                for each in its
            ),
            m.ParticipantObject(patient_id, m.PATIENT_NUMBER, type_code=1, role=1, name=its[-1].patient_name),
        )
        for patient_id, its in patients.items()
    ]
