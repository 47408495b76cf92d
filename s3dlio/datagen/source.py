"""DataSource: the bytes of any number of distinct generated objects of one size."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from s3dlio.datagen.checks import one_of, thread_count, whole_number, writable_bytes
from s3dlio.datagen.layout import BLOCK, Layout
from s3dlio.datagen.streams import ALGORITHMS, MAX_OBJECTS, Stream, fill_zeros, new_key
from s3dlio.hardware import cpus_of_node
from s3dlio.reentrancy import submit

# To start a thread and wait for it takes 0.15 ms, in which the caller's own makes a megabyte: below 8 MiB for each
# the second gains nothing. Pieces are small enough that nobody waits long for the last one.
MIN_BYTES_PER_THREAD = 8 * BLOCK
PIECE = 2 * BLOCK


class DataSource:
    """Generated objects: each has `size` bytes, each is different, and any piece of any of them is made on its own.

    With a `seed` the bytes are the same in every process and on every machine. Without one, every source draws its
    own key from the operating system, and draws a new one in a forked child and where it is unpickled, so that
    processes never write the same blocks. Safe to share among threads.

    Args:
        size: bytes of one object.
        dedup, compress: factors, see `Layout`.
        algorithm: 'random' (AES-CTR) or 'prand' (faster, weaker), see `streams`.
        seed: 0 to 2**64 - 1, or None.
        block_size: bytes of a block of the layout; None: 1 MiB.
        numa_node: fill buffers on threads that run on this node's CPUs; None: wherever they are.

    Raises:
        ConfigError: a value is out of range, the algorithm is unknown, or there is no such node.
    """

    def __init__(
        self,
        size: int,
        dedup: int = 1,
        compress: int = 1,
        *,
        algorithm: str = "random",
        seed: int | None = None,
        block_size: int | None = None,
        numa_node: int | None = None,
    ) -> None:
        self.layout = Layout(size, dedup, compress, BLOCK if block_size is None else block_size)
        self.algorithm = one_of("data generation algorithm", algorithm, ALGORITHMS)
        self.seed = None if seed is None else whole_number("seed", seed, 0, (1 << 64) - 1)
        self._cpus = None if numa_node is None else cpus_of_node(numa_node)
        self._streams: dict[int, Stream] = {}  # by process, where there is no seed

    @property
    def size(self) -> int:
        """Bytes of one object."""
        return self.layout.size

    def fill(self, buffer: memoryview | bytearray, *, index: int = 0, offset: int = 0, threads: int | None = 1) -> int:
        """Write the bytes of object `index` from `offset` on into `buffer`, as many as fit or are left.

        Args:
            buffer: writable, contiguous, of single bytes.
            index: which object, 0 to 2**36 - 1.
            offset: the first byte wanted.
            threads: how many threads may work on it (None: one for each CPU); each gets 8 MiB at least.

        Returns:
            How many bytes were written; 0 at the end of the object.
        """
        view = writable_bytes(buffer)
        whole_number("index", index, 0, MAX_OBJECTS - 1)
        length = min(len(view), max(0, self.size - whole_number("offset", offset)))
        in_parallel(
            lambda start, stop: self.write(index, offset + start, view[start:stop]),
            length,
            thread_count(threads),
            self._cpus,
        )
        return length

    def write(self, index: int, offset: int, view: memoryview) -> None:
        """`fill` without its checks, for callers that made them: `view` is writable, flat, and within the object."""
        stream = self._own_stream()
        at = 0
        for run, position in self.layout.runs(offset, len(view)):
            piece = view[at : at + run]
            if position is None:
                fill_zeros(piece)
            else:
                stream.fill(piece, index, position)
            at += run

    def _own_stream(self) -> Stream:
        """The stream of this process; a seed gives every process the same."""
        process = os.getpid() if self.seed is None else 0
        stream = self._streams.get(process)
        if stream is None:  # setdefault is atomic: threads that come here together go on with one stream
            stream = self._streams.setdefault(process, ALGORITHMS[self.algorithm](new_key(self.seed)))
        return stream

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_streams": {}}

    def __repr__(self) -> str:
        plan = self.layout
        return (
            f"DataSource({plan.size}, dedup={plan.dedup}, compress={plan.compress}, "
            f"algorithm={self.algorithm!r}, seed={self.seed})"
        )


def in_parallel(
    work: Callable[[int, int], None], length: int, threads: int, cpus: frozenset[int] | None = None
) -> None:
    """Call `work(start, stop)` for pieces of `[0, length)` on up to `threads` threads, the caller's own among them.

    Threads take piece after piece rather than an equal share, so that one on a busy CPU does not hold up the rest.
    With `cpus` they run on these, and the caller's, which is not to be moved, waits for them.
    """
    threads = max(1, min(threads, length // MIN_BYTES_PER_THREAD))
    if threads == 1 and cpus is None:
        work(0, length)
        return
    starts = deque(range(0, length, PIECE))

    def take_pieces() -> None:
        while True:
            try:
                start = starts.popleft()
            except IndexError:  # the pieces have run out
                return
            work(start, min(length, start + PIECE))

    here = int(cpus is None)
    pin = None if cpus is None else functools.partial(os.sched_setaffinity, 0, cpus)  # 0: the thread that calls it
    with ThreadPoolExecutor(max(1, threads - here), "s3dlio-datagen", pin) as pool:
        others = [submit(pool, take_pieces) for _ in range(threads - here)]
        if here or None in others:  # None: a signal handler within another call that hands out work
            take_pieces()
        for other in filter(None, others):
            other.result()
