"""Signals that end a command, and what is done about them for a while."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

#: Those that end a command, where there are such.
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def handling(
    numbers: Iterable[signal.Signals], handle: Callable[[signal.Signals], object], *, once: bool = False
) -> Iterator[None]:
    """Have signals call ``handle`` during the block. One that is ignored (``nohup``) stays so; outside of the main
    thread all stay as they are, since there the program around us handles its signals itself.

    Args:
        numbers: which.
        handle: called with the number.
        once: the first of them puts the former handlers back before ``handle`` is called.
    """
    before: dict[int, Any] = {}

    def end(number: int, frame: FrameType | None) -> None:
        if once:
            restore()
        handle(signal.Signals(number))

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    with contextlib.suppress(ValueError):  # not in the main thread
        for number in numbers:
            if (present := signal.getsignal(number)) != signal.SIG_IGN:
                before[number] = present
                signal.signal(number, end)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # nor has anything changed there
            restore()
