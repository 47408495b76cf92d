"""Ranks that are threads of one process: a transport without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from s3dlio.cluster.rank_group import RankGroup

T = TypeVar("T")


class Wire:
    """One rank's end; all have the same queues."""

    def __init__(self, rank: int, queues: list[SimpleQueue[tuple[int, bytes]]], host: str = "here") -> None:
        self.rank, self.size, self.host = rank, len(queues), host
        self._queues = queues

    def send(self, rank: int, message: bytes) -> None:
        self._queues[rank].put((self.rank, message))

    def receive(self) -> tuple[int, bytes] | None:
        try:
            return self._queues[self.rank].get_nowait()
        except Empty:
            return None

    def is_sent(self) -> bool:
        return True

    def leave(self) -> None:
        return None

    def abort(self, code: int) -> None:
        raise AssertionError("a rank did not come to the end")


def wires(size: int) -> list[Wire]:
    """The ends of so many ranks."""
    queues: list[SimpleQueue[tuple[int, bytes]]] = [SimpleQueue() for _ in range(size)]
    return [Wire(rank, queues) for rank in range(size)]


def on_ranks(size: int, work: Callable[[RankGroup], T]) -> list[T | BaseException]:
    """What ``work`` gives, or raises, at each rank."""
    found: list[Any] = [AssertionError("it does not end")] * size

    def run(wire: Wire) -> None:
        group = RankGroup(wire)
        try:
            with group.telling_errors():
                found[wire.rank] = work(group)
        except BaseException as error:
            found[wire.rank] = error
        finally:
            assert group.close(20)

    threads = [threading.Thread(target=run, args=(wire,), daemon=True) for wire in wires(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    return found
