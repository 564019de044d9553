"""What both sides hold to be agreed is the same, for any request and any offer; and what real peers once answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ps38
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodimse.association import Machine, Offer, SOPClassSupport, State, answer_request, settle
from aiodimse.config import Limits
from aiodimse.pdu import (
    AssociateAC,
    AssociateRQ,
    CommonExtendedNegotiation,
    ContextResult,
    ExtendedNegotiation,
    MaximumLength,
    OperationsWindow,
    ProposedContext,
    RoleSelection,
    UserInformation,
    pdus,
)

UIDS = st.sampled_from(
    (
        "1.2.840.10008.1.1",
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.10008.5.1.4.1.2.2.1",
        "1.2.840.10008.5.1.4.1.2.2.3",
        "1.2.840.10008.5.1.4.1.2.4.3",
        "1.2.3",
    )
)
SYNTAXES = st.sampled_from(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.9"))
INFO = st.binary(max_size=9)
WINDOW = st.tuples(st.integers(0, 3), st.integers(0, 3))

ITEMS = (
    st.builds(MaximumLength, st.sampled_from((0, 128, 16384)))
    | st.builds(OperationsWindow, st.integers(0, 3), st.integers(0, 3))
    | st.builds(RoleSelection, UIDS, st.booleans(), st.booleans())
    | st.builds(ExtendedNegotiation, UIDS, INFO)
    | st.builds(CommonExtendedNegotiation, UIDS, st.sampled_from(("1.2.840.10008.4.2", "1.2")), st.tuples(UIDS))
)
INFORMATION = st.lists(ITEMS, max_size=8).map(lambda items: UserInformation(tuple(items)))
SERVED = st.builds(
    SOPClassSupport,
    st.none() | st.frozensets(SYNTAXES),
    scp=st.booleans(),
    scu=st.booleans(),
    extended=st.none() | INFO,
)
OFFERS = st.builds(Offer, st.dictionaries(UIDS, SERVED), st.booleans(), st.none() | SERVED)


@st.composite
def requests(draw: st.DrawFn) -> AssociateRQ:
    contexts = draw(st.lists(st.tuples(UIDS, st.lists(SYNTAXES, max_size=3)), min_size=1, max_size=6))
    return AssociateRQ(
        "YOU",
        "ME",
        tuple(ProposedContext(2 * n + 1, uid, tuple(syntaxes)) for n, (uid, syntaxes) in enumerate(contexts)),
        draw(INFORMATION),
    )


@given(request=requests(), offer=OFFERS, window=WINDOW)
def test_both_sides_agree(request: AssociateRQ, offer: Offer, window: tuple[int, int]) -> None:
    response = answer_request(request, offer, limits=Limits(), operations_window=window)
    assert isinstance(response, AssociateAC)
    user, provider = settle(request, response, "requestor"), settle(request, response, "acceptor")
    # the same contexts, with the roles crosswise, and each proposed context answered in its place
    assert {i: replace(c, scu=c.scp, scp=c.scu) for i, c in user.contexts.items()} == provider.contexts
    assert user.refused == provider.refused
    assert [r.context_id for r in response.results] == [c.context_id for c in request.contexts]
    assert set(user.contexts) == {r.context_id for r in response.results if r.result == 0}
    # an accepted context is of use to someone
    assert all(context.scu or context.scp for context in user.contexts.values())
    assert (user.invoked_window, user.performed_window) == (provider.performed_window, provider.invoked_window)
    assert user.extended == provider.extended
    # nothing is answered that was not asked, nor with more
    asked, said = request.user_information, response.user_information
    assert set(said.roles) <= set(asked.roles)
    assert all(len(info) == len(asked.extended[uid]) for uid, info in said.extended.items())
    for item in said.roles.values():
        assert item.scu <= asked.roles[item.sop_class_uid].scu
        assert item.scp <= asked.roles[item.sop_class_uid].scp


RESULTS = st.lists(
    st.builds(ContextResult, st.integers(0, 255), st.integers(0, 5), SYNTAXES | st.just("")), max_size=8
).map(tuple)


@given(request=requests(), results=RESULTS, information=INFORMATION, role=st.sampled_from(("requestor", "acceptor")))
def test_settle_is_total(request: AssociateRQ, results: tuple, information: UserInformation, role: str) -> None:
    got = settle(request, AssociateAC("", "", results, information), role)  # type: ignore[arg-type]
    ids = {context.context_id: context for context in request.contexts}
    assert set(got.contexts) | set(got.refused) == set(ids)
    assert not set(got.contexts) & set(got.refused)
    assert all(c.transfer_syntax in ids[i].transfer_syntaxes for i, c in got.contexts.items())


# --- what real peers said ---------------------------------------------------------------------------------------------

CAPTURES = sorted((Path(__file__).parents[1] / "data" / "captures").glob("*.dul"))


def _associate(path: Path) -> tuple[AssociateRQ, AssociateAC]:
    pair = [pdus.decode(bytes.fromhex(line.split()[1])) for line in path.read_text().splitlines()[:2]]
    assert isinstance(pair[0], AssociateRQ)
    assert isinstance(pair[1], AssociateAC)
    return pair[0], pair[1]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_captures_settle(path: Path) -> None:
    request, response = _associate(path)
    user, provider = settle(request, response, "requestor"), settle(request, response, "acceptor")
    accepted = {r.context_id for r in response.results if r.result == 0}
    assert set(user.contexts) == set(provider.contexts) == accepted
    assert len(user.contexts) + len(user.refused) == len(request.contexts)
    assert user.peer_max_length == response.user_information.maximum_length
    assert provider.peer_max_length == request.user_information.maximum_length
    if "get" in path.stem:  # the sub-operations of C-GET need the other role
        storage = [c for c in user.contexts.values() if c.abstract_syntax.startswith("1.2.840.10008.5.1.4.1.1.")]
        assert storage
        assert all((c.scu, c.scp) == (False, True) for c in storage)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_we_would_have_answered_the_same(path: Path) -> None:
    """Given what the peer accepted, in the roles it gave, our answer has the same results."""
    request, response = _associate(path)
    settled = settle(request, response, "acceptor")
    served: dict[str, SOPClassSupport] = {}
    for context in settled.contexts.values():
        before = served.get(context.abstract_syntax)
        syntaxes = {context.transfer_syntax, *(before.transfer_syntaxes or () if before else ())}
        served[context.abstract_syntax] = SOPClassSupport(syntaxes, scp=context.scp, scu=context.scu)
    ours = answer_request(request, Offer(served), limits=Limits())
    assert isinstance(ours, AssociateAC)
    again = settle(request, ours, "acceptor")
    assert again.contexts == settled.contexts
    assert again.refused.keys() == settled.refused.keys()


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_captures_drive_the_machine(path: Path) -> None:
    """A whole conversation, each side in turn taken by the machine, ends where it did."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    for role, theirs in (("requestor", "<"), ("acceptor", ">")):
        machine = Machine(role, timeouts=ps38.TIMEOUTS)  # type: ignore[arg-type]
        if role == "requestor":
            machine.associate(_associate(path)[0], 0)
        machine.transport_connected(0)
        for direction, text in lines:
            data = bytes.fromhex(text)
            if direction == theirs:
                if data[0] == pdus.P_DATA_TF:
                    assert machine.data_allowed_in
                machine.receive(pdus.decode(data), 1)
                continue
            match data[0]:
                case pdus.ASSOCIATE_AC:
                    machine.accept(_associate(path)[1], 1)
                case pdus.P_DATA_TF:
                    assert machine.can_send_data
                case pdus.RELEASE_RQ:
                    machine.release(1)
                case pdus.RELEASE_RP:
                    machine.respond_release(1)
                case pdus.ABORT:
                    machine.abort(1, *data[8:10])
        sent = [bytes.fromhex(text) for direction, text in lines if direction != theirs]
        assert machine.take_output() == [data for data in sent if data[0] != pdus.P_DATA_TF]
        # one recording stops when the association is made
        assert machine.state in ((State.STA1, State.STA13) if len(lines) > 2 else (State.STA6,))
