"""A pool of page-aligned buffers that are reused while their pages are hot.

A fresh 64 MiB buffer costs more in page faults than reading a file into it (docs/memory.md has the figures), so memory
is leased, given back and leased again. **A lease is a plain memoryview.** Its memory returns to the pool when the last
object that can see it is gone: a slice, a cast, an array, a tensor. A weak reference to the memoryview would not do,
because a slice does not keep the memoryview it was cut from. What all of them do keep is the *exporter* of the buffer,
so each lease makes a fresh one, a ctypes array laid over the slab, and its ``__del__`` is the give-back.

That ``__del__`` runs anywhere: in any thread, within the garbage collector, in the middle of `lease` of the same
thread. So nothing here takes a lock. Every change of state is one atomic operation of a deque or dict, and what can be
counted is counted from those, never kept beside them.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import math
import mmap
import os
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from s3dlio.errors import ConfigError
from s3dlio.forking import renewed_in_child
from s3dlio.hardware import available_memory
from s3dlio.memory.buffers import hide_from_collector

PAGE = mmap.PAGESIZE
#: Below this many bytes a fresh bytearray is quicker than a pooled page-aligned buffer (1 against 2 us, and 4 KiB
#: objects would each hold a whole page class).
SMALL = 32 * 1024
ALIGNMENT = 4096  # what O_DIRECT asks of lengths and offsets on any common device

_DONT_NEED: int | None = getattr(mmap, "MADV_DONTNEED", None)  # read here: at exit a module may be empty already
_SIZES = 1024  # how many sizes keep their class at hand
_MAX = 1 << 48  # bytes; what a process can address at most
_HUGE = 2 << 20  # the size of a huge page: what is mapped in these is asked for as such (docs/memory.md)
#: Slabs smaller than this are cut from larger mappings. One each would exhaust vm.max_map_count, and the first touch of
#: 128 KiB costs 70 us as 32 pages of its own, 20 as its share of a huge page.
_OWN_MAPPING = 4 << 20
_FIRST_CHUNK = 1 << 20  # the first mapping that small slabs are cut from: a program that needs one or two pays no more


class PoolStats(NamedTuple):
    """A count of the slabs of a pool. `leased` are seen by somebody; `idle` wait, resident, for the next lease."""

    leased: int
    leased_bytes: int
    idle: int
    idle_bytes: int


class _SizeClass:
    """The slabs of one capacity. Every address is in `mapped`, and in `idle` or `cold` while nobody sees it."""

    __slots__ = ("capacity", "cold", "idle", "last_used", "mapped", "pool", "take_cold", "take_idle")

    def __init__(self, pool: BufferPool, capacity: int) -> None:
        self.pool = pool
        self.capacity = capacity
        self.idle: deque[int] = deque()  # a stack: the slab given back last is the one in the CPU's cache
        self.cold: deque[int] = deque()  # addresses of small slabs whose pages went back to the kernel
        self.mapped: dict[int, tuple[mmap.mmap, int]] = {}  # address -> its mapping and the offset there
        self.last_used = 0
        # From the stack to the exporter in one step of C: an interrupt in between would lose the slab for good.
        export = _exporter_type(self).from_address
        self.take_idle = map(export, iter(self.idle.pop, None)).__next__
        self.take_cold = map(export, iter(self.cold.pop, None)).__next__

    def take_new(self) -> Any:
        """The exporter of a slab with fresh pages."""
        while True:
            try:
                return self.take_cold()
            except IndexError:
                self._map()

    def evict_oldest(self) -> bool:
        """Hand the pages of the slab that is idle longest to the kernel; False if no slab is idle."""
        try:
            address = self.idle.popleft()
        except IndexError:
            return False
        mapping, offset = self.mapped[address]
        if self.capacity >= _OWN_MAPPING:
            del self.mapped[address]
            self.pool.unmapping(address)
            mapping.close()
            return True
        # A part of a mapping cannot be unmapped without splitting it, so slabs keep their addresses. Where the system
        # has no such call (Windows) they stay resident.
        going = self._with_neighbours(address)
        if _DONT_NEED is not None:
            mapping.madvise(_DONT_NEED, offset + min(going) - address, len(going) * self.capacity)
        self.cold += going
        return True

    def _with_neighbours(self, address: int) -> list[int]:
        """A slab, and those of its mapping that have become idle right after it, one beside the other: what was leased
        together mostly ends together, and a huge page is freed, and had again, only as a whole."""
        mapping, going = self.mapped[address][0], [address]
        low, high = address - self.capacity, address + self.capacity
        try:
            while (other := self.idle[0]) in (low, high) and self.mapped[other][0] is mapping:
                self.idle.remove(other)  # it is the first
                going.append(other)
                low, high = min(low, other - self.capacity), max(high, other + self.capacity)
        except (IndexError, ValueError):
            pass  # there is none, or another thread took it
        return going

    def _map(self) -> None:
        length = self._next_chunk()
        try:
            mapping, start = _map_private(length)
        except MemoryError:
            self.pool.trim()  # what is idle may be what is missing
            length = self.capacity
            mapping, start = _map_private(length)
        base = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        for offset in range(start + length - self.capacity, start - 1, -self.capacity):
            self.mapped[base + offset] = (mapping, offset)
            self.cold.append(base + offset)

    def _next_chunk(self) -> int:
        """Bytes of the next mapping: a multiple of the capacity, and of huge pages where many slabs are cut from it."""
        capacity = self.capacity
        if capacity >= _OWN_MAPPING:
            return capacity
        if not self.mapped and capacity < _HUGE:
            return max(capacity, _FIRST_CHUNK // capacity * capacity)
        return math.lcm(capacity, _HUGE)


def _exporter_type(home: _SizeClass) -> Any:
    give_back, pool, capacity = home.idle.append, home.pool, home.capacity

    def leave(exporter: Any, addressof: Callable[[Any], int] = ctypes.addressof) -> None:
        give_back(addressof(exporter))
        pool._room -= capacity
        if pool._room < 0:
            pool._settle()

    return type("Exporter", (ctypes.c_ubyte * capacity,), {"__slots__": (), "__del__": leave})


def _map_private(length: int) -> tuple[mmap.mmap, int]:
    """Zeroed memory of this process alone: a forked child has its own copy, and may return it to its own pool.

    Returns the mapping, and where in it the ``length`` bytes begin: at a huge page if they are that many.
    """
    mapping = _map_anonymous(length)
    if length < _HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return mapping, 0
    if start := -ctypes.addressof(ctypes.c_char.from_buffer(mapping)) % _HUGE:  # Linux before 6.7 maps anywhere
        mapping = _map_anonymous(length + _HUGE)
        start = -ctypes.addressof(ctypes.c_char.from_buffer(mapping)) % _HUGE
    with contextlib.suppress(OSError):  # a kernel built without huge pages: only the first touch is slower
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return mapping, start


def _map_anonymous(length: int) -> mmap.mmap:
    try:
        if os.name == "nt":
            return mmap.mmap(-1, length)
        return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as exc:
        raise MemoryError(f"cannot map {length} bytes for a buffer: {exc.strerror or exc}") from exc


def _capacity(size: int) -> int:
    """The size class: the next 2**n or 1.5 * 2**n that is a multiple of a page. Small results are kept by the ten
    thousand, so those have more classes: 17 KiB would take 24."""
    if size <= PAGE:
        return PAGE
    if 4 * PAGE < size <= SMALL:
        return -(-size // PAGE) * PAGE
    power = 1 << (size - 1).bit_length()
    between = power // 4 * 3
    return between if size <= between and power > 2 * PAGE else power


def _nobody_asked(address: int) -> None:
    """Nobody has to know that a slab goes."""


def _default_idle_bytes() -> int:
    """A share of the memory of this process that nobody misses, and enough for 8 buffers of 64 MiB in flight."""
    memory = available_memory()
    return max(min(64 << 20, memory // 4), min(512 << 20, memory // 16))


class BufferPool:
    """Leases page-aligned memory, and keeps at most `max_idle_bytes` of returned memory for the next lease.

    Safe for any number of threads, without locks. Leases themselves are not bounded here: who starts transfers bounds
    them by bytes in flight. Beyond the bound the class of slabs that was not used for longest shrinks first.

    Args:
        max_idle_bytes: bytes of returned memory that stay resident; 0 keeps none. Default: 1/16 of the memory that the
            machine, or the process's cgroup, has, between 64 MiB (or a quarter, where that is less) and 512 MiB.

    Raises:
        ValueError: `max_idle_bytes` is negative.
    """

    def __init__(self, max_idle_bytes: int | None = None) -> None:
        if max_idle_bytes is not None and max_idle_bytes < 0:
            raise ConfigError(f"max_idle_bytes must be 0 or more, got {max_idle_bytes}")
        self._max_idle_bytes = max_idle_bytes
        self._classes: dict[int, _SizeClass] = {}
        self._by_size: dict[int, _SizeClass] = {}  # the classes of sizes that were leased lately
        self._clock = itertools.count(1)
        self._kept: dict[int, int] = {}  # see `keep_idle`
        self._numbers = itertools.count()
        # Bytes that may surely come back before the idle ones are over the bound: what came back since they were
        # counted, however much of it was leased again meanwhile.
        self._room = 0
        #: Called with the address of a slab of its own mapping before that goes, from finalizers too: takes no lock.
        self.unmapping: Callable[[int], object] = _nobody_asked

    @property
    def max_idle_bytes(self) -> int:
        """How many bytes of returned memory stay resident."""
        if self._max_idle_bytes is None:
            self._max_idle_bytes = _default_idle_bytes()
        return self._max_idle_bytes

    @max_idle_bytes.setter
    def max_idle_bytes(self, value: int) -> None:
        self._max_idle_bytes = value
        self._room = 0

    def lease(self, size: int) -> memoryview:
        """Writable memory of `size` bytes: format 'B', one dimension, page-aligned start, content undefined.

        It is yours, and every slice's, array's and tensor's over it, until the last of them is gone.

        Raises:
            ValueError: `size` is negative or absurd.
            MemoryError: the system has no memory of that size.
        """
        home = self._by_size.get(size) or self._class_of(size)
        home.last_used = next(self._clock)
        try:
            exporter = home.take_idle()  # the hottest slab
        except IndexError:
            exporter = self._take_larger(home) or home.take_new()
        # The collector finalizes the members of a dead cycle first and takes it apart then. A slab would be in the
        # pool while finalizers of the rest still read it, or even bring it back to life.
        hide_from_collector(exporter)
        view = memoryview(exporter).cast("B")  # ctypes says '<B', which memoryview cannot index
        return view if len(view) == size else view[:size]

    def _take_larger(self, home: _SizeClass) -> Any:
        """The exporter of an idle slab of up to twice the capacity, for a large one: its pages are there, which cost
        more than they hold."""
        if home.capacity < _OWN_MAPPING:
            return None
        for other in list(self._classes.values()):
            if home.capacity < other.capacity <= 2 * home.capacity and other.idle:
                with contextlib.suppress(IndexError):  # another thread took it
                    return other.take_idle()
        return None

    def keep_idle(self, size: int) -> Callable[[], None]:
        """Keep so many bytes more of returned memory: what will be leased again soon. The bound holds again when the
        function that this returns has been called; it takes no lock."""
        number = next(self._numbers)
        self._kept[number] = size
        self._room = 0

        def forget() -> None:
            if self._kept.pop(number, None) is not None:
                self._settle()

        return forget

    def lease_aligned(self, size: int, alignment: int = ALIGNMENT) -> memoryview:
        """As `lease`, with the length rounded up to a multiple of `alignment` bytes: what O_DIRECT reads into.

        Raises:
            ValueError: `size` is negative or absurd, or `alignment` is not a power of two of at most a page.
            MemoryError: the system has no memory of that size.
        """
        if not 0 < alignment <= PAGE or alignment & (alignment - 1):
            raise ConfigError(f"alignment must be a power of two of at most {PAGE} (a page), got {alignment}")
        return self.lease((size + alignment - 1) & -alignment if size > 0 else size)

    def slab_of(self, address: int) -> tuple[int, int] | None:
        """The slab, of those that have a mapping each, that an address lies in: where it begins, and its bytes."""
        for home in list(self._classes.values()):
            if home.capacity >= _OWN_MAPPING:
                for begin in list(home.mapped):
                    if begin <= address < begin + home.capacity:
                        return begin, home.capacity
        return None

    def stats(self) -> PoolStats:
        """Count the slabs. Exact while no other thread leases; a slab on its way may be missed otherwise."""
        leased = leased_bytes = idle = idle_bytes = 0
        for home in list(self._classes.values()):
            n_idle = len(home.idle)
            n_leased = max(0, len(home.mapped) - len(home.cold) - n_idle)
            leased += n_leased
            leased_bytes += n_leased * home.capacity
            idle += n_idle
            idle_bytes += n_idle * home.capacity
        return PoolStats(leased, leased_bytes, idle, idle_bytes)

    def trim(self, max_idle_bytes: int = 0) -> None:
        """Hand idle memory to the kernel until at most `max_idle_bytes` stay; leases are not touched."""
        while self._idle_bytes() > max_idle_bytes:
            for home in sorted(self._classes.values(), key=attrgetter("last_used")):
                if home.evict_oldest():
                    break

    def renew(self) -> None:
        """In a forked child: its leases are its own copies, written to its own pool when they end. Only idle memory is
        let go, since a first write to a page shared with the parent costs a copy, more than a fresh page does."""
        self._kept.clear()
        self.trim()

    def _class_of(self, size: int) -> _SizeClass:
        if not 0 <= size <= _MAX:
            raise ConfigError(f"the size of a buffer must be from 0 to {_MAX} bytes, got {size}")
        capacity = _capacity(size)
        home = self._classes.get(capacity)
        if home is None:
            _ = self.max_idle_bytes  # known from now on: it may take reading files, which finalizers do not
            home = self._classes.setdefault(capacity, _SizeClass(self, capacity))
        if len(self._by_size) >= _SIZES:
            self._by_size.clear()
        self._by_size[size] = home
        return home

    def _settle(self) -> None:
        bound = (self._max_idle_bytes or 0) + sum(list(self._kept.values()))
        idle = self._idle_bytes()
        if idle > bound:
            self.trim(bound)
            idle = self._idle_bytes()
        self._room = bound - idle

    def _idle_bytes(self) -> int:
        return sum([len(home.idle) * home.capacity for home in list(self._classes.values())])


_default = BufferPool()


def default_pool() -> BufferPool:
    """The pool of this process. A forked child begins with an empty one: what was idle is the parent's to keep hot."""
    return _default


renewed_in_child(_default)
