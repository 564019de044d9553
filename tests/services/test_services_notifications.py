"""N-EVENT-REPORT goes from the SCP to the SCU, all else the other way: what is therefore offered, in which context one
asks, and who is answered (PS3.7 10.1.1, D.3.3.4; PS3.4 J.3.3, CC.3.1)."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.association import SOPClassSupport
from aiodimse.services.provider.registry import HandlerRegistry

COMMITMENT, MPPS = sop_class.StorageCommitmentPushModel, sop_class.ModalityPerformedProcedureStep
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
INSTANCE = "1.2.840.10008.1.20.1.1"
PUSH, PULL, EVENT = (
    sop_class.UnifiedProcedureStepPush,
    sop_class.UnifiedProcedureStepPull,
    sop_class.UnifiedProcedureStepEvent,
)


def make_server(*services: str) -> tuple[aiodimse.Server, list[Any]]:
    server, seen = aiodimse.Server(ae_title="ARCHIVE"), []

    async def handle(request: Any) -> int:
        seen.append(request)
        return 0x0000

    for service in services:
        getattr(server, service)(COMMITMENT)(handle)
    return server, seen


# What has a handler; the roles that the peer, the requestor, proposes and then has; None: no role item, which is SCU.
OFFERED = {
    "told, by the SCP": (["on_n_event_report"], (False, True), (False, True)),
    "told, by who can be both": (["on_n_event_report"], (True, True), (False, True)),
    "asked, by the default role": (["on_n_action"], None, (True, False)),
    "asked, by who can be both": (["on_n_action"], (True, True), (True, False)),
    "asked, by the SCP": (["on_n_action"], (False, True), None),
    "both, by who can be both": (["on_n_action", "on_n_event_report"], (True, True), (True, True)),
    "both, by the SCP": (["on_n_event_report", "on_n_action"], (False, True), (False, True)),
    "both, by the default role": (["on_n_event_report", "on_n_action"], None, (True, False)),
}


@pytest.mark.parametrize("case", OFFERED)
async def test_the_roles_are_those_of_the_handlers(case: str) -> None:
    services, proposed, accepted = OFFERED[case]
    server, seen = make_server(*services)
    scu, scp = proposed or (True, False)
    contexts = [sop_class.Verification, aiodimse.PresentationContext(COMMITMENT, scu=scu, scp=scp)]
    async with testing.joined(server, contexts=contexts) as association:
        assert [(c.scu, c.scp) for c in association.contexts[1:]] == ([] if accepted is None else [accepted])
        if accepted is not None and accepted[1]:
            response = await association.n_event_report(COMMITMENT, INSTANCE, 1, Dataset())
            assert (response.status, seen.pop().event_type_id) == (0x0000, 1)
        else:
            with pytest.raises(aiodimse.NoAcceptedContext):
                await association.n_event_report(COMMITMENT, INSTANCE, 1)
        if accepted is not None and accepted[0]:
            response = await association.n_action(COMMITMENT, INSTANCE, 1, Dataset())
            assert (response.status, seen.pop().action_type_id) == (0x0000, 1)
        else:
            with pytest.raises(aiodimse.NoAcceptedContext):
                await association.n_action(COMMITMENT, INSTANCE, 1)
        assert not seen


async def test_who_is_told_alone_accepts_the_default_role_too() -> None:
    """An archive may leave out the role item of its notifications; what else it asks for is refused."""
    server, seen = make_server("on_n_event_report")
    async with testing.joined(server, contexts=[sop_class.Verification, COMMITMENT]) as association:
        assert [(c.scu, c.scp) for c in association.contexts[1:]] == [(True, False)]
        assert (await association.n_action(COMMITMENT, INSTANCE, 1, Dataset())).status == 0x0122
        assert not seen


async def test_without_the_role_the_error_says_so() -> None:
    server, _ = make_server("on_n_action")
    async with testing.joined(server, contexts=[COMMITMENT]) as association:
        with pytest.raises(aiodimse.NoAcceptedContext, match=r"not in the role that asks for N-EVENT-REPORT"):
            await association.n_event_report(COMMITMENT, INSTANCE, 1)


async def test_messages_of_ups_name_push_and_go_in_the_context_that_has_the_service() -> None:
    server, seen = aiodimse.Server(ae_title="ARCHIVE"), []

    @server.on_n_event_report(EVENT)
    @server.on_n_set(PULL)
    async def handle(request: Any) -> int:
        seen.append((request.sop_class_uid, request.context.abstract_syntax))
        return 0x0000

    modified = Dataset()
    modified.ProcedureStepLabel = "changed"
    contexts = [PUSH, PULL, aiodimse.PresentationContext(EVENT, scu=False, scp=True)]
    async with testing.joined(server, contexts=contexts) as association:
        assert (await association.n_event_report(PUSH, "1.2.3", 1)).status == 0x0000
        assert (await association.n_set(PUSH, "1.2.3", modified)).status == 0x0000
    assert seen == [(PUSH, EVENT), (PUSH, PULL)]


async def handler(request: Any) -> int:
    return 0x0000


def test_a_context_that_carries_others_is_offered_for_the_services_that_it_has() -> None:
    handlers = HandlerRegistry()
    handlers.register("N-ACTION", [PUSH], handler)
    assert set(handlers.offer().served) == {sop_class.Verification, PUSH, PULL, sop_class.UnifiedProcedureStepWatch}
    printing = HandlerRegistry()
    printing.register("N-EVENT-REPORT", [sop_class.Printer], handler)
    printing.register("N-CREATE", [sop_class.BasicFilmSession], handler)
    served = printing.offer().served
    roles = {uid: (one.scp, one.scu) for uid, one in served.items() if isinstance(one, SOPClassSupport)}
    assert roles[sop_class.BasicGrayscalePrintManagementMeta] == (True, True)
    assert (roles[sop_class.Printer], roles[sop_class.BasicFilmSession]) == ((False, True), (True, False))


@pytest.mark.parametrize("order", [("N-CREATE", "N-SET"), ("N-SET", "N-CREATE")])
def test_a_class_of_several_services_is_offered_in_what_all_of_them_accept(order: tuple[str, ...]) -> None:
    """Its context carries the messages of each."""
    accepted = {"N-CREATE": [IMPLICIT], "N-SET": None}
    registry = HandlerRegistry()

    async def handle(request: Any) -> int:
        return 0x0000

    for service in order:
        registry.register(service, [MPPS], handle, transfer_syntaxes=accepted[service])
    assert registry.offer().served[MPPS].transfer_syntaxes == (IMPLICIT,)


def test_verification_is_offered_in_what_its_handler_accepts() -> None:
    registry = HandlerRegistry()

    async def handle(request: Any) -> int:
        return 0x0000

    registry.register("C-ECHO", [], handle, transfer_syntaxes=[BIG_ENDIAN])
    assert registry.offer().served[sop_class.Verification].transfer_syntaxes == (BIG_ENDIAN,)
