"""Memory that two processes see: one fills it, the other one reads it where it lies.

A process has :class:`SharedMemory`, from which it leases; its peer has a :class:`PeerMemory`, which makes views of what
was leased. Segments are memory files without a name (memfd): nothing is left of them when both processes are gone,
however they ended. Each travels once, as a descriptor over a socket, and is closed when it is mapped.

As in the pool of buffers, what tells that a lease is over is the exporter of its buffer, a ctypes array laid over the
memory: all that can see the memory keeps it. Its ``__del__`` runs anywhere, so it takes no lock and does no I/O.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from s3dlio.errors import OutOfMemoryError
from s3dlio.foreign_errors import from_os_error
from s3dlio.forking import ForkLock
from s3dlio.memory.buffers import hide_from_collector
from s3dlio.memory.libc import map_shared, remove_pages, unmap

_PAGE = 4096
_SEGMENT = 16 << 20  # smaller leases are cut from segments of this size: pages that nobody touches cost nothing


class Segment(NamedTuple):
    """A new segment, for the peer: its number, its descriptor (who sends it closes it), its length in bytes."""

    number: int
    fd: int
    length: int


class Mapping:
    """A segment as one process has it mapped; unmapped when nothing refers to it any more."""

    __slots__ = ("address", "length", "number")

    def __init__(self, number: int, fd: int, length: int) -> None:
        self.length = 0
        try:
            self.address = map_shared(fd, length)
        except OSError as error:
            raise OutOfMemoryError(f"cannot map {length} bytes of shared memory: {error.strerror}") from error
        self.length = length
        self.number = number

    def __del__(self, unmap: Callable[[int, int], None] = unmap) -> None:
        if self.length:
            unmap(self.address, self.length)


class Lease(NamedTuple):
    """Leased memory: the view that keeps it, and where the peer finds it. Lengths and offsets are bytes."""

    view: memoryview
    segment: int
    offset: int
    capacity: int


def exporters(name: str, over: Callable[[Any], None]) -> Callable[[int], Any]:
    """Makes exporters, by capacity; ``over`` is called with one whose memory nobody sees any more."""
    kinds: dict[int, Any] = {}

    def exporter_of(capacity: int) -> Any:
        if capacity not in kinds:
            body = {"__slots__": ("home", "mapping", "token"), "__del__": over}
            kinds[capacity] = type(name, (ctypes.c_ubyte * capacity,), body)
        return kinds[capacity].from_address

    return exporter_of


def capacity_of(size: int) -> int:
    """The size class: the next 2**n or 1.5 * 2**n, whole pages."""
    if size <= _PAGE:
        return _PAGE
    power = 1 << (size - 1).bit_length()
    between = power // 4 * 3
    return between if size <= between and power > 2 * _PAGE else power


# -- the process that fills it


def _free(exporter: Any, addressof: Callable[[Any], int] = ctypes.addressof) -> None:
    exporter.home.free[exporter.token].append((exporter.mapping, addressof(exporter)))


_own_exporter = exporters("SharedLease", _free)


class SharedMemory:
    """Leases memory of segments. Safe for any number of threads.

    Args:
        max_idle_bytes: so much of what nobody leases keeps its pages for the next lease (see ``trim``).
    """

    def __init__(self, max_idle_bytes: int) -> None:
        self.max_idle_bytes = max_idle_bytes
        #: Size class -> what of it nobody sees: mapping, address. A stack: what was used last is in the CPU's cache.
        self.free: dict[int, deque[tuple[Mapping, int]]] = {}
        #: The same, without pages.
        self._cold: dict[int, deque[tuple[Mapping, int]]] = {}
        #: Segments that the peer has not heard of.
        self.unannounced: deque[Segment] = deque()
        self._count = 0
        self._lock = ForkLock()

    def lease(self, size: int) -> Lease:
        """Writable memory of ``size`` bytes, page-aligned, content undefined; it is leased while anything sees it.

        Raises:
            OutOfMemoryError: there is none.
        """
        capacity = capacity_of(size)
        if capacity not in self.free:
            with self._lock:
                self._cold.setdefault(capacity, deque())
                self.free.setdefault(capacity, deque())
        mapping, address = self._pop(capacity)
        exporter = _own_exporter(capacity)(address)
        exporter.home, exporter.mapping, exporter.token = self, mapping, capacity
        hide_from_collector(exporter)
        view = memoryview(exporter).cast("B")
        return Lease(view[:size], mapping.number, address - mapping.address, capacity)

    def _pop(self, capacity: int) -> tuple[Mapping, int]:
        while True:
            for kept in (self.free[capacity], self._cold[capacity]):
                try:
                    return kept.pop()
                except IndexError:
                    pass
            with self._lock:
                if not self._cold[capacity]:
                    self._grow(capacity)

    def _grow(self, capacity: int) -> None:
        length = capacity if 2 * capacity > _SEGMENT else _SEGMENT // capacity * capacity
        try:
            fd = os.memfd_create("s3dlio", os.MFD_CLOEXEC)
        except OSError as error:
            hint = from_os_error(error).hint  # a segment takes a descriptor
            raise OutOfMemoryError(f"cannot make shared memory: {error.strerror}", hint=hint) from error
        try:
            os.ftruncate(fd, length)
            mapping = Mapping(self._count, fd, length)
        except BaseException:
            os.close(fd)
            raise
        self._count += 1
        self.unannounced.append(Segment(mapping.number, fd, length))
        offsets = range(length - capacity, -1, -capacity)
        self._cold[capacity].extend((mapping, mapping.address + offset) for offset in offsets)

    def trim(self) -> None:
        """Free the pages of what nobody leases, but for ``max_idle_bytes``."""
        idle = sum(capacity * len(free) for capacity, free in list(self.free.items()))
        for capacity, free in list(self.free.items()):
            while idle > self.max_idle_bytes and free:
                mapping, address = free.popleft()
                remove_pages(address, capacity)
                self._cold[capacity].append((mapping, address))
                idle -= capacity

    def take_unannounced(self, most: int) -> list[Segment]:
        """Up to ``most`` segments that the peer has not heard of; the caller sends and closes their descriptors."""
        return [self.unannounced.popleft() for _ in range(min(most, len(self.unannounced)))]

    def close(self) -> None:
        """Close the descriptors that were never sent."""
        for segment in self.take_unannounced(len(self.unannounced)):
            os.close(segment.fd)


# -- the process that reads it


def _over(
    exporter: Any,
    addressof: Callable[[Any], int] = ctypes.addressof,
    sizeof: Callable[[Any], int] = ctypes.sizeof,
    remove_pages: Callable[[int, int], None] = remove_pages,
) -> None:
    home = exporter.home
    if home.kept:
        return
    size = sizeof(exporter)
    if home.idle_bytes + size <= home.max_idle_bytes:
        home.idle_bytes += size
    else:
        remove_pages(addressof(exporter), size)
    home.released.append(exporter.token)  # last: the peer, once it is told, writes there again


_peer_exporter = exporters("PeerLease", _over)


class PeerMemory:
    """The memory of one peer, as this process sees it.

    Args:
        max_idle_bytes: what is over beyond so many bytes, and was not told to the peer yet, is freed.
    """

    def __init__(self, max_idle_bytes: int) -> None:
        self.max_idle_bytes = max_idle_bytes
        self.idle_bytes = 0
        #: Leases that are over, for the peer.
        self.released: deque[int] = deque()
        #: Nobody leases this memory again: a forked child may see it, or the peer has gone. It is freed when the last
        #: view of this process has gone, and the child's.
        self.kept = False
        self._viewed = self._told = 0  # leases: how many were seen here, and of how many the end was told to the peer
        self._mappings: dict[int, Mapping] = {}

    def attach(self, segment: Segment) -> None:
        """Map a segment of the peer's. The descriptor stays the caller's.

        Raises:
            OutOfMemoryError: it cannot be mapped.
        """
        self._mappings[segment.number] = Mapping(*segment)

    def view(self, token: int, segment: int, offset: int, capacity: int) -> memoryview:
        """The memory of one lease, all of it. When nothing sees it any more, ``token`` is among the released ones."""
        mapping = self._mappings[segment]
        exporter = _peer_exporter(capacity)(mapping.address + offset)
        exporter.home, exporter.mapping, exporter.token = self, mapping, token
        hide_from_collector(exporter)
        self._viewed += 1
        return memoryview(exporter).cast("B")

    @property
    def lent(self) -> int:
        """How many leases somebody sees."""
        return self._viewed - self._told - len(self.released)

    def take_released(self) -> list[int]:
        """The leases that are over, each once; the peer is to be told."""
        released = self.released
        found = [released.popleft() for _ in range(len(released))]
        self.idle_bytes = 0
        self._told += len(found)
        return found

    def close(self) -> None:
        """No more views are made, and nothing is leased again."""
        self.kept = True
        self._mappings.clear()
