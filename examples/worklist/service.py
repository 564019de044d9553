"""The handlers: worklist, performed procedure steps, instance availability."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from pydicom import Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import IdentifierError, KeyAttributes

from .steps import begun, changed, scheduled
from .tables import SUPPORTED, Tables

WORKLIST = sop_class.ModalityWorklistInformationModelFind
MPPS = sop_class.ModalityPerformedProcedureStep
AVAILABILITY = sop_class.InstanceAvailabilityNotification
NO_SUCH_INSTANCE = aiodimse.Reply(0x0112)


def server(ae_title: str, tables: Tables) -> aiodimse.Server:
    """Make a server that offers these services over the tables."""
    server = aiodimse.Server(ae_title=ae_title)

    @server.on_c_echo
    async def echo(request: aiodimse.EchoRequest) -> int:
        return 0x0000

    @server.on_c_find(WORKLIST)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[tuple[int, Dataset]]:
        try:
            keys = KeyAttributes(request.identifier, SUPPORTED)
        except IdentifierError as error:
            raise aiodimse.DIMSEFailure(
                error.status, error.comment, offending_elements=error.offending_elements
            ) from None

        def matches() -> list[Dataset]:
            return [match for step in tables.steps() if (match := keys.answer(step)) is not None]

        for match in await asyncio.to_thread(matches):
            yield keys.status, match

    @server.on_n_create(MPPS)
    async def create(request: aiodimse.NormalizedRequest) -> aiodimse.Reply:
        step, uid = request.dataset, request.sop_instance_uid
        if step is None or not uid:
            return aiodimse.Reply(0x0120, error_comment="a step needs attributes and a UID")
        if (refused := begun(step)) is not None:
            return refused
        is_new = await asyncio.to_thread(tables.create, uid, step.to_json(), scheduled(step))
        return aiodimse.Reply(0x0000 if is_new else 0x0111)

    @server.on_n_set(MPPS)
    async def change(request: aiodimse.NormalizedRequest) -> aiodimse.Reply:
        uid = request.sop_instance_uid or ""
        while (found := await asyncio.to_thread(tables.read, uid)) is not None:
            step = Dataset.from_json(found[1])
            if (refused := changed(step, request.dataset or Dataset())) is not None:
                return refused
            status = str(step.PerformedProcedureStepStatus)
            if await asyncio.to_thread(tables.change, uid, found[1], status, step.to_json(), scheduled(step)):
                return aiodimse.Reply()
        return NO_SUCH_INSTANCE

    @server.on_n_create(AVAILABILITY)
    async def available(request: aiodimse.NormalizedRequest) -> aiodimse.Reply:
        try:
            rows = list(_instances(request.dataset or Dataset()))
        except AttributeError:  # pydicom raises it for a missing attribute
            return aiodimse.Reply(0x0120, error_comment="an attribute of PS3.4 Table R.3.2-1 is missing")
        await asyncio.to_thread(tables.note, rows)
        return aiodimse.Reply()

    return server


def _instances(notification: Dataset) -> Iterator[dict[str, str]]:
    """Yield the availability of each instance of an Instance Availability Notification (PS3.4 R.3.2)."""
    for series in notification.ReferencedSeriesSequence:
        for instance in series.ReferencedSOPSequence:
            yield {
                "sop_instance_uid": str(instance.ReferencedSOPInstanceUID),
                "study_instance_uid": str(notification.StudyInstanceUID),
                "availability": str(instance.InstanceAvailability),
                "retrieve_ae_title": str(instance.RetrieveAETitle),
            }
