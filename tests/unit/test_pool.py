"""BufferPool: what a lease is, when memory comes back, how much stays; forks, exits, finalizers and interrupts."""

from __future__ import annotations

import builtins
import ctypes
import gc
import mmap
import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from s3dlio.memory import BufferPool, BytesView, default_pool
from s3dlio.memory.libc import address_of

MIB = 1 << 20
KINDS: dict[str, Callable[[memoryview], Any]] = {
    "memoryview": memoryview,
    "slice": lambda lease: lease[10:20],
    "slice of a slice": lambda lease: lease[10:][5:][:3],
    "empty slice": lambda lease: lease[5:5],
    "cast": lambda lease: lease[:64].cast("d"),
    "read-only": lambda lease: lease.toreadonly(),
    "numpy": lambda lease: np.frombuffer(lease, np.uint8),
    "numpy slice": lambda lease: np.frombuffer(lease, np.uint8)[7:].reshape(-1, 1)[3],
    "BytesView": BytesView,
    "slice of a BytesView": lambda lease: BytesView(lease)[3:9],
    "memoryview of a BytesView": lambda lease: memoryview(BytesView(lease)),
    "numpy of a BytesView": lambda lease: np.frombuffer(BytesView(lease), np.uint8),
    "ctypes": lambda lease: ctypes.c_char.from_buffer(lease),
    "iterator": lambda lease: iter(lease),
}


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_000, MIB, MIB + 1, 5 * MIB, 64 * MIB])
def test_a_lease(size: int) -> None:
    lease = BufferPool().lease(size)
    assert type(lease) is memoryview
    assert (len(lease), lease.format, lease.ndim, lease.readonly, lease.c_contiguous) == (size, "B", 1, False, True)
    assert address_of(lease) % mmap.PAGESIZE == 0
    if size:
        lease[0], lease[-1] = 1, 255
        assert lease[-1] == 255


@pytest.mark.parametrize(("size", "length"), [(0, 0), (1, 4096), (4096, 4096), (4097, 8192), (MIB + 5, MIB + 4096)])
def test_an_aligned_lease(size: int, length: int) -> None:
    assert len(BufferPool().lease_aligned(size)) == length
    assert len(BufferPool().lease_aligned(size, 1)) == size


@pytest.mark.parametrize("size", [-1, 1 << 62])
def test_absurd_sizes(size: int) -> None:
    with pytest.raises(ValueError, match="size of a buffer must be"):
        BufferPool().lease(size)
    with pytest.raises(ValueError, match="size of a buffer must be"):
        BufferPool().lease_aligned(size)


@pytest.mark.parametrize("alignment", [0, -4096, 3000, 1 << 30])
def test_absurd_alignments(alignment: int) -> None:
    with pytest.raises(ValueError, match="alignment must be a power of two"):
        BufferPool().lease_aligned(10, alignment)


def test_absurd_bound() -> None:
    with pytest.raises(ValueError, match="max_idle_bytes must be 0 or more"):
        BufferPool(-1)


def test_memory_that_is_not_there_is_a_memory_error() -> None:
    pool = BufferPool()
    with pytest.raises(MemoryError, match="cannot map"):
        pool.lease(1 << 47)
    assert pool.stats().leased == 0
    assert len(pool.lease(100)) == 100


@pytest.mark.parametrize("size", [5000, 3 * MIB])
def test_what_was_given_back_is_leased_next(size: int) -> None:
    pool = BufferPool()
    first, second = pool.lease(size), pool.lease(size)
    addresses = address_of(first), address_of(second)
    assert addresses[0] != addresses[1]
    del second
    del first
    assert address_of(pool.lease(size)) == addresses[0]  # the last one back


@pytest.mark.parametrize("kind", KINDS)
def test_memory_stays_while_anything_sees_it(kind: str) -> None:
    pool = BufferPool()
    lease = pool.lease(1000)
    lease[:] = bytes(range(250)) * 4
    seen = KINDS[kind](lease)
    del lease
    assert pool.stats().leased == 1
    others = [pool.lease(1000) for _ in range(300)]
    for other in others:
        other[:] = b"\xee" * 1000
    if not isinstance(seen, type(iter(memoryview(b"")))):
        expected = KINDS[kind](memoryview(bytearray(bytes(range(250)) * 4)))
        assert bytes(seen) == bytes(expected)
    del others, other, seen
    assert pool.stats().leased == 0


