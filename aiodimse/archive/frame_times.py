"""When the frames of an instance were acquired, if the instance says so (PS3.4 Y.3.2.1.3, PS3.3 C.7.6.5). Pure."""

from __future__ import annotations

from datetime import datetime
from itertools import accumulate, pairwise

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.valuerep import DT

_FRAME_TIME_VECTOR = tag_for_keyword("FrameTimeVector") or 0


def frame_times(dataset: Dataset, number: int) -> list[float] | None:
    """Return when each frame was acquired.

    Args:
        dataset: The instance.
        number: The number of its frames.

    Returns:
        Seconds after Content Time (0008,0033); None if the instance does not say it.
    """
    begin = float(dataset.get("FrameDelay") or 0) / 1000
    steps = _steps(dataset, number)
    if steps is not None:
        return [begin + step / 1000 for step in accumulate(steps)]
    return _of_functional_groups(dataset, number)


def shift_times(dataset: Dataset, number: int, chosen: list[int]) -> None:
    """Change Frame Delay, Frame Time and Frame Time Vector to those of some of the frames.

    Args:
        dataset: The instance, which is changed.
        number: The number of frames that it had.
        chosen: The frames that remain, in order, counted from 0.
    """
    steps = _steps(dataset, number)
    if steps is None:
        return
    times = list(accumulate(steps))
    left = [0.0, *(times[b] - times[a] for a, b in pairwise(chosen))]
    begin = float(dataset.get("FrameDelay") or 0) + times[chosen[0]]
    if begin or "FrameDelay" in dataset:
        dataset.FrameDelay = f"{begin:.10g}"
    if "FrameTimeVector" in dataset or len(set(left[1:])) > 1:
        dataset.FrameTimeVector = [f"{step:.10g}" for step in left]
        dataset.FrameIncrementPointer = _FRAME_TIME_VECTOR
        if "FrameTime" in dataset:
            del dataset.FrameTime
    elif len(left) > 1:
        dataset.FrameTime = f"{left[1]:.10g}"


def _steps(dataset: Dataset, number: int) -> list[float] | None:
    """Return the milliseconds between each frame and the one before it, with 0 for the first one."""
    vector = dataset.get("FrameTimeVector")
    if vector is not None:
        steps = list(map(float, vector if isinstance(vector, MultiValue) else [vector]))
        return [0.0, *steps[1:]] if len(steps) == number else None
    time = dataset.get("FrameTime")
    return None if time is None else [0.0] + [float(time)] * (number - 1)


def _of_functional_groups(dataset: Dataset, number: int) -> list[float] | None:
    """Return the times from Frame Reference DateTime or Frame Acquisition DateTime (PS3.3 C.7.6.16.2.2)."""
    content = _moment(f"{dataset.get('ContentDate') or ''}{dataset.get('ContentTime') or ''}")
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if content is None or len(groups) != number:
        return None
    found = []
    for group in groups:
        (about, *_) = group.get("FrameContentSequence") or (Dataset(),)
        moment = _moment(str(about.get("FrameReferenceDateTime") or about.get("FrameAcquisitionDateTime") or ""))
        if moment is None:
            return None
        found.append((moment - content).total_seconds())
    return found


def _moment(text: str) -> datetime | None:
    """Return a date and time without its offset from UTC, since Content Time has none either."""
    try:
        moment = DT(text) if len(text) >= 14 else None
    except ValueError:
        return None
    return None if moment is None else datetime.combine(moment.date(), moment.time())
