"""Memory that one process fills and another one takes over, and that comes back to be filled again.

A worker process leases a slab from its :class:`HandoverPool`, fills it, and sends a few numbers, in any way, to a
process of the same user; :func:`take_over` gives the memory there. When nothing sees it there any more, the worker
leases it again: pages that are there already cost nothing, new ones cost more than a copy of what they hold.

A slab is a memory file without a name (memfd). Whoever takes it over opens it beneath ``/proc``, so nothing travels but
numbers, and nothing is left when both processes are gone. A word behind the data tells who has it: zero, the worker; or
the number under which it was handed over.
"""

from __future__ import annotations

import ctypes
import os
import secrets
from typing import Any, NamedTuple

from s3dlio.errors import OutOfMemoryError, S3dlioError
from s3dlio.foreign_errors import from_os_error
from s3dlio.forking import ForkLock, before_fork
from s3dlio.memory.buffers import hide_from_collector
from s3dlio.memory.shared import Mapping, capacity_of, exporters

_PAGE = 4096
#: In the word: somebody has taken it over.
_TAKEN = 1 << 63
#: Bytes of slabs that nobody has, at most; more are given back to the system.
_IDLE = 256 << 20


class Handed(NamedTuple):
    """What another process is told of a slab: whose it is, its descriptor there, its bytes, under which number it was
    handed over, and how many of the bytes count."""

    process: int
    fd: int
    capacity: int
    number: int
    size: int


class _Slab:
    """A slab of this process's."""

    def __init__(self, capacity: int) -> None:
        self.fd = -1
        self.capacity = capacity
        self.number = 0
        self.is_held = False  # something in this process sees it
        try:
            self.fd = os.memfd_create("s3dlio", os.MFD_CLOEXEC)
            os.ftruncate(self.fd, capacity + _PAGE)
        except OSError as error:
            hint = from_os_error(error).hint
            raise OutOfMemoryError(f"cannot make shared memory: {error.strerror}", hint=hint) from error
        self.mapping = Mapping(0, self.fd, capacity + _PAGE)
        self.word = ctypes.c_uint64.from_address(self.mapping.address + capacity)

    @property
    def is_free(self) -> bool:
        return not (self.is_held or self.word.value)

    def __del__(self, close: Any = os.close) -> None:
        if self.fd >= 0:
            close(self.fd)


def _let_go(exporter: Any) -> None:
    exporter.home.is_held = False


_own_exporter = exporters("HandoverLease", _let_go)


class Lease(NamedTuple):
    """A slab that was leased, and its memory, writable; it is leased while anything sees that."""

    slab: Any
    view: memoryview


class HandoverPool:
    """Leases slabs, and hands them over. Safe for any number of threads; a forked child makes one of its own."""

    def __init__(self) -> None:
        self._slabs: list[_Slab] = []  # what was used last is at the end
        self._lock = ForkLock()
        self._process = os.getpid()
        self._number = secrets.randbits(61)  # no two slabs are ever handed over under the same one

    def lease(self, size: int) -> Lease:
        """Memory of ``size`` bytes, content undefined.

        Raises:
            OutOfMemoryError: there is none, or no descriptor.
        """
        capacity = capacity_of(size)
        with self._lock:
            slab = self._free(capacity)
            slab.is_held = True
            self._number += 1
            slab.number = self._number
        exporter = _own_exporter(capacity)(slab.mapping.address)
        exporter.home, exporter.mapping, exporter.token = slab, slab.mapping, 0
        hide_from_collector(exporter)
        return Lease(slab, memoryview(exporter).cast("B")[:size])

    def _free(self, capacity: int) -> _Slab:
        idle = 0
        for slab in reversed(self._slabs):
            if slab.is_free:
                if slab.capacity == capacity:
                    self._slabs.remove(slab)
                    self._slabs.append(slab)
                    return slab
                idle += slab.capacity
        for slab in self._slabs[:]:
            if idle > _IDLE and slab.is_free:
                self._slabs.remove(slab)
                idle -= slab.capacity
        self._slabs.append(slab := _Slab(capacity))
        return slab

    def hand_over(self, slab: Any, size: int) -> Handed | None:
        """Give a slab that is leased here to another process, when all is written; None where that was done before."""
        if slab.word.value or os.getpid() != self._process:
            return None
        slab.word.value = slab.number
        return Handed(self._process, slab.fd, slab.capacity, slab.number, size)


# -- the process that takes it


_forks = 0


@before_fork
def _count_fork() -> None:
    """What this process has taken over, a child has, too: nobody is told when it is free."""
    global _forks
    _forks += 1


def _give_back(exporter: Any) -> None:
    if exporter.token == _forks:
        exporter.home.value = 0


_taken = exporters("HandedMemory", _give_back)


def take_over(handed: Handed) -> memoryview:
    """The memory that another process has handed over, writable. It goes back when nothing sees it any more.

    Raises:
        S3dlioError: that process has gone, or somebody had this before.
    """
    length = handed.capacity + _PAGE
    try:
        fd = os.open(f"/proc/{handed.process}/fd/{handed.fd}", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise S3dlioError(
            f"process {handed.process} has gone with what it handed over: {error.strerror}", operation="GET"
        ) from error
    try:
        if os.fstat(fd).st_size != length:
            raise S3dlioError(f"process {handed.process} has gone with what it handed over", operation="GET")
        mapping = Mapping(0, fd, length)
    finally:
        os.close(fd)
    word = ctypes.c_uint64.from_address(mapping.address + handed.capacity)
    if word.value != handed.number:
        raise S3dlioError(f"what process {handed.process} handed over was taken before", operation="GET")
    word.value |= _TAKEN
    exporter = _taken(handed.capacity)(mapping.address)
    exporter.home, exporter.mapping, exporter.token = word, mapping, _forks
    hide_from_collector(exporter)
    return memoryview(exporter).cast("B")[: handed.size]


def can_be_taken_by(process: int) -> bool:
    """Whether a process of this user can take over what this one hands over: whether this one may look at it."""
    try:
        os.stat(f"/proc/{process}/exe")
    except OSError:
        return False
    return hasattr(os, "memfd_create")
