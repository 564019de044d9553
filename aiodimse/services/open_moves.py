"""Our C-MOVEs whose instances arrive at a server of ours, and which C-STORE belongs to which of them."""

from __future__ import annotations

import random
from collections.abc import Container
from typing import Protocol

from aiodimse.aio.performer import PerformedOperation
from aiodimse.dimse.messages import CStoreRQ
from aiodimse.services.association import ProviderAssociation


class OpenMove(Protocol):
    """A C-MOVE of ours whose instances arrive at a receiver."""

    originator: str
    """Our AE title on the association of the C-MOVE."""

    @property
    def message_id(self) -> int:
        """The Message ID of the C-MOVE."""

    @property
    def is_over(self) -> bool:
        """Whether no more instances of it are expected."""

    def asked(self, association: ProviderAssociation) -> bool:
        """Return whether the requestor of an association is the peer to which the C-MOVE was sent."""

    def offer(self, performed: PerformedOperation, association: ProviderAssociation) -> None:
        """Take a sub-operation, and answer it."""


class OpenMoves:
    """The open moves of one receiver. It is false while there are none."""

    def __init__(self) -> None:
        self._moves: list[OpenMove] = []

    def __len__(self) -> int:
        self._moves = [move for move in self._moves if not move.is_over]
        return len(self._moves)

    def new_message_id(self, originator: str, taken: Container[int]) -> int:
        """Return a random Message ID that no other open move of an AE title has.

        Every association counts its messages from 1. Without random numbers two moves to one AE title could not be
        distinguished.

        Args:
            originator: Our AE title on the association of the C-MOVE.
            taken: Message IDs that are open on that association.
        """
        ours = {move.message_id for move in self._moves if move.originator == originator and not move.is_over}
        while True:
            message_id = random.randint(1, 65535)
            if message_id not in ours and message_id not in taken:
                return message_id

    def add(self, move: OpenMove) -> None:
        """Expect the instances of a move until it is over."""
        self._moves.append(move)

    def discard(self, move: OpenMove) -> None:
        """Forget a move that was not started."""
        if move in self._moves:
            self._moves.remove(move)

    def find(self, request: CStoreRQ, association: ProviderAssociation) -> OpenMove | None:
        """Return the move that a C-STORE belongs to (PS3.7 9.1.1.1.6 and 9.1.1.1.7); None if it belongs to none.

        A C-STORE without a Move Originator belongs to the open move of the peer that sends it, if there is exactly one.
        """
        title, message_id = request.move_originator_ae_title, request.move_originator_message_id
        moves = [move for move in self._moves if not move.is_over]
        if title is None and message_id is None:
            moves = [move for move in moves if move.asked(association)]
            return moves[0] if len(moves) == 1 else None
        for move in moves:
            if move.message_id == message_id and move.originator == title:
                return move
        return None


class MoveReceiver(Protocol):
    """The type of `c_move(receiver=)`: a `Server` that listens under the AE title of the move destination."""

    @property
    def open_moves(self) -> OpenMoves:
        """The moves whose instances arrive at it."""
