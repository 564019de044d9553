"""Every deadline and every limit, with an explanation. None of them is global: each association has its own."""

from __future__ import annotations

from aiodimse.record import record


@record(frozen=True, kw_only=True)
class Timeouts:
    """Deadlines in seconds; None waits forever. A deadline is absolute: bytes that trickle in do not renew it.

    Raises:
        ValueError: A value is not a time.
    """

    connect: float | None = 30.0
    """Requestor: for DNS, TCP, TLS and the association negotiation together."""
    tls_handshake: float | None = 10.0
    """For the TLS handshake alone, on either side."""
    artim: float | None = 30.0
    """Acceptor: from the transport connection to the complete A-ASSOCIATE-RQ (ARTIM, PS3.8 9.1.5)."""
    close: float | None = 10.0
    """After our A-ASSOCIATE-RJ or A-RELEASE-RP: the time that the peer has to close the connection (ARTIM, Sta13)."""
    close_after_abort: float | None = 1.0
    """The same as `close`, after our A-ABORT."""
    pdu: float | None = 30.0
    """While a PDU or a message is incomplete: in each period of this length the peer must complete it or send at least
    Limits.min_rate."""
    write_stall: float | None = 30.0
    """While bytes wait to be written: in each period of this length the peer must take all of them or at least
    Limits.min_rate. It also bounds the rest of a message that is half sent when the peer's A-RELEASE-RQ arrives."""
    consumer: float | None = 300.0
    """While reading is paused because received data are not consumed: in each period of this length some must be."""
    response: float | None = 60.0
    """From a request to its response. Each Pending response and each sub-operation renews it. Not used for C-MOVE."""
    move_response: float | None = None
    """The same as `response`, for C-MOVE, whose Pending responses are optional (PS3.4 C.4.2.3.1)."""
    move_settle: float | None = 5.0
    """After the final response to a C-MOVE with a receiver: the time that the instances it counted have to arrive."""
    destination_place: float | None = 600.0
    """Provider of C-MOVE: how long a C-MOVE waits for one of the Limits.associations_per_destination."""
    search: float | None = 60.0
    """Archive: how long one search may work. The time that it waits for its turn or for the peer does not count."""
    release: float | None = 10.0
    """From our A-RELEASE-RQ to the peer's A-RELEASE-RP. Also how long a release waits at most, before its A-RELEASE-RQ,
    for the final responses to operations that were left."""
    idle: float | None = 60.0
    """Acceptor: an association with no operation open and no bytes arriving is ended after this time."""
    cancel_drain: float | None = 10.0
    """From the leaving of an operation, or our C-CANCEL-RQ, to its final response. After it the association is
    aborted."""
    handler_close: float = 5.0
    """How long a cancelled handler may take to end. After it the final response is sent without the handler."""
    server_drain: float = 30.0
    """While a server ends: how long its associations may take to end. Also how long handlers may run after the peer's
    A-RELEASE-RQ."""
    drain_idle: float | None = 2.0
    """While a server ends: an association that has had no operation for this time is ended."""
    transcode: float | None = 60.0
    """For decoding or encoding one frame of compressed pixels. After it the instance cannot be sent."""
    authenticate: float | None = 10.0
    """For the authenticate and on_associate hooks together."""

    def __post_init__(self) -> None:
        _check(self, 0, {})


