"""What get and move share: the counters of a retrieval, and the report of its result."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Literal

import aiodimse
from aiodimse.cli import values
from aiodimse.cli.failures import FAILED, USAGE, CommandError
from aiodimse.cli.models import MODELS
from aiodimse.cli.opening import peer_words
from aiodimse.cli.output import Output

WAITS = "the association ({:g}), and for each response ({:g}; to a C-MOVE: without limit)"
"""What --timeout limits."""
_UNKNOWN_DESTINATION = 0xA801
_DESTINATION_HINT = "; the peer needs the address of this AE title in its configuration"


def sop_class_and_level(service: Literal["get", "move"], options: Namespace) -> tuple[str, str | None]:
    """Return the SOP class and the level that the options ask for.

    Raises:
        CommandError: The model has no such level or no such service, or no key says what to retrieve.
    """
    model = MODELS[options.model]
    try:
        level = model.level(options.level)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    sop_class = model.get if service == "get" else model.move
    if sop_class is None:
        raise CommandError(f"the model {model.name} has no C-{service.upper()}", USAGE)
    if not any(key.value for key in options.keys):
        unique = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}
        needed = unique.get(level or "", "SOPInstanceUID")
        raise CommandError(f"give -k {needed}=... to say what to retrieve (see {options.prog} --help)", USAGE)
    return sop_class, level


def total(progress: aiodimse.Progress) -> int:
    """Return the number of all sub-operations, including those that have not begun."""
    return (progress.remaining or 0) + done(progress)


def done(progress: aiodimse.Progress) -> int:
    """Return the number of sub-operations that have ended, successfully or not."""
    return progress.completed + progress.failed + progress.warning


def counters_so_far(output: Output, progress: aiodimse.Progress | None) -> dict[str, Any]:
    """Print the counters of a retrieval that got no final status, and return them for a document."""
    if progress is None:
        return {}
    _line(output, progress)
    return {"progress": counters(progress)}


def counters(progress: aiodimse.Progress) -> dict[str, int]:
    """Return the counters as a mapping, for a document."""
    return {"completed": progress.completed, "failed": progress.failed, "warning": progress.warning}


def _line(output: Output, progress: aiodimse.Progress) -> None:
    output.line(f"{progress.completed} completed, {progress.failed} failed, {progress.warning} with a warning")


def report(
    options: Namespace, output: Output, response: aiodimse.Response, before: aiodimse.Progress | None, **more: Any
) -> int:
    """Print the counters, the failures and the final status. `before` has the counters of the last Pending response."""
    # A provider need not repeat its counters in a final response with a Failure.
    progress = response.progress or aiodimse.Progress()
    if not done(progress) and before is not None:
        progress = before
    failed = list(response.failed_sop_instance_uids)
    output.document(
        {
            "status": values.status(response.status),
            "progress": counters(progress),
            "failed_sop_instance_uids": failed,
            **more,
        }
    )
    output.so_far = None
    _line(output, progress)
    for uid in failed:
        output.note(f"failed: {values.printable(uid)}")
    if response.status != 0x0000:
        hint = _DESTINATION_HINT if response.status == _UNKNOWN_DESTINATION else ""
        output.note(f"{options.prog}: {peer_words(options)} answers {values.outcome(response)}{hint}")
        return FAILED
    # Some providers end with Success whatever happened.
    return FAILED if progress.failed or failed else 0
