"""The table of cases. The expected answers are written as `case` describes. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from aiodimse.testing.hostile import wire as w
from aiodimse.testing.hostile.case import NEEDS, OVER, SETUPS, Case, setup
from aiodimse.testing.hostile.every_byte import every_byte

_PDUS = {
    "A-ASSOCIATE-RQ": w.associate_rq(),
    "A-ASSOCIATE-AC": w.ASSOCIATE_AC,
    "A-ASSOCIATE-RJ": w.ASSOCIATE_RJ,
    "P-DATA-TF": w.p_data(w.pdv(1, w.ECHO)),
    "A-RELEASE-RQ": w.RELEASE_RQ,
    "A-RELEASE-RP": w.RELEASE_RP,
    "A-ABORT": w.ABORT,
    "PDU type 00": w.pdu(0),
    "PDU type 08": w.pdu(8),
    "PDU type FF": w.pdu(0xFF),
}


def _every_pdu_in_every_state() -> Iterator[Case]:
    for state in SETUPS:
        for name, data in _PDUS.items():
            if state in OVER or name == "A-ABORT":
                expect = "closed"
            elif state == "connected":
                expect = "accepted" if name == "A-ASSOCIATE-RQ" else "abort 0/0"
            elif name == "A-RELEASE-RQ":
                expect = "released"
            elif name.startswith("PDU type"):
                expect = "abort 2/1"
            elif name == "P-DATA-TF":
                # A second command while the first is not complete, or while a data set is due.
                expect = "status 0000" if state in ("associated", "stored") else "abort 2/6"
            else:
                expect = "abort 2/2"
            yield Case(f"{name} when {state}", state, data, expect, needs=NEEDS.get(state, 1))


def _lengths() -> Iterator[Case]:
    items = {
        0x10: "application context",
        0x20: "presentation context",
        0x30: "abstract syntax",
        0x40: "transfer syntax",
        0x50: "user information",
        0x51: "maximum length",
        0x52: "implementation class UID",
        0x53: "operations window",
        0x54: "role selection",
        0x55: "implementation version name",
        0x56: "extended negotiation",
        0x57: "common extended negotiation",
        0x58: "user identity",
    }
    for kind, name in items.items():
        yield Case(f"{name} item one byte longer than it is", "connected", w.associate_rq(lie={kind: 1}), "abort 0/0")
        yield Case(f"{name} item of 65,000 bytes", "connected", w.associate_rq(lie={kind: 65000}), "abort 0/0")
    for kind in (0x20, 0x50, 0x51, 0x53, 0x57, 0x58):
        yield Case(
            f"{items[kind]} item one byte shorter than it is", "connected", w.associate_rq(lie={kind: -1}), "abort 0/0"
        )
    whole = w.associate_rq()
    for length in (0, 1, 67, 0xFFFFFFFF, (1 << 20) + 1):
        yield Case(f"A-ASSOCIATE-RQ of {length} bytes", "connected", w.associate_rq(length=length), "abort 0/0")
    yield Case("A-ASSOCIATE-RQ cut off and FIN", "connected", whole[: len(whole) // 2], "closed", then="fin")
    yield Case(
        "A-ASSOCIATE-RQ with half an item at its end", "connected", w.associate_rq(more=b"\x10\0\0"), "abort 0/0"
    )
    for name, kind in (("A-RELEASE-RQ", 5), ("A-RELEASE-RP", 6), ("A-ABORT", 7), ("A-ASSOCIATE-RJ", 3)):
        for length in (0, 3, 5, 0xFFFFFFFF):
            yield Case(f"{name} of {length} bytes", "associated", w.pdu(kind, bytes(8), length), "abort 2/6")
    yield Case("P-DATA-TF of no bytes", "associated", w.p_data(), "abort 2/6")
    yield Case("P-DATA-TF of 4 GiB", "associated", w.p_data(w.pdv(1, w.ECHO), length=0xFFFFFFFF), "abort 2/6")
    yield Case("P-DATA-TF of 5 bytes", "associated", w.pdu(4, bytes(5)), "abort 2/6")
    for length in (0, 1):
        yield Case(f"PDV of {length} bytes", "associated", w.p_data(w.pdv(1, b"\0" * 8, 3, length)), "abort 2/6")
    yield Case("PDV one byte past its PDU", "associated", w.p_data(w.pdv(1, w.ECHO, 3, len(w.ECHO) + 3)), "abort 2/6")
    yield Case("PDV of 4 GiB", "associated", w.p_data(w.pdv(1, w.ECHO, 3, 0xFFFFFFFF)), "abort 2/6")
    short = w.p_data(w.pdv(1, w.ECHO, 3, len(w.ECHO) - 4))
    yield Case("PDV that leaves half a PDV in its PDU", "associated", short, "abort 2/6")
    good_then_bad = w.p_data(w.pdv(1, w.ECHO[:30], 1), w.pdv(1, w.ECHO[30:], 3, 0xFFFF))
    yield Case("second PDV past its PDU", "associated", good_then_bad, "abort 2/6")


def _foreign() -> Iterator[Case]:
    speeches = {
        "HTTP": b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(192),
        "SSLv2": bytes.fromhex("802e0100020015000000100100800700c0"),
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
        "SMTP": b"EHLO scanner\r\n",
        "HL7 MLLP": b"\x0bMSH|^~\\&|A|B|C|D|20200101||ADT^A01|1|P|2.3\r\x1c\r",
        "Redis": b"*1\r\n$4\r\nPING\r\n",
        "MQTT": bytes.fromhex("100c00044d515454040200000000"),
        "telnet": bytes.fromhex("fffd18fffd20fffd23fffd27"),
        "RDP": bytes.fromhex("0300001302e000000000000000000000"),
        "zeros": bytes(100),
        "ones": b"\xff" * 100,
        "one wrong byte": b"G",
        "DICOM file": bytes(128) + b"DICM",
    }
    for name, data in speeches.items():
        yield Case(f"speaks {name}", "connected", data, "abort 0/0")


def _negotiation() -> Iterator[Case]:
    one = w.context(1, w.VERIFICATION)

    def rq(name: str, expect: str, contexts: bytes = one, **options: object) -> Case:
        return Case(name, "connected", w.associate_rq(contexts, **options), expect)  # type: ignore[arg-type]

    yield rq("no presentation context", "abort 0/0", b"")
    yield rq("context ID 0", "abort 0/0", w.context(0, w.VERIFICATION))
    yield rq("even context ID", "abort 0/0", one + w.context(2, w.VERIFICATION))
    yield rq("context ID twice", "abort 0/0", one + w.context(1, w.VERIFICATION))
    every = b"".join(w.context(n, w.VERIFICATION) for n in range(1, 256, 2))
    yield rq("128 contexts", "accepted", every)
    yield rq("129 contexts", "abort 0/0", every + one)
    yield rq("context without an abstract syntax", "accepted", one + w.context(3, None))
    yield rq("unknown abstract syntax beside a known one", "accepted", one + w.context(3, "1.2.3.4"))
    yield rq("unknown transfer syntax beside a known one", "accepted", one + w.context(3, w.VERIFICATION, ("1.2.3.4",)))
    yield rq("abstract syntax of 71 characters", "accepted", one + w.context(3, "1." * 35 + "1"))
    yield rq("protocol version 0", "reject 1/2/2", version=0)
    yield rq("protocol version 2", "reject 1/2/2", version=2)
    yield rq("protocol version FFFF", "accepted", version=0xFFFF)
    yield rq("foreign application context", "reject 1/1/2", application="1.2.3.4")
    yield rq("maximum length 1", "reject 1/1/1", user=w.user_items(max_length=1))
    yield rq("maximum length 0, no limit", "accepted", user=w.user_items(max_length=0))
    yield rq("maximum length 4 GiB", "accepted", user=w.user_items(max_length=0xFFFFFFFF))
    yield rq("no maximum length", "accepted", user=w.user_items(max_length=None))
    yield rq("unknown items at the end", "accepted", more=w.item(0x99, bytes(50)) * 20)
    yield rq("unknown user items", "accepted", user=w.user_items() + w.item(0x99, bytes(50)) * 20)
    yield rq("operations window 0/0", "accepted", user=w.user_items() + w.item(0x53, bytes(4)))


def _messages() -> Iterator[Case]:
    def data(name: str, expect: str, *pdvs: bytes, state: str = "associated") -> Case:
        needs = pdvs[0][4] if pdvs[0][4] in (3, 5) else NEEDS.get(state, 1)
        return Case(name, state, w.p_data(*pdvs), expect, needs=needs)

    pdv, command, element = w.pdv, w.command, w.element
    yield data("data before a command", "abort 2/6", pdv(1, b"data", 2))
    yield data("context that was not proposed", "abort 2/6", pdv(99, w.ECHO))
    yield data("even context", "abort 2/6", pdv(2, w.ECHO))
    yield data("context 0", "abort 2/6", pdv(0, w.ECHO))
    yield data("another context within a command", "abort 2/6", pdv(1, w.ECHO[:20], 1), pdv(3, w.ECHO[20:]))
    yield data("another context within a message", "abort 2/6", pdv(1, b"", 2), state="data set due")
    yield data("response to nothing", "abort 2/2", pdv(1, w.ECHO_RSP))
    yield data("C-FIND response to nothing", "abort 2/2", pdv(3, w.ECHO_RSP.replace(b"\x30\x80", b"\x20\x80")))
    yield data("empty command set", "abort 2/6", pdv(1, b""))
    yield data("command set of noise", "abort 2/6", pdv(1, b"\xa5" * 60))
    yield data("command set cut off", "abort 2/6", pdv(1, w.ECHO[:-3]))
    yield data("command element past the end", "abort 2/6", pdv(1, command(element(0x0100, 0x0030, 60000))))
    yield data("no Command Field", "abort 2/6", pdv(1, command(element(0x0110, 1), element(0x0800, 0x0101))))
    no_id = command(element(0x0002, w.VERIFICATION), element(0x0100, 0x30), element(0x0800, 0x0101))
    yield data("no Message ID", "abort 2/6", pdv(1, no_id))
    yield data("Message ID of 4 bytes", "abort 2/6", pdv(1, command(element(0x0100, 0x30), element(0x0110, bytes(4)))))
    yield data("no group length", "status 0000", pdv(1, w.request(0x0030, group_length=None)))  # type: ignore[arg-type]
    yield data(
        "unknown command elements", "status 0000", pdv(1, w.request(0x30, w.VERIFICATION, 1, element(0x0777, "X")))
    )
    yield data("unknown Command Field", "status 0211", pdv(1, w.request(0x0055)))
    yield data("C-FIND for Verification", "status 0211", pdv(1, w.request(0x0020)))
    yield data("N-GET for Verification", "status 0211", pdv(1, w.request(0x0110).replace(b"\2\0\x12", b"\3\0\x12", 1)))
    yield data("another SOP class than the context's", "status 0122", pdv(1, w.request(0x0030, w.CT)))
    yield data("no SOP class", "status 0122", pdv(1, command(*_bare_echo())))
    yield data("C-FIND without an Identifier", "status 0212", pdv(3, w.request(0x0020, w.FIND, 1, element(0x0700, 0))))
    yield data("C-STORE without a data set", "status 0212", pdv(5, w.request(0x0001, w.CT, 1, element(0x0700, 0))))
    yield data("Identifier of noise", "status C310", pdv(3, b"\xa5" * 100, 2), state="data set due")
    yield data(
        "Identifier cut off", "status C310", pdv(3, bytes.fromhex("080052000a000000 535455"), 2), state="data set due"
    )
    endless = b"".join(w.p_data(w.pdv(1, bytes(16000), 1)) for _ in range(6))
    yield Case("command set without an end", "associated", endless, "abort 2/6")
    yield data("empty fragment in a context that was not proposed", "abort 2/6", pdv(99, b"", 1))
    yield data("empty fragment in an even context", "abort 2/6", pdv(2, b"", 1))
    yield data("empty fragment in another context", "abort 2/6", pdv(1, b"", 0), state="data set due")
    yield data("empty data fragment before a command", "abort 2/6", pdv(1, b"", 0))
    yield data("empty command fragment where a data set is due", "abort 2/6", pdv(3, b"", 1), state="data set due")
    yield data("empty last fragments", "status 0000", pdv(5, w.IMAGE, 0), pdv(5, b"", 2), state="C-STORE open")
    yield Case("50 empty command fragments", "associated", w.p_data(*[pdv(1, b"", 1)] * 50), "served")
    yield Case("10,000 empty command fragments", "associated", w.p_data(*[pdv(1, b"", 1)] * 2000) * 5, "abort 2/6")
    yield Case(
        "10,000 empty data fragments, each in a PDU",
        "C-STORE open",
        w.p_data(pdv(5, b"", 0)) * 10_000,
        "abort 2/6",
        needs=5,
    )
    ones = b"".join(w.p_data(pdv(1, w.ECHO[n : n + 1], 1)) for n in range(len(w.ECHO))) + w.p_data(pdv(1, b"", 3))
    yield Case("command in fragments of one byte", "associated", ones, "status 0000")
    yield Case("500 C-CANCEL for nothing", "associated", b"".join(map(w.cancel, range(500))), "served")
    yield Case("data after a C-ECHO", "associated", w.p_data(pdv(1, w.ECHO), pdv(1, b"x", 2)), "abort 2/6")


def _bare_echo() -> tuple[bytes, ...]:
    return w.element(0x0100, 0x30), w.element(0x0110, 1), w.element(0x0800, 0x0101)


def _leaving() -> Iterator[Case]:
    whole = w.p_data(w.pdv(1, w.ECHO))
    for state in ("connected", "associated", "half a command", "data set due", "C-STORE open"):
        for then in ("fin", "reset"):
            yield Case(f"{then} when {state}", state, b"", "closed", then=then, needs=NEEDS.get(state, 1))
        if state != "connected":
            yield Case(f"{state}, half a PDU, fin", state, whole[:9], "closed", then="fin", needs=NEEDS.get(state, 1))
    for state in ("associated", "half a command", "C-STORE open"):
        yield Case(
            f"release and abort at once when {state}",
            state,
            w.RELEASE_RQ + w.ABORT,
            "released",
            needs=NEEDS.get(state, 1),
        )
        yield Case(
            f"echo after a release when {state}", state, w.RELEASE_RQ + whole, "released", needs=NEEDS.get(state, 1)
        )
    yield Case(
        "associate, echo and release in one go",
        "connected",
        w.associate_rq() + whole + w.RELEASE_RQ,
        "accepted, released",
    )
    yield Case("associate and abort in one go", "connected", w.associate_rq() + w.ABORT, "accepted, closed")
    yield Case("associate byte by byte", "connected", w.associate_rq(), "accepted", step=1)
    yield Case("echo byte by byte", "associated", whole, "status 0000", step=1)
    store = setup("stored")
    yield Case("C-STORE byte by byte", "associated", store, "status 0000", step=1, needs=5)
    yield Case("release byte by byte", "associated", w.RELEASE_RQ, "released", step=1)
    yield Case("wrong PDU byte by byte", "associated", w.pdu(8), "abort 2/1", step=1)


def _silence() -> Iterator[Case]:
    """Yield cases of silence inside a message. `every_byte` has the others."""
    for state in ("half a command", "data set due"):
        yield Case(f"silent: {state}", state, b"", "abort 2/0", waits=True, needs=NEEDS.get(state, 1))


def _trickle() -> Iterator[Case]:
    """Yield cases that never stop sending and never get anywhere."""
    little = w.p_data(w.pdv(5, bytes(2), 0))
    cases = {
        "A-ASSOCIATE-RQ": ("connected", w.associate_rq(more=w.item(0x99, bytes(60_000))), 1, "closed"),
        "P-DATA-TF": ("associated", w.p_data(w.pdv(1, bytes(16_000), 1)), 1, "abort 2/0"),
        "command, each in a PDU": ("half a command", w.p_data(w.pdv(1, bytes(2), 1)), 0, "abort 2/0"),
        "data set, each in a PDU": ("half a data set", little, 0, "abort 2/0"),
        "data set, each in an empty fragment": ("half a data set", w.p_data(w.pdv(5, b"", 0)), 0, "abort 2/0"),
    }
    for name, (state, send, step, expect) in cases.items():
        needs = NEEDS.get(state, 1)
        yield Case(f"trickle of a {name}", state, send, expect, step=step, every=0.2, waits=True, needs=needs)


def all_cases() -> list[Case]:
    """Return all cases. Their names are unique."""
    groups = (
        _every_pdu_in_every_state,
        _lengths,
        _foreign,
        _negotiation,
        _messages,
        _leaving,
        _silence,
        _trickle,
        every_byte,
    )
    return [case for group in groups for case in group()]