def test_a_released_lease_is_back() -> None:
    pool = BufferPool()
    with pool.lease(10):
        assert pool.stats().leased == 1
    assert pool.stats().leased == 0


def test_stats() -> None:
    pool = BufferPool()
    assert pool.stats() == type(pool.stats())(leased=0, leased_bytes=0, idle=0, idle_bytes=0)
    leases = [pool.lease(1), pool.lease(5000), pool.lease(3 * MIB)]
    assert (pool.stats().leased, pool.stats().leased_bytes) == (3, 4096 + 8192 + 3 * MIB)
    del leases[1:]
    assert (pool.stats().idle, pool.stats().idle_bytes) == (2, 8192 + 3 * MIB)
    pool.trim()
    assert pool.stats() == type(pool.stats())(leased=1, leased_bytes=4096, idle=0, idle_bytes=0)
    leases[0][0] = 1


@pytest.mark.parametrize("size", [4096, 60_000, MIB, 4 * MIB])
def test_the_idle_bound_holds_after_every_return(size: int) -> None:
    bound = 10 * MIB
    pool = BufferPool(bound)
    leases = [pool.lease(size) for _ in range(2 * bound // size + 1)]
    for lease in leases:
        lease[0] = 1
    while leases:
        leases.pop()
        del lease
        assert pool.stats().idle_bytes <= bound
        lease = None
    assert pool.stats().leased == 0
    assert pool.stats().idle_bytes > bound - 2 * size - 2 * MIB  # neighbours go together


def test_more_stays_idle_while_it_is_asked_for() -> None:
    pool = BufferPool(8 * MIB)
    forget = pool.keep_idle(8 * MIB)
    leases = [pool.lease(4 * MIB) for _ in range(5)]
    leases.clear()
    assert pool.stats().idle_bytes == 16 * MIB
    forget()
    assert pool.stats().idle_bytes == 8 * MIB
    forget()
    leases = [pool.lease(4 * MIB) for _ in range(5)]
    leases.clear()
    assert pool.stats().idle_bytes == 8 * MIB


@pytest.mark.skipif(mmap.PAGESIZE != 4096, reason="pages of another size")
@pytest.mark.parametrize("pages", [5, 6, 7, 8])
def test_small_results_take_no_more_than_their_pages(pages: int) -> None:
    pool = BufferPool(MIB)
    lease = pool.lease((pages - 1) * mmap.PAGESIZE + 1)
    assert pool.stats().leased_bytes == pages * mmap.PAGESIZE
    assert len(lease) == (pages - 1) * mmap.PAGESIZE + 1


def test_a_lease_of_a_whole_capacity_has_its_own_size_also_in_a_larger_slab() -> None:
    pool = BufferPool(64 * MIB)
    pool.lease(12 * MIB).release()
    assert pool.stats().idle_bytes == 12 * MIB
    assert len(pool.lease(8 * MIB)) == 8 * MIB


def test_a_large_lease_takes_a_larger_slab_that_is_idle() -> None:
    pool = BufferPool(64 * MIB)
    address = address_of(pool.lease(12 * MIB))
    lease = pool.lease(7 * MIB)
    assert (address_of(lease), len(lease)) == (address, 7 * MIB)
    other = pool.lease(7 * MIB)
    assert address_of(other) != address
    del lease, other
    assert pool.stats().leased == 0
    small = pool.lease(5000)
    assert address_of(small) != address


def test_a_pool_that_keeps_nothing() -> None:
    pool = BufferPool(0)
    for size in (10, 10 * MIB):
        pool.lease(size)[0] = 1
        assert pool.stats().idle == 0
        assert pool.lease(size)[0] == 0  # its pages were with the kernel


def test_the_class_unused_for_longest_shrinks_first() -> None:
    pool = BufferPool(8 * MIB)
    pool.lease(4 * MIB)
    pool.lease(2 * MIB)
    pool.lease(3 * MIB)  # 9 MiB: the 4 MiB slab goes
    assert pool.stats().idle_bytes == 5 * MIB
    pool.lease(2 * MIB)
    assert pool.stats().idle_bytes == 5 * MIB


def test_of_one_class_the_coldest_goes_first() -> None:
    pool = BufferPool(2 * MIB)
    leases = [pool.lease(MIB) for _ in range(3)]
    addresses = [address_of(lease) for lease in leases]
    while leases:
        del leases[0]
    again = [pool.lease(MIB), pool.lease(MIB)]
    assert [address_of(lease) for lease in again] == [addresses[2], addresses[1]]


def test_idle_memory_that_was_let_go_is_not_resident() -> None:
    pool = BufferPool()
    leases = [pool.lease(4096) for _ in range(16 * 256)]  # 16 MiB in small slabs
    for lease in leases:
        lease[:] = b"x" * 4096
    del lease, leases
    before = resident()
    pool.trim()
    assert before - resident() > 12 * MIB


def huge_pages() -> bool:
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            return "[never]" not in file.read()
    except OSError:
        return False


@pytest.mark.skipif(not huge_pages(), reason="the kernel has no huge pages")
@pytest.mark.parametrize("size", [96 << 10, 128 << 10, MIB])
def test_many_small_buffers_are_touched_as_huge_pages(size: int) -> None:
    """Also those that were with the kernel meanwhile."""
    pool = BufferPool()
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        leases = [pool.lease(size) for _ in range(32 * MIB // size)]
        for lease in leases:
            lease[:: mmap.PAGESIZE] = bytes(len(lease[:: mmap.PAGESIZE]))
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        assert faults < 32 * MIB // mmap.PAGESIZE // 2
        del lease
        leases.clear()
        pool.trim()


def test_the_bound_follows_the_limit_of_the_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, bound in ((128, 32), (512, 64), (4096, 256), (100_000, 512)):
        monkeypatch.setattr("s3dlio.memory.pool.available_memory", lambda limit=limit: limit * MIB)
        assert BufferPool().max_idle_bytes == bound * MIB


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_memory_is_flat() -> None:
    pool = BufferPool()
    size = 64 * MIB
    source = b"\x5a" * size
    for turn in range(20):
        lease = pool.lease(size)
        lease[:] = source
        view = BytesView(lease)  # as a caller holds the result before while the next one arrives
        if turn == 2:
            before = resident()
    assert resident() - before < 8 * MIB
    assert pool.stats().leased + pool.stats().idle <= 2
    assert view[-1] == 0x5A


def test_a_thread_may_return_what_another_leased() -> None:
    pool = BufferPool()
    box = [pool.lease(100)]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert (pool.stats().leased, pool.stats().idle) == (0, 1)


def test_a_return_within_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may run in the middle of `lease`, and return other slabs of the same class from there."""
    pool = BufferPool(64 << 10)
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(300):
            cycle: list[Any] = [pool.lease(4096) for _ in range(20)]
            cycle.append(cycle)
    finally:
        gc.set_threshold(*threshold)
    del cycle
    gc.collect()
    assert pool.stats().leased == 0
    assert pool.stats().idle_bytes <= 64 << 10


@pytest.mark.parametrize("seen", [memoryview, lambda lease: memoryview(BytesView(lease, writable=True))])
def test_finalizers_of_a_dead_cycle_still_own_the_memory(seen: Callable[[memoryview], memoryview]) -> None:
    """The collector runs every finalizer of a dead cycle before it breaks it: none may find its buffer in the pool."""
    pool = BufferPool()
    saved: list[memoryview] = []

    class Writer:
        def __init__(self) -> None:
            self.me = self
            self.buffer = seen(pool.lease(4096))
            self.buffer[:] = b"m" * 4096

        def __del__(self) -> None:
            other = pool.lease(4096)
            other[:] = b"o" * 4096
            saved.append(self.buffer)  # brought back to life

    for _ in range(50):
        Writer()
    gc.collect()
    assert len(saved) == 50
    assert pool.stats().leased == 50
    assert all(bytes(buffer) == b"m" * 4096 for buffer in saved)
    saved.clear()
    gc.collect()
    assert pool.stats().leased == 0


def test_leases_outlive_their_pool() -> None:
    pool = BufferPool()
    small, large = pool.lease(100), pool.lease(10 * MIB)
    large[-1] = 7
    del pool
    gc.collect()
    small[0] = 1
    assert large[-1] == 7


def test_a_pool_without_leases_is_freed() -> None:
    before = resident()
    for _ in range(10):
        BufferPool().lease(32 * MIB)[:] = bytes(32 * MIB)
    gc.collect()
    assert resident() - before < 64 * MIB


def run(program: str) -> str:
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("keeper", ["sys", "builtins", "threading", "gc"])
def test_exit_with_leases_alive(keeper: str) -> None:
    """Slabs come home while modules fall to pieces: no error, and no noise."""
    run(f"""
        import {keeper}
        from s3dlio.memory import BufferPool, BytesView, default_pool
        pool = BufferPool(0)
        cycle = [pool.lease(10), default_pool().lease(100), pool.lease(5 << 20)]
        cycle.append(cycle)
        {keeper}.kept = [pool.lease(10), BytesView(pool.lease(3 << 20)), default_pool().lease(100)]
        local = pool.lease(2 << 20)
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_its_own_copies() -> None:
    run("""
        import os
        from s3dlio.memory import BufferPool, default_pool
        pool, own = default_pool(), BufferPool()
        mine, others = pool.lease(100_000), own.lease(3 << 20)
        mine[:], others[:5] = b"p" * 100_000, b"first"
        for _ in range(3):
            pool.lease(50_000), pool.lease(8 << 20)  # idle at the fork
        read, write = os.pipe()
        child = os.fork()
        if not child:
            assert pool.stats().idle == 0 and pool.stats().leased == 1
            assert mine == b"p" * 100_000
            mine[:] = b"c" * 100_000
            del mine
            again = pool.lease(100_000)
            assert again == b"c" * 100_000
            del others
            assert own.stats().leased == 0
            for _ in range(50):
                pool.lease(8 << 20)[:4] = own.lease(3 << 20)[:4] = b"cccc"
            os.write(write, b"ok")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        assert os.read(read, 2) == b"ok"
        assert mine == b"p" * 100_000 and others[:5] == b"first"
        assert pool.stats().leased == 1 and pool.stats().idle > 0
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forks_while_threads_lease() -> None:
    run("""
        import os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from s3dlio.memory import default_pool
        pool, stop = default_pool(), threading.Event()
        def work():
            while not stop.is_set():
                leases = [pool.lease(size) for size in (10, 70_000, 2 << 20)]
                leases[-1][0] = 1
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for _ in range(20):
            child = os.fork()
            if not child:
                leases = [pool.lease(size) for size in (10, 70_000, 2 << 20) for _ in range(10)]
                for lease in leases: lease[:] = bytes(len(lease))
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        assert pool.stats().leased == 0
    """)


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="opcodes cannot be traced from a call on")
def test_an_interrupt_loses_no_slab() -> None:
    """Ctrl-C may strike between any two instructions of a lease and of its end; every slab is home afterwards."""
    pool = BufferPool()
    strikes = 0

    def strike(frame: Any, event: str, arg: Any) -> Any:
        nonlocal strikes
        if "pool.py" not in frame.f_code.co_filename or frame.f_code.co_name not in ("lease", "lease_aligned"):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            strikes += 1
            if strikes == target:
                raise KeyboardInterrupt
        return strike

    pool.lease(100)
    tracer = sys.gettrace()  # coverage's, it may be
    interrupted = target = 0
    while True:
        target += 1
        strikes = 0
        sys.settrace(strike)
        try:
            pool.lease_aligned(100)
        except KeyboardInterrupt:
            interrupted += 1
        else:
            break
        finally:
            sys.settrace(tracer)
        assert pool.stats().leased == 0
    assert interrupted > 30


def test_the_default_pool_is_one() -> None:
    assert default_pool() is default_pool()
    assert not hasattr(builtins, "kept")
    assert default_pool().max_idle_bytes <= 512 * MIB
