"""What more CPUs would give, from what one gave: how much of the work holds the interpreter's lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perf.workers.protocol import Cost


@dataclass(frozen=True)
class Work:
    """The CPU time of one byte, or of one operation.

    Args:
        cpu: all of it, in seconds.
        locked: while the interpreter's lock was held: one thread at a time.
    """

    cpu: float
    locked: float

    @classmethod
    def of(cls, costs: Sequence[Cost], *, by_bytes: bool, plain: Sequence[Cost] | None = None) -> Work:
        """The work of jobs that one CPU did. Outside of the kernel a thread holds the lock, about.

        Args:
            costs: of the jobs.
            by_bytes: the work of a byte, otherwise of an operation.
            plain: of the same jobs without TLS, whose cipher runs outside of the kernel and without the lock.
        """
        amount = sum(cost.bytes if by_bytes else cost.operations for cost in costs)
        locked = sum(cost.user for cost in costs) / amount
        if plain:
            locked = min(locked, sum(c.user for c in plain) / sum(c.bytes if by_bytes else c.operations for c in plain))
        return cls(sum(cost.cpu for cost in costs) / amount, locked)

    def rate(self, cpus: int, *, processes: bool = False) -> float:
        """Bytes, or operations, a second on so many CPUs, of one process with threads or of a process for each."""
        if processes:
            return cpus / self.cpu
        return 1 / (self.locked + (self.cpu - self.locked) / cpus)