@record(frozen=True, kw_only=True)
class Limits:
    """Bounds on what a peer can make us keep. All sizes are in bytes.

    Raises:
        ValueError: A value is not a valid bound.
    """

    # GPRS at its worst (one slot, CS-1) has 1,100 bytes a second. It may lose 20 of 30 s to retransmissions and pass.
    min_rate: int = 256
    """Bytes a second that a peer must send while a PDU or a message is incomplete, averaged over each Timeouts.pdu, and
    must take while bytes wait to be written, averaged over each Timeouts.write_stall."""

    max_pdu_length: int = 262144
    """The largest variable field of a P-DATA-TF PDU that we receive, announced to the peer (PS3.8 D.1): 128 or more;
    0 is no limit."""
    max_send_pdu_length: int = 131072
    """The largest variable field that we send, even if the peer would take more or announced no limit (0)."""
    # 128 contexts with all 57 transfer syntaxes each take 200 KiB. A user identity may have two fields of 64 KiB.
    associate_pdu_length: int = 1 << 19
    """The largest A-ASSOCIATE-RQ or A-ASSOCIATE-AC."""
    command_set: int = 65536
    """The largest command set."""
    empty_fragments: int = 64
    """Empty fragments in one message, which PS3.8 E.1 allows. The last ones of command and data set are not counted."""
    overhead: int = 4096
    """A budget for work that achieves nothing. It is counted in fragments of fewer than 64 bytes that do not end their
    command set or data set; a request that no handler sees, and a C-CANCEL of nothing, count as four. The count falls
    by one for each KiB received, by eight for each request performed and by 64 for each second. An association whose
    count exceeds this is ended."""
    identifier: int = 1 << 20
    """The largest Identifier: the data set of a DIMSE-C request or response other than C-STORE, after inflating."""
    # A film of 14 by 17 inches at 300 dots an inch and 12 bits has 40 MiB; one image box of it has far less.
    normalized_dataset: int = 32 << 20
    """The largest data set of a DIMSE-N request or response, for example a print image. One data set may be in memory
    even if it is larger than `requests_in_memory`."""
    # The densest long data set that is legal lists instances for Storage Commitment: an item and two UIDs in about 100
    # bytes each (PS3.4 J.3.2). A full Identifier has 30,000 elements and items; reading one element costs 20 us.
    identifier_elements: int = 32768
    """Elements and items, at any depth, in an Identifier or in the data set of a DIMSE-N request or response."""
    requests_in_memory: int = 4 << 20
    """Bytes of the open requests of one association together, without C-STORE data sets. A request above is refused."""
    dataset_depth: int = 64
    """How deep sequences may nest in a data set that we decode."""
    dataset_in_memory: int = 1 << 30
    """The largest data set that is read into memory: by request.dataset(), or to be sent in another encoding."""
    # A mebibyte of zeros that was deflated inflates to a gibibyte, and decoding it takes twice that.
    inflated_in_memory: int = 128 << 20
    """The same as `dataset_in_memory`, for a deflated data set after inflating. To be sent or saved as it is, or
    re-encoded from a file, a data set is not in memory."""
    payloads_in_memory: int = 128 << 20
    """Bytes of the data sets that a server has in memory to send, for all sub-operations of C-GET and C-MOVE: those
    that are re-encoded and are too small for that to be done in pieces, or are not files, and the frames of those whose
    pixels are converted. A data set beyond the limit waits; one that is itself larger is sent alone."""
    # Empty elements of this number take 1 GiB and 20 s of a thread. A segmentation of 50,000 frames has some 3 million.
    dataset_elements: int = 1 << 22
    """Elements, items and fragments in a data set that request.dataset() decodes, at any depth."""
    deflate_ratio: int = 1032
    """How many times larger than its bytes an inflated data set may be (1032 is the most that Deflate can do)."""
    operations: int = 64
    """What we take an operations window of 0 (unlimited) to mean."""
    waiting_requests: int = 4
    """Requests beyond the operations window that are read and wait. While so many wait, nothing more is read."""
    write_backlog: int = 1 << 20
    """Bytes that wait to be written. Above this, reading pauses."""
    max_associations: int = 100
    """Associations of a server at a time, over all its listeners. A further one is rejected with 2/3/2."""
    max_associations_per_peer: int | None = None
    """The same as `max_associations`, for one peer address."""
    search_responses: int = 100_000
    """Matches of one C-FIND to an archive."""
    associations_per_destination: int = 4
    """Associations of a server to one move destination at a time, for all C-MOVEs. A further C-MOVE waits."""
    files_per_association: int = 64
    """File descriptors that the requests of one association may need at a time: a C-STORE needs one, a C-GET two, and a
    C-MOVE three with its association to the destination. A request beyond the limit is refused with A700."""
    max_pending_connections: int = 1000
    """Connections of a server without an association: not yet, or no longer. Above this, the oldest is closed."""
    # 32 KiB for each connection. An A-ASSOCIATE-RQ of 128 contexts with six transfer syntaxes each has 25 KiB.
    pending_bytes: int = 32 << 20
    """Bytes of incomplete PDUs and of TLS handshakes on the connections without an association together. Above this,
    the connection with the most bytes is closed."""
    tls_handshakes: int = 100
    """TLS handshakes of a server at a time, over all its listeners. A further one waits, for a second at most."""

    def __post_init__(self) -> None:
        _check(self, 1, _LEAST)


SMALLEST_MAXIMUM_LENGTH = 128
"""The smallest maximum length that we accept from a peer or announce. Below it a message is mostly headers."""

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
    # Annotations are strings here, because of `from __future__ import annotations`.
    for name, kind in type(values).__annotations__.items():
        value, bound = getattr(values, name), least.get(name, otherwise)
        if (value is None and kind.endswith("None")) or (type(value) is int and value == _NO_LIMIT.get(name)):
            continue
        is_number = isinstance(value, (int, float) if kind.startswith("float") else int) and not isinstance(value, bool)
        if not is_number or not value >= bound:  # `not >=`, so that nan is refused
            raise ValueError(f"{type(values).__name__}.{name} is {kind}, {bound} or more: not {value!r}")
