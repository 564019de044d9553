"""The service class user: Association, whose methods are the operations that a program invokes."""

from __future__ import annotations

import logging
from typing import overload

from aiodimse.aio.endpoint import Endpoint
from aiodimse.association import Negotiated
from aiodimse.pdu import AcceptedContext
from aiodimse.services.instance import InstanceSource
from aiodimse.services.invocation import negotiated_on
from aiodimse.services.open_moves import MoveReceiver
from aiodimse.services.response import Identifier, Response
from aiodimse.services.user import storage, verification
from aiodimse.services.user.normalized import NormalizedOperations
from aiodimse.services.user.opening import release
from aiodimse.services.user.query import Find
from aiodimse.services.user.received_move import ReceivedMove
from aiodimse.services.user.requested import RequestedAssociation
from aiodimse.services.user.retrieve import Get, Move


class Association(NormalizedOperations):
    """An association that we requested. connect() makes it; every operation of it is a method.

    Operations raise NoAcceptedContext and DatasetEncodeError before anything is sent, and LocalProtocolError if their
    own task holds what they would have to wait for. They raise AssociationTimeout with phase response after
    Timeouts.response seconds (C-MOVE: Timeouts.move_response), and AssociationAborted or AssociationClosed if the
    association has ended. A cancelled await leaves the operation: the association waits for its response for at most
    Timeouts.cancel_drain seconds, and then aborts. If the await is cancelled in the middle of the request, the
    association is aborted at once, because half a message cannot be taken back.
    """

    def __init__(self, endpoint: Endpoint, observer: RequestedAssociation) -> None:
        self._endpoint, self._observer = endpoint, observer

    def __repr__(self) -> str:
        return f"<Association {self._endpoint!r}>"

    # --- what was agreed ----------------------------------------------------------------------------------------------

    @property
    def negotiated(self) -> Negotiated:
        """The result of the negotiation."""
        return negotiated_on(self._endpoint)

    @property
    def contexts(self) -> tuple[AcceptedContext, ...]:
        """The accepted presentation contexts."""
        return tuple(self.negotiated.contexts.values())

    def logger(self, logger: logging.Logger) -> logging.LoggerAdapter[logging.Logger]:
        """Return a logger for lines about this association. They begin with its name, and have it as fields.

        Args:
            logger: The logger to which the lines go.
        """
        return self._endpoint.logger(logger)

    # --- services -----------------------------------------------------------------------------------------------------

    async def c_echo(self) -> Response:
        """Ask the peer whether it answers (C-ECHO, PS3.7 9.1.5, PS3.4 A).

        Returns:
            The response, whatever its status.

        Raises:
            NoAcceptedContext: Verification was not accepted. Nothing was sent.
            AssociationError: The association ended, or no response came within Timeouts.response seconds.

        Cancellation: The association waits for the response by itself.
        """
        return await verification.c_echo(self._endpoint)

    async def c_store(
        self,
        instance: InstanceSource,
        *,
        priority: int = 0,
        move_originator_ae_title: str | None = None,
        move_originator_message_id: int | None = None,
        transcode: bool | None = None,
    ) -> Response:
        """Send one instance (C-STORE, PS3.7 9.1.1, PS3.4 B).

        It uses the context with the stored transfer syntax. If the peer did not accept that, the instance is converted
        to another one without loss: re-encoded, decompressed or losslessly recompressed
        (docs/how-to/compressed-images.md).

        Args:
            instance: The path of a file, a pydicom Dataset, or an Instance. A file is streamed, never read whole.
            priority: 0 medium, 1 high, 2 low.
            move_originator_ae_title: The AE title that requested the C-MOVE of which this is a sub-operation.
            move_originator_message_id: The Message ID of that C-MOVE.
            transcode: Whether compressed pixels may be decompressed or recompressed; None: as given to connect().

        Returns:
            The response, whatever its status.

        Raises:
            NotDICOM: The file is not a DICOM file. Nothing was sent.
            OSError: The file cannot be read.
            NoAcceptedContext: The peer accepts the SOP class in no possible transfer syntax. Nothing was
                sent.
            DatasetEncodeError: The data set cannot be encoded, or its pixels cannot be decoded. Nothing was sent.
            DatasetDecodeError: The data set is damaged, and would have to be encoded again. Nothing was sent.
            AssociationError: The association ended, or no response came within Timeouts.response seconds. The stream of
                the instance is then closed, unless nothing was read of it: the instance may then be sent on another
                association. A disk that hangs holds only one thread of the library's pool.

        Cancellation: In the middle of the request, the association is aborted, because half a message cannot be taken
            back. After the request, the association waits for the response by itself.
        """
        return await storage.c_store(
            self._endpoint,
            instance,
            priority=priority,
            move_originator_ae_title=move_originator_ae_title,
            move_originator_message_id=move_originator_message_id,
            transcode=transcode,
        )

    def c_find(self, identifier: Identifier, sop_class_uid: str | None = None, *, priority: int = 0) -> Find:
        """Query for matches of an Identifier (C-FIND, PS3.7 9.1.2, PS3.4 C.4.1).

        Args:
            identifier: A pydicom Dataset, as from aiodimse.identifier(), or an EncodedDataset.
            sop_class_uid: The SOP class of the model; None if only one accepted context has a C-FIND.
            priority: 0 medium, 1 high, 2 low.

        Returns:
            The operation, to enter, iterate, await or collect. Nothing is sent before, and the exceptions of all
            operations (see Association) are raised there. So is LocalProtocolError if the SOP class is None and several
            accepted contexts have a C-FIND; it names them.

        Examples:
            >>> async with association.c_find(aiodimse.identifier("STUDY", PatientID="42")) as matches:
            ...     async for match in matches:
            ...         print(match.StudyInstanceUID)
        """
        return Find(self._endpoint, identifier, sop_class_uid, priority)

    def c_get(
        self,
        identifier: Identifier,
        sop_class_uid: str | None = None,
        *,
        priority: int = 0,
        allow_incomplete: bool = False,
    ) -> Get:
        """Retrieve instances on this association (C-GET, PS3.7 9.1.3, PS3.4 C.4.3).

        Only one C-GET runs at a time, because its C-STORE sub-operations do not name their C-GET.

        Args:
            identifier: As for c_find.
            sop_class_uid: As for c_find.
            priority: 0 medium, 1 high, 2 low.
            allow_incomplete: Do not raise IncompleteRetrieval when the iteration ends; progress and
                failed_sop_instance_uids of the operation have the failures.

        Returns:
            The operation. Iterating it yields the instances as they arrive. At its end the iteration raises
            DIMSEFailure if the final status is a Failure, and IncompleteRetrieval if sub-operations failed.

        Raises:
            LocalProtocolError: Another C-GET runs on this association.
        """
        observer = self._observer
        observer.check_no_other()
        return Get(
            self._endpoint,
            identifier,
            sop_class_uid,
            priority=priority,
            allow_incomplete=allow_incomplete,
            association=observer.association,
            on_start=observer.retrieve,
        )

    @overload
    def c_move(
        self,
        identifier: Identifier,
        sop_class_uid: str | None = None,
        *,
        destination: str,
        priority: int = 0,
        allow_incomplete: bool = False,
        receiver: None = None,
    ) -> Move: ...

    @overload
    def c_move(
        self,
        identifier: Identifier,
        sop_class_uid: str | None = None,
        *,
        destination: str,
        priority: int = 0,
        allow_incomplete: bool = False,
        receiver: MoveReceiver,
    ) -> ReceivedMove: ...

    def c_move(
        self,
        identifier: Identifier,
        sop_class_uid: str | None = None,
        *,
        destination: str,
        priority: int = 0,
        allow_incomplete: bool = False,
        receiver: MoveReceiver | None = None,
    ) -> Move | ReceivedMove:
        """Ask the peer to send instances to an AE title (C-MOVE, PS3.7 9.1.4, PS3.4 C.4.2).

        Args:
            identifier: The instances to send, as c_find.
            sop_class_uid: The SOP class of the model, as c_find.
            destination: The AE title of the destination; the peer has to know its address.
            priority: 0 medium, 1 high, 2 low.
            allow_incomplete: As for c_get.
            receiver: A Server of ours that listens under that AE title, in this event loop. The operation then yields
                the instances, as c_get does. The server accepts every storage SOP class meanwhile.

        Returns:
            The operation, to enter, iterate or await. Nothing is sent or raised before. Without a receiver, iterating
            yields the Progress of each Pending response. It ends as the iteration of c_get does.
        """
        if receiver is None:
            return Move(
                self._endpoint,
                identifier,
                sop_class_uid,
                destination=destination,
                priority=priority,
                allow_incomplete=allow_incomplete,
            )
        return ReceivedMove(
            self._endpoint,
            identifier,
            sop_class_uid,
            destination=destination,
            priority=priority,
            allow_incomplete=allow_incomplete,
            receiver=receiver,
        )

    def can_store(self, instance: InstanceSource) -> bool:
        """Return whether c_store can send this instance: whether the peer accepts a suitable context.

        For a path, this reads the beginning of the file, and blocks. On a slow disk use `await
        asyncio.to_thread(association.can_store, path)`.

        Args:
            instance: As for c_store.

        Raises:
            NotDICOM: The file is not a DICOM file.
            OSError: The file cannot be read.
            DatasetEncodeError: The Dataset lacks a UID that says what it is.
        """
        return storage.can_store(self._endpoint, instance)

    # --- the end ------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The association is established and has not ended."""
        return self._endpoint.is_open

    @property
    def open_operations(self) -> int:
        """Our operations without a final response, including those that were left and still wait for it."""
        return len(self._endpoint.invoker)

    async def release(self) -> None:
        """Release the association (A-RELEASE, PS3.8 7.2), and wait for the connection to close.

        It first waits for operations that were left: until Timeouts.cancel_drain seconds after each was left, and for
        Timeouts.release seconds at most. It does nothing if the association has ended.

        Raises:
            AssociationTimeout: An operation that was left did not end in time, or the answer did not come within
                Timeouts.release seconds; the association was aborted.
            AssociationAborted: The peer aborted, or the connection was lost.
            LocalProtocolError: The association belongs to another event loop, as with every operation.

        Cancellation: The association is aborted.
        """
        await release(self._endpoint)

    def abort(self) -> None:
        """Abort the association at once (A-ABORT, PS3.8 7.3). Operations that run raise AssociationAborted.

        Raises:
            LocalProtocolError: The association belongs to another event loop. Use
                `loop.call_soon_threadsafe(association.abort)` of that loop.
        """
        self._endpoint.abort()

    async def wait_closed(self) -> None:
        """Wait until the transport connection is gone.

        Cancellation: It has no effect on the association.
        """
        await self._endpoint.wait_closed()
