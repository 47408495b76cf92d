"""What other threads ask of a lane: functions that its thread runs in order. A lane that sleeps is woken for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from s3dlio.net import system


class Inbox:
    """Functions for a lane's thread. No lock: a deque, and a flag by which nobody wakes a lane that is awake.

    The lane raises the flag, and looks at the deque after that; others append, and look at the flag after that. So one
    of the two sees the other.
    """

    __slots__ = ("_closed", "_waker", "resting", "works")

    def __init__(self) -> None:
        #: What is to be run.
        self.works: deque[Callable[[], None]] = deque()
        #: The lane sleeps, or is about to.
        self.resting = False
        self._closed = False
        self._waker = system.waker()

    def fileno(self) -> int:
        """What becomes readable when there is something for a lane that sleeps."""
        return int(self._waker.fileno())

    def post(self, work: Callable[[], None]) -> bool:
        """Have ``work`` run on the lane's thread, soon. From any thread, and from a finaliser or signal handler.

        Returns:
            False: the lane has ended, and will not run it.
        """
        self.works.append(work)
        if self._closed:
            try:
                self.works.remove(work)
            except ValueError:
                return True  # the lane has taken it all the same
            return False
        if self.resting:
            self._waker.wake()
        return True

    def rest(self) -> bool:
        """Before the lane sleeps: whether it may."""
        self.resting = True
        return not self.works

    def woken(self) -> None:
        """The waker's descriptor is readable."""
        self._waker.clear()

    def run(self) -> None:
        """Run what is there, on the lane's thread."""
        works = self.works
        for _ in range(len(works)):
            try:
                work = works.popleft()
            except IndexError:  # its poster has taken it back
                return
            work()
            del work  # it may have an error, whose frames refer to this one

    def abandon(self) -> None:
        """The lane has ended, with all that there is: what others post from now on is theirs to drop."""
        self._closed = True
        self.works.clear()

    def close(self) -> bool:
        """End it, if nothing is left to run; whether that was so."""
        self._closed = True
        if self.works:
            self._closed = False
        return self._closed
