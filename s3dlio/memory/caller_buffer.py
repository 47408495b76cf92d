"""The caller's own buffer, lent for the time of one call: afterwards nothing in here exports it, not even the frames of
an error that the caller keeps. While it is exported a bytearray cannot be resized, nor an mmap be closed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from s3dlio.errors import BatchError

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)


def lent(work: Callable[[], T]) -> T:
    """Do ``work`` with a buffer. When it fails, the frames below this call let go of all that they refer to."""
    try:
        return work()
    except BaseException as error:
        let_go(error)
        raise


def let_go(error: BaseException, depth: int = 1) -> None:
    """Have the frames of a failed call, but for those that still run, let go of all that they refer to.

    What the caller of that call was handling, and so is the context of the error, keeps what it shows: its traceback
    begins in a frame above.

    Args:
        error: of the call.
        depth: how many calls up the frame is in which the call was made; 1: in the one that calls this.
    """
    above, frame = set[FrameType](), sys._getframe(depth).f_back
    while frame is not None:
        above.add(frame)
        frame = frame.f_back
    found: list[BaseException | None] = [error]
    seen: set[int] = set()
    cleared: set[FrameType] = set()
    while found:
        one = found.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        step = one.__traceback__
        if step is not None and step.tb_frame in above:
            continue
        while step is not None:
            _clear_stack(step.tb_frame, cleared)
            step = step.tb_next
        found += [one.__cause__, one.__context__]
        if isinstance(one, BatchError):
            found += [failure.error for failure in one.failures]


def without_frames(error: E) -> E:
    """The error, to be kept as a result: without the frames that it came through, which keep what was in flight."""
    found: list[BaseException | None] = [error]
    seen: set[int] = set()
    while found:
        one = found.pop()
        if one is not None and id(one) not in seen:  # one that was never raised has none, but its cause has
            seen.add(id(one))
            one.__traceback__ = None
            found += [one.__cause__, one.__context__]
    return error


def _clear_stack(frame: FrameType | None, cleared: set[FrameType]) -> None:
    """Clear a frame and those that had called it, up to the first that still runs. (An error that was caught and kept
    does not name the latter, but its frames refer to them.)"""
    while frame is not None and frame not in cleared:
        try:
            frame.clear()
        except RuntimeError:
            return
        cleared.add(frame)
        frame = frame.f_back
