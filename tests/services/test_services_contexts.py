"""What is said of contexts that cannot carry what was asked for."""

from __future__ import annotations

import pytest

from aiodimse.association import PresentationContext, propose, settle
from aiodimse.config import Limits
from aiodimse.errors import NoAcceptedContext
from aiodimse.pdu import AssociateAC, ContextResult
from aiodimse.services.contexts import store_context
from aiodimse.standard import sop_class
from aiodimse.standard.transfer_syntax import JPEG2000Lossless, RLELossless

CT = sop_class.CTImageStorage


def test_the_answer_to_each_context_of_a_sop_class():
    contexts = [PresentationContext(CT, (RLELossless,)), PresentationContext(CT, (JPEG2000Lossless,)), CT]
    rq = propose(contexts, ae_title="A", called_ae_title="B", limits=Limits())
    answers = (
        ContextResult(1, 0, RLELossless),
        ContextResult(3, 0, JPEG2000Lossless),
        ContextResult(5, 4, ""),
    )
    ac = AssociateAC(rq.called_ae_title, rq.calling_ae_title, answers, rq.user_information)
    with pytest.raises(NoAcceptedContext) as caught:
        store_context(settle(rq, ac, "requestor"), CT, "1.2.840.10008.1.2.1", transcode=False)
    said = caught.value.answers[CT]
    assert (
        said
        == f"accepted with {RLELossless}; accepted with {JPEG2000Lossless}; none of the transfer syntaxes supported"
    )
