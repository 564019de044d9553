"""Every deadline and every limit, with a sentence each. Nothing here is global: each association carries its own."""

from __future__ import annotations

from aiodimse.record import record


@record(frozen=True, kw_only=True)
class Timeouts:
    """Deadlines in seconds; None waits for ever. Each is absolute: a trickle of bytes does not renew it.

    Raises ValueError for what is no time.
    """

    connect: float | None = 30.0
    """Requestor: DNS, TCP, TLS and ACSE negotiation together."""
    tls_handshake: float | None = 10.0
    """The TLS handshake alone, on either side."""
    artim: float | None = 30.0
    """Acceptor: from the transport connection to the complete A-ASSOCIATE-RQ (PS3.8 9.1.5)."""
    close: float | None = 10.0
    """After our A-ASSOCIATE-RJ or A-RELEASE-RP: how long the peer may take to close the connection (ARTIM, Sta13)."""
    close_after_abort: float | None = 1.0
    """The same after our A-ABORT."""
    pdu: float | None = 30.0
    """In the middle of a PDU or of a message, each span of this length must bring its end, or Limits.min_rate."""
    write_stall: float | None = 30.0
    """While bytes wait to be written, in each such span the peer must take all of them, or Limits.min_rate. Also from
    its A-RELEASE-RQ to the end of a message that is half sent."""
    consumer: float | None = 300.0
    """While reading is paused because data are not consumed, some must be within each span of this length."""
    response: float | None = 60.0
    """From a request to its response; renewed by each Pending response and each sub-operation. Not for C-MOVE."""
    move_response: float | None = None
    """The same for C-MOVE, whose Pending responses are optional (PS3.4 C.4.2.3.1)."""
    move_settle: float | None = 5.0
    """After the final response to a C-MOVE with a receiver: how long the instances that it counted may take to come."""
    destination_place: float | None = 600.0
    """Provider of C-MOVE: how long one may wait for one of Limits.associations_per_destination."""
    search: float | None = 60.0
    """Archive: how long one search may work; waiting for its turn and for the peer is not counted."""
    release: float | None = 10.0
    """From our A-RELEASE-RQ to the peer's A-RELEASE-RP."""
    idle: float | None = 60.0
    """Acceptor: an established association with no operation open and no bytes coming is ended after this."""
    cancel_drain: float | None = 10.0
    """From our C-CANCEL-RQ to the final response; past it the association is aborted."""
    handler_close: float = 5.0
    """How long a cancelled handler may take to end before its final response is sent without it."""
    server_drain: float = 30.0
    """Leaving a server: how long its associations may take to end; and how long handlers may after an A-RELEASE-RQ."""
    drain_idle: float | None = 2.0
    """Leaving a server: an association that has had no operation for so long is ended."""
    transcode: float | None = 60.0
    """To decode or encode one frame of compressed pixels; past it the instance cannot be sent."""
    authenticate: float | None = 10.0
    """How long the authenticate and on_associate hooks may take together."""

    def __post_init__(self) -> None:
        _check(self, 0, {})


