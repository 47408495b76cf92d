"""How far the clocks of ranks are ahead of that of rank 0, by messages there and back."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable

from s3dlio.cluster.transport import Transport, wait_for_message

#: Messages to each rank. The one that was back first counts: nothing has held it up.
_ROUNDS = 16
_ASK = b"?"


def measure_offset(transport: Transport, clock: Callable[[], int] = time.time_ns) -> int:
    """How far this rank's clock is ahead of that of rank 0 (nanoseconds); called by all ranks, before anything else is
    sent. 0 where the difference is less than what the messages tell it by: half of the shortest way there and back.

    Args:
        transport: how to reach them.
        clock: nanoseconds since 1970.
    """
    if transport.rank:
        return _answer(transport, clock)
    offsets = [_ask(transport, rank, clock) for rank in range(1, transport.size)]
    for rank, offset in enumerate(offsets, 1):  # now they may send other things
        transport.send(rank, pickle.dumps(offset))
    return 0


def _ask(transport: Transport, rank: int, clock: Callable[[], int]) -> int:
    found: list[tuple[int, int]] = []
    for _ in range(_ROUNDS):
        asked = clock()
        transport.send(rank, _ASK)
        _, answer = wait_for_message(transport, attentive=True)
        took = clock() - asked
        found.append((took, pickle.loads(answer) - asked - took // 2))
    took, offset = min(found)
    return offset if abs(offset) > took // 2 else 0


def _answer(transport: Transport, clock: Callable[[], int]) -> int:
    attentive = False  # until it is this rank's turn
    while True:
        _, message = wait_for_message(transport, attentive=attentive)
        if message != _ASK:
            offset: int = pickle.loads(message)
            return offset
        transport.send(0, pickle.dumps(clock()))
        attentive = True
