"""The journal of a transfer that several processes do together: a file for each, and what all of them did.

Rank 0 has the file that was named, so that one process can go on with what many have begun, and the other way round;
rank ``n`` has that name with ``.rank-n`` behind it. What files of ranks tell that are no more is read as well. All
files are removed when the whole transfer has ended without a failure.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from s3dlio.engine.group import Group

if TYPE_CHECKING:
    from s3dlio.transfer.journal import Journal

_RANK = ".rank-"


@contextlib.contextmanager
def ledger(
    group: Group, path: str | None, operation: str, source: str, destination: str, directory: str | None,
    services: Sequence[str],
) -> Iterator[Journal | None]:  # fmt: skip
    """This rank's journal for the time of a transfer; None without a path. That of rank 0 has what all have done.

    The block ends well at all ranks or at none.

    Args:
        group: who transfers together.
        path: of the journal of rank 0; others are beside it.
        operation, source, destination, directory, services: as of :class:`Journal`.
    """
    if path is None:
        yield None
        return
    from s3dlio.transfer.journal import Journal  # most transfers have none

    path = os.fspath(path)
    mine = f"{path}{_RANK}{group.rank}" if group.rank else path
    journals: list[Journal] = []
    finished = False
    try:
        for name in [mine, *_left_over(group, path)]:
            journals.append(Journal(name, operation, source, destination, directory, services))
        journal = journals[0]
        for digests in group.gather([each.digests() for each in journals[bool(not group.rank) :]]):
            for part in digests:
                journal.learn(part)
        yield journal
        finished = True
    finally:
        for each in journals:
            each.close(finished=finished)


def _left_over(group: Group, path: str) -> list[str]:
    """The files of ranks that there were once, of which each rank of a host that sees them reads some."""
    import glob

    found = glob.glob(f"{glob.escape(path)}{_RANK}*")
    numbers = (name.removeprefix(path + _RANK) for name in found)
    left = sorted(int(number) for number in numbers if number.isdecimal() and int(number) >= group.size)
    return [f"{path}{_RANK}{number}" for number in left if number % group.size == group.rank]
