"""Words for the numbers in A-ASSOCIATE-RJ, A-ABORT and presentation context results (PS3.8 9.3.3.2, 9.3.4, 9.3.8)."""

from __future__ import annotations

# fmt: off
REJECT_RESULT = {
    1: "rejected permanently",
    2: "rejected for now",
}
REJECT_SOURCE = {
    1: "service user",
    2: "service provider, ACSE",
    3: "service provider, presentation",
}
REJECT_REASON = {                                                        # by (source, reason)
    (1,  1): "no reason given",
    (1,  2): "application context name not supported",
    (1,  3): "calling AE title not recognized",
    (1,  7): "called AE title not recognized",
    (2,  1): "no reason given",
    (2,  2): "protocol version not supported",
    (3,  1): "temporary congestion",
    (3,  2): "local limit exceeded",
}
ABORT_SOURCE = {
    0: "service user",
    2: "service provider",
}
ABORT_REASON = {                                                         # significant when the provider aborts
    0: "no reason given",
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}
CONTEXT_RESULT = {
    0: "accepted",
    1: "rejected by the user",
    2: "rejected by the provider, no reason given",
    3: "abstract syntax not supported",
    4: "none of the transfer syntaxes supported",
}
# fmt: on


def reject_meaning(result: int, source: int, reason: int) -> str:
    """Return the meaning of an A-ASSOCIATE-RJ in words; a number without a row stays a number."""
    why = REJECT_REASON.get((source, reason), f"reason {reason}")
    return f"{REJECT_RESULT.get(result, f'result {result}')} by {REJECT_SOURCE.get(source, f'source {source}')}: {why}"


def abort_meaning(source: int, reason: int) -> str:
    """Return the meaning of an A-ABORT in words. The reason of a service user is not significant (PS3.8 9.3.8)."""
    who = ABORT_SOURCE.get(source, f"source {source}")
    return who if source == 0 else f"{who}: {ABORT_REASON.get(reason, f'reason {reason}')}"


def context_result_meaning(result: int) -> str:
    """Return the meaning of the result of one proposed presentation context in words."""
    return CONTEXT_RESULT.get(result, f"result {result}")
