"""Copies between the pool's memory and a device: slabs are pinned once, and kept until their copies are done.

The device reads and writes host memory on its own, after the call that began the copy has returned. So what a copy
needs is held here, not by whoever began it: an error or Ctrl-C may end that at any time. Finalizers run anywhere, so
what they call (``PinnedSlabs.unmapping``) takes no lock.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from s3dlio.errors import CudaError, OutOfMemoryError
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.memory.buffers import address_of
from s3dlio.memory.cuda import TO_DEVICE, TO_HOST, CudaRuntime, Event, cuda_runtime
from s3dlio.memory.pool import BufferPool, default_pool

log = logging.getLogger("s3dlio.gpu")

#: Bytes that are pinned at most: pinned memory is missing elsewhere.
MAX_PINNED = 512 << 20
_ALREADY = "cudaErrorHostMemoryAlreadyRegistered"


class Copy:
    """A copy that was begun, and what it needs."""

    __slots__ = ("address", "device", "event", "keep", "size", "starting", "stream", "view")

    def __init__(self, view: memoryview, device: int, stream: int, keep: Any) -> None:
        self.view = view
        self.address = address_of(view)
        self.size = len(view)
        self.device = device
        self.stream = stream
        self.keep = keep
        self.event: Event | None = None
        self.starting = True


class PinnedSlabs:
    """The slabs of a pool that are registered with CUDA. Those used longest ago make room for others.

    Args:
        cuda: the runtime.
        pool: whose slabs. Those that are parts of a mapping stay as they are: their pages come and go.
        limit: bytes at most.
        busy: whether a copy from or to a slab (its address and bytes) is under way.
    """

    def __init__(self, cuda: CudaRuntime, pool: BufferPool, limit: int, busy: Callable[[int, int], bool]) -> None:
        self._cuda = cuda
        self._pool = pool
        self._limit = limit
        self._busy = busy
        self._registered: dict[int, int] = {}  # address -> bytes; what was used last is the last
        self._lock = ForkLock()
        self._process = os.getpid()
        pool.unmapping = self.unmapping

    @property
    def nbytes(self) -> int:
        """Bytes that are pinned."""
        return sum(list(self._registered.values()))

    def pin(self, address: int) -> None:
        """Register the slab that an address lies in, unless it is. Where it cannot be, copies are only slower.

        Raises:
            CudaError: the device cannot be used.
        """
        slab = self._pool.slab_of(address)
        if slab is None:
            return
        begin, size = slab
        with self._lock:
            if self._registered.pop(begin, None) is not None:
                self._registered[begin] = size
                return
            if not self._make_room(size):
                return
            self._registered[begin] = size  # first: an interrupt must not leave memory that nobody unregisters
            try:
                self._cuda.register(begin, size)
            except (CudaError, OutOfMemoryError) as error:
                self._registered.pop(begin, None)
                if error.code == _ALREADY:  # by the program itself
                    return
                if not isinstance(error, OutOfMemoryError) and error.code != "cudaErrorNotSupported":
                    raise
                self._limit = self.nbytes
                log.warning("only %d bytes can be pinned, copies to the device are slower: %s", self._limit, error)

    def _make_room(self, size: int) -> bool:
        if size > self._limit:
            return False
        for begin, other in list(self._registered.items()):
            if self.nbytes + size <= self._limit:
                break
            if not self._busy(begin, other):
                self.unmapping(begin)
        return self.nbytes + size <= self._limit

    def unmapping(self, address: int) -> None:
        """A slab goes: unregister it."""
        if self._registered.pop(address, None) is None or os.getpid() != self._process:
            return
        try:
            self._cuda.unregister(address)
        except CudaError as error:
            log.debug("memory could not be unregistered: %s", error)

    def renew(self) -> None:
        """In a forked child: its memory is a copy, which was never registered."""
        self._registered.clear()
        self._process = os.getpid()

    def release(self) -> None:
        """Unregister all that no copy needs."""
        for begin, size in list(self._registered.items()):
            if not self._busy(begin, size):
                self.unmapping(begin)


class DeviceCopies:
    """Begins copies, and holds what they need until they are done.

    Args:
        cuda: the runtime.
        pool: whose slabs are pinned.
        limit: bytes that are pinned at most.
    """

    def __init__(self, cuda: CudaRuntime, pool: BufferPool, limit: int = MAX_PINNED) -> None:
        self.cuda = cuda
        self.limit = limit
        self._pending: deque[Copy] = deque()
        self._lost: list[Copy] = []  # the device cannot say any more whether it is done with these
        self.slabs = PinnedSlabs(cuda, pool, limit, self._busy)

    def start(
        self,
        view: memoryview,
        parts: Sequence[tuple[int, int, int]],
        device: int,
        stream: int,
        *,
        to_host: bool = False,
        keep: Any = None,
    ) -> Copy:
        """Begin to copy parts of host memory to the device, or from there.

        Args:
            view: host memory, in bytes; it is kept until the copy is done.
            parts: offset in it, bytes, address on the device.
            device, stream: where the copies are put in order.
            to_host: the view is filled.
            keep: what else has to be there until then.

        Raises:
            CudaError: it could not begin.
        """
        self.settle(self.limit // 2)
        copy = Copy(view, device, stream, keep)
        try:
            self._pending.append(copy)
            with self.cuda.on(device):
                self.slabs.pin(copy.address)
                for offset, size, there in parts:
                    here = copy.address + offset
                    if to_host:
                        self.cuda.copy(here, there, size, TO_HOST, stream)
                    else:
                        self.cuda.copy(there, here, size, TO_DEVICE, stream)
                copy.event = self.cuda.record(stream)
        finally:
            copy.starting = False  # without an event: what was begun ends with all that its stream does
        return copy

    def finish(self, copy: Copy) -> memoryview:
        """Wait until a copy is done; what it was from, or to."""
        self._wait(copy)
        self._forget(copy)
        return copy.view

    def settle(self, most: int = 0) -> None:
        """Let go of what was copied, and wait until no more than ``most`` bytes are being copied.

        Raises:
            CudaError: the device failed.
        """
        pending = list(self._pending)
        left = sum(copy.size for copy in pending)
        for copy in pending:
            if copy.starting:  # by another thread
                continue
            if left > most:
                self._wait(copy)
            elif copy.event is None or not self._passed(copy):
                break
            self._forget(copy)
            left -= copy.size

    def _wait(self, copy: Copy) -> None:
        try:
            if copy.event is not None:
                self.cuda.wait(copy.event)
                return
            with self.cuda.on(copy.device):
                self.cuda.synchronize(copy.stream)
        except CudaError:
            self._lose(copy)
            raise

    def _passed(self, copy: Copy) -> bool:
        try:
            return copy.event is not None and self.cuda.passed(copy.event)
        except CudaError:
            self._lose(copy)
            raise

    def _lose(self, copy: Copy) -> None:
        self._lost.append(copy)
        self._forget(copy)

    def _forget(self, copy: Copy) -> None:
        with contextlib.suppress(ValueError):  # another thread did
            self._pending.remove(copy)

    def _busy(self, begin: int, size: int) -> bool:
        return any(begin <= copy.address < begin + size for copy in [*self._pending, *self._lost])

    def release(self) -> None:
        """Wait for all copies, and unregister all memory."""
        try:
            self.settle()
        finally:
            self.slabs.release()

    def renew(self) -> None:
        """In a forked child: there is no device, and nothing to wait for."""
        self._pending.clear()
        self._lost.clear()
        self.slabs.renew()


_made: list[DeviceCopies] = []
_making = ForkLock()


def device_copies() -> DeviceCopies:
    """The copies of this process.

    Raises:
        MissingDependencyError: there is no CUDA runtime.
    """
    with _making:
        if not _made:
            copies = DeviceCopies(cuda_runtime(), default_pool())
            renewed_in_child(copies)
            atexit.register(_release_at_exit, copies, os.getpid())
            _made.append(copies)
        return _made[0]


def copies_so_far() -> DeviceCopies | None:
    """The copies of this process, where there were any."""
    return _made[0] if _made else None


def _release_at_exit(copies: DeviceCopies, process: int) -> None:
    if os.getpid() != process:
        return
    try:
        copies.release()
    except CudaError as error:
        log.debug("copies of the device did not end: %s", error)
