"""What only POSIX systems have, for all of the package: elsewhere importing this says what is missing, and what helps.

``import s3dlio`` itself works everywhere. What only some systems have (epoll, eventfd, memfd, O_DIRECT) is replaced
where it is used: :func:`replaced` lists it.
"""

from __future__ import annotations

import os
import select
import sys

from s3dlio.errors import UnsupportedOperationError

__all__ = ["fcntl", "replaced", "resource"]

try:
    import fcntl
    import resource
except ImportError as error:
    raise UnsupportedOperationError(
        f"s3dlio reads and writes on POSIX systems; Python has no module {error.name!r} on {sys.platform!r}",
        hint="use WSL 2, a container or a virtual machine with Linux: docs/platforms.md",
    ) from error

#: What is used where the system has it, where to find it, and what happens without.
_FASTER = (
    ("epoll", select, "event loops ask the system's own poller through selectors, which costs more a request"),
    ("eventfd", os, "a pair of sockets wakes event loops"),
    ("memfd_create", os, "no worker processes: procs= is an error"),
    ("sched_getaffinity", os, "all CPUs of the machine are counted"),
    ("preadv", os, "reads of files go through a copy"),
    ("posix_fadvise", os, "the page cache gets no advice"),
    ("copy_file_range", os, "local copies go through memory"),
    ("splice", os, "bodies go into files through memory"),
    ("O_DIRECT", os, "direct:// goes through the page cache, with a warning"),
)


def replaced() -> dict[str, str]:
    """What this system lacks of what the package uses on Linux, each with what happens instead."""
    return {name: instead for name, module, instead in _FASTER if not hasattr(module, name)}