@record(frozen=True, kw_only=True)
class Limits:
    """Bounds on what a peer can make us hold; all sizes in bytes. Raises ValueError for what is no bound."""

    # 1,100 bytes a second is GPRS at its worst (one slot, CS-1): it may lose 20 of 30 s to retransmissions and live.
    min_rate: int = 256
    """Bytes a second that a peer must send in the middle of a PDU or of a message, counted over each Timeouts.pdu, and
    take while some wait to be written, over each Timeouts.write_stall."""

    max_pdu_length: int = 262144
    """The largest P-DATA-TF variable field that we take, announced to the peer (PS3.8 D.1): 128 or more; 0 is no
    limit."""
    max_send_pdu_length: int = 131072
    """The largest that we send, whatever the peer would take (0, no limit, included)."""
    # 128 contexts with each of the 57 transfer syntaxes take 200 KiB; a user identity may have 64 KiB twice.
    associate_pdu_length: int = 1 << 19
    """The largest A-ASSOCIATE-RQ or -AC."""
    command_set: int = 65536
    """The largest command set."""
    empty_fragments: int = 64
    """Empty fragments in one message, the last ones of its command and data set not counted; PS3.8 E.1 allows them."""
    overhead: int = 4096
    """Work that brings nothing, counted in fragments of under 64 bytes that do not end their command set or data set; a
    request that no handler sees, and a C-CANCEL for nothing, are four each. So many above one for each KiB received,
    eight for each request performed and 64 for each second end the association."""
    identifier: int = 1 << 20
    """The largest Identifier, the data set of a DIMSE-C request or response but for C-STORE; of others, inflated."""
    # A film of 14 by 17 inches at 300 dots an inch, 12 bits deep, has 40 MiB; one image box of it far less.
    normalized_dataset: int = 32 << 20
    """The largest data set of a DIMSE-N request or response, such as a print image. One may be in memory though it is
    larger than `requests_in_memory`."""
    # The densest that is legal and long: instances for Storage Commitment, each an item and two UIDs in 100 bytes or so
    # (PS3.4 J.3.2). A full Identifier has 30,000 of the three; an element that the handler looks at costs 20 us.
    identifier_elements: int = 32768
    """Elements and items in an Identifier, or in another such data set, at any depth."""
    requests_in_memory: int = 4 << 20
    """Bytes of the requests of one association that are open at once, C-STORE data not counted; one more is refused."""
    dataset_depth: int = 64
    """How deep sequences may nest in a data set that we decode."""
    dataset_in_memory: int = 1 << 30
    """The largest data set that is read into memory: by request.dataset(), or to be sent in another encoding."""
    payloads_in_memory: int = 128 << 20
    """Bytes of data sets that a server has in memory to send them, for all sub-operations of C-GET and C-MOVE: what is
    encoded anew and too small, or no file, to be re-encoded piece by piece. One more waits; a larger one goes alone."""
    # All empty, they take 1 GiB of memory and 20 s of a thread. A segmentation of 50,000 frames has some 3 million.
    dataset_elements: int = 1 << 22
    """Elements, items and fragments in a data set that request.dataset() decodes, at any depth."""
    deflate_ratio: int = 1032
    """How many times larger than its bytes a deflated data set may become (1032 is what Deflate can do)."""
    operations: int = 64
    """What an operations window of 0, unlimited, means to us."""
    waiting_requests: int = 4
    """Requests beyond the operations window that are read, and wait; behind one more nothing is read meanwhile."""
    write_backlog: int = 1 << 20
    """Bytes waiting to be written above which we stop reading."""
    max_associations: int = 100
    """Associations of a server at once, over all its listenings; one more is rejected 2/3/2."""
    max_associations_per_peer: int | None = None
    """The same for one peer address."""
    search_responses: int = 100_000
    """Matches of one C-FIND of an archive."""
    associations_per_destination: int = 4
    """Associations of a server to one move destination at once, for all C-MOVEs; one more waits."""
    files_per_association: int = 64
    """File descriptors that the requests of one association may need at once: a C-STORE one, a C-GET two, and a C-MOVE
    three, its association to the destination included; a request beyond them is refused with A700."""
    max_pending_connections: int = 1000
    """Connections of a server that have not associated yet, or have and linger; over it the oldest is closed."""
    # 32 KiB for each of those: an A-ASSOCIATE-RQ of 128 contexts with six transfer syntaxes each has 25.
    pending_bytes: int = 32 << 20
    """Bytes of PDUs that are not whole and of TLS handshakes, on these connections together; over it the one with the
    most is closed."""
    tls_handshakes: int = 100
    """TLS handshakes of a server at a time, over all its listenings; the next one waits, for a second at most."""

    def __post_init__(self) -> None:
        _check(self, 1, _LEAST)


SMALLEST_MAXIMUM_LENGTH = 128
"""The least maximum length with which we talk, on either side: under it a message is mostly headers."""

_LEAST = {
    "min_rate": 0,
    "max_pdu_length": SMALLEST_MAXIMUM_LENGTH,
    "max_send_pdu_length": SMALLEST_MAXIMUM_LENGTH,
    "empty_fragments": 0,
    "dataset_depth": 0,
    "waiting_requests": 0,
}
_NO_LIMIT = {"max_pdu_length": 0}


def _check(values: Timeouts | Limits, otherwise: int, least: dict[str, int]) -> None:
    # Annotations are text here, by the import from __future__.
    for name, kind in type(values).__annotations__.items():
        value, bound = getattr(values, name), least.get(name, otherwise)
        if (value is None and kind.endswith("None")) or (type(value) is int and value == _NO_LIMIT.get(name)):
            continue
        is_number = isinstance(value, (int, float) if kind.startswith("float") else int) and not isinstance(value, bool)
        if not is_number or not value >= bound:  # nan is not, either
            raise ValueError(f"{type(values).__name__}.{name} is {kind}, {bound} or more: not {value!r}")
