"""What a body waits for that is no socket: bytes of a slow disk, or a file that takes no more for the moment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

#: Called, on any thread, when the waiting is over, with what went wrong.
Then = Callable[["BaseException | None"], None]
#: Runs a function that blocks, and then calls the other one.
Run = Callable[[Callable[[], object], Then], None]


class Waiting(Exception):
    """A body cannot go on yet. It is no fault, and never leaves the drivers: an event loop goes on with others, a
    blocking driver waits.

    Args:
        begin: given what runs a function that blocks, and what to call when the waiting is over, begins it.
    """

    raise_unchanged = True

    def __init__(self, begin: Callable[[Run, Then], None]) -> None:
        super().__init__()
        self.begin = begin

    @classmethod
    def for_work(cls, work: Callable[[], object]) -> Waiting:
        """Until ``work``, which blocks, has been done on another thread."""
        return cls(partial(_run, work))

    def wait(self) -> None:
        """Do what is waited for on this thread.

        Raises:
            S3dlioError: it has failed.
        """
        failures: list[BaseException] = []
        self.begin(in_place, lambda error: None if error is None else failures.append(error))
        if failures:
            raise failures.pop()


def in_place(work: Callable[[], object], then: Then) -> None:
    """Run what blocks on this thread."""
    try:
        work()
    except Exception as error:
        then(error)
    else:
        then(None)


def _run(work: Callable[[], object], run: Run, then: Then) -> None:
    run(work, then)
