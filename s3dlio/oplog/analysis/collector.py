"""Adds up what is in logs, batch by batch, in memory that does not grow with their length."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from s3dlio.oplog.analysis.codes import Codes
from s3dlio.oplog.analysis.counts import Floats, Histograms, columns_of
from s3dlio.oplog.analysis.failures import Failures
from s3dlio.oplog.analysis.peers import Peers, Row
from s3dlio.oplog.analysis.repeats import Sample
from s3dlio.oplog.analysis.timeline import BLOCKS, PER_BLOCK, Clock, Timeline
from s3dlio.oplog.batch import Batch
from s3dlio.oplog.columns import operation
from s3dlio.oplog.fields import MISSING, Flags, Ints

#: Operations that are told apart.
OPERATIONS = 24
#: Where size buckets end (bytes), and what they are called.
SIZE_BOUNDS = np.array([0, 8 << 10, 64 << 10, 512 << 10, 4 << 20, 32 << 20, 256 << 20, 2 << 30])
SIZE_NAMES = (
    "0", "1 B - 8 KiB", "8 - 64 KiB", "64 - 512 KiB", "512 KiB - 4 MiB", "4 - 32 MiB", "32 - 256 MiB",
    "256 MiB - 2 GiB", "> 2 GiB",
)  # fmt: skip
SIZES = len(SIZE_NAMES)
CELLS = OPERATIONS * SIZES
#: Threads that are told apart in each block of time.
_THREADS = 4096
_READS = frozenset({"GET", "GET_RANGE"})
#: The columns that an analysis reads, besides op, start, end and duration_ns.
WANTED = frozenset({
    "client_id", "endpoint", "error", "status", "file", "range", "bytes", "n_objects", "thread", "first_byte",
    "attempts",
})  # fmt: skip


class Collector:
    """What there is to know of some logs.

    Attributes:
        rows: how many were counted.
        operations: the names of operations.
        cells: count, bytes, objects, failed, throttled, sum and smallest and largest latency and sum of attempts by
            cell: operation and size bucket.
        latencies: histograms by place of a cell in ``order``, and block of time; ``first_bytes``: by place alone.
        span: when each operation first began and last ended (nanoseconds since 1970).
    """

    def __init__(self) -> None:
        self.rows = 0
        self.operations = Codes(OPERATIONS, operation)
        self.clients = Peers(CELLS)
        self.endpoints = Peers(CELLS)
        self.clock = Clock()
        self.timeline = Timeline(OPERATIONS)
        self.failures = Failures()
        self.cells: dict[str, Floats] = {
            name: np.zeros(CELLS)
            for name in ("count", "bytes", "objects", "failed", "throttled", "latency", "attempts")
        }
        self.lowest = np.full(CELLS, np.inf)
        self.highest = np.zeros(CELLS)
        self.latencies = Histograms(BLOCKS)
        self.first_bytes = Histograms()
        self.first_byte_sum = np.zeros(CELLS)
        self.order = np.full(CELLS, -1)
        self.span = np.tile(np.array([np.iinfo(np.int64).max, np.iinfo(np.int64).min]), (OPERATIONS, 1))
        self.reads = Sample()
        self.marks = Sample(1 << 16)
        self.has_attempts = False
        self._threads = np.zeros((BLOCKS, _THREADS), np.bool_)
        self._thread_codes: dict[int, int] = {}

    def add(self, batch: Batch, log: int, *, mark: bool = False) -> None:
        """Count the rows of a batch, whose starts and ends are all there.

        Args:
            batch: of one log.
            log: its number.
            mark: note which rows it has, to find those that stand in another log, too.
        """
        count = len(batch)
        starts, ends = batch.numbers["start"], batch.numbers["end"]
        sizes = np.maximum(batch.number("bytes"), 0)
        codes = self.operations.of(batch.texts.get("op"), count)
        sizes[np.array([name == "HEAD" for name in self.operations.names])[codes]] = 0  # of the object, no body
        failed, throttled = self.failures.of(batch)
        self._fit(int(starts.min()), int(ends.max()))
        self.rows += count
        cells = codes * SIZES + np.searchsorted(SIZE_BOUNDS, sizes)
        row = self._add_latencies(batch, cells, sizes, starts, ends, failed, throttled)
        self._add_times(codes, starts, ends, sizes, failed, throttled)
        clients = self.clients.codes.of(batch.texts.get("client_id"), count)
        endpoints = self.endpoints.codes.of(batch.texts.get("endpoint"), count)
        for peers, who in ((self.clients, clients), (self.endpoints, endpoints)):
            peers.add(who, row)
            peers.extend(who, starts, ends)
        self._add_threads(clients, batch.number("thread"), starts)
        self._add_reads(batch, codes, sizes, failed)
        if mark:
            self._mark(batch, starts, ends, log)

    def take(self, other: Collector) -> None:
        """Add what another collector has counted."""
        if not other.rows:
            return
        self._fit(*other.clock.span)
        self.rows += other.rows
        codes = self.operations.merged(other.operations)
        every = np.arange(CELLS)
        cells = np.where(every // SIZES < codes.size, codes[np.minimum(every // SIZES, codes.size - 1)], 0) * SIZES
        cells += every % SIZES
        for name, values in other.cells.items():
            np.add.at(self.cells[name], cells, values)
        np.add.at(self.first_byte_sum, cells, other.first_byte_sum)
        np.minimum.at(self.lowest, cells, other.lowest)
        np.maximum.at(self.highest, cells, other.highest)
        np.minimum.at(self.span[:, 0], codes, other.span[: codes.size, 0])
        np.maximum.at(self.span[:, 1], codes, other.span[: codes.size, 1])
        move = self.clock.move_from(other.clock)
        other.timeline.move(move.windows)
        self.timeline.take(other.timeline, codes)
        self._take_latencies(other, cells, move.blocks)
        self.clients.take(other.clients, cells)
        self.endpoints.take(other.endpoints, cells)
        self.failures.take(other.failures)
        self.reads.take(other.reads)
        self.marks.take(other.marks)
        self.has_attempts |= other.has_attempts

    def _take_latencies(self, other: Collector, cells: Ints, blocks: Ints) -> None:
        used = np.flatnonzero(other.order >= 0)
        for cell, place in zip(used.tolist(), self._places(cells[used]).tolist(), strict=True):
            there = int(other.order[cell])
            np.add.at(self.latencies.counts[place], blocks, other.latencies.counts[there])
            self.first_bytes.counts[place] += other.first_bytes.counts[there]
        for thread, code in other._thread_codes.items():
            mine = self._thread_codes.setdefault(thread, len(self._thread_codes) % _THREADS)
            np.logical_or.at(self._threads[:, mine], blocks, other._threads[:, code])

    def _fit(self, low: int, high: int) -> None:
        move = self.clock.fit(low, high)
        if move is None:
            return
        self.timeline.move(move.windows)
        before = self.latencies.counts
        self.latencies.counts = np.zeros_like(before)
        threads, self._threads = self._threads, np.zeros_like(self._threads)
        for block, place in enumerate(move.blocks.tolist()):
            self.latencies.counts[:, place] += before[:, block]
            self._threads[place] |= threads[block]

    def _add_latencies(
        self, batch: Batch, cells: Ints, sizes: Ints, starts: Ints, ends: Ints, failed: Flags | None, throttled: Any
    ) -> Row:
        took = ends - starts
        good: Any = None if failed is None else ~failed
        if (took < 0).any():  # the clock went back while it ran
            good = took >= 0 if good is None else good & (took >= 0)
        sums = self.cells
        if failed is not None:
            sums["failed"] += np.bincount(cells[failed], minlength=CELLS)
        if throttled is not None:
            sums["throttled"] += np.bincount(cells[throttled], minlength=CELLS)
        if (attempts := batch.numbers.get("attempts")) is not None:
            self.has_attempts = True
            sums["attempts"] += np.bincount(cells, np.maximum(attempts, 1), CELLS)
        objects = np.maximum(batch.number("n_objects"), 0) if "n_objects" in batch.numbers else np.ones(len(batch))
        first = batch.number("first_byte")
        chosen, chosen_sizes, chosen_starts = cells, sizes, starts
        if good is not None:
            chosen, chosen_sizes, chosen_starts = cells[good], sizes[good], starts[good]
            took, first, objects = took[good], first[good], objects[good]
        buckets = columns_of(took)
        sums["count"] += np.bincount(chosen, minlength=CELLS)
        sums["bytes"] += np.bincount(chosen, chosen_sizes, CELLS)
        sums["objects"] += np.bincount(chosen, objects, CELLS)
        sums["latency"] += np.bincount(chosen, took, CELLS)
        np.minimum.at(self.lowest, chosen, took)
        np.maximum.at(self.highest, chosen, took)
        places = self._places(chosen)
        blocks = self.clock.window(chosen_starts) // PER_BLOCK
        self.latencies.add(places * BLOCKS + blocks, buckets)
        there = first != MISSING
        if there.any():
            waits = np.clip(first[there] - chosen_starts[there], 0, took[there])
            self.first_bytes.add(places[there], columns_of(waits))
            self.first_byte_sum += np.bincount(chosen[there], waits, CELLS)
        return Row(cells, sizes, failed, good, np.log(np.maximum(took, 1)), buckets)

    def _places(self, cells: Ints) -> Ints:
        """The place of each cell among those that came so far."""
        places = self.order[cells]
        if places.size and int(places.min()) < 0:
            for cell in np.unique(cells[places < 0]).tolist():
                self.order[cell] = self.order.max() + 1
            places = self.order[cells]
        used = int(self.order.max()) + 1
        self.latencies.reserve(used)
        self.first_bytes.reserve(used)
        return places

    def _add_times(
        self, codes: Ints, starts: Ints, ends: Ints, sizes: Ints, failed: Flags | None, throttled: Flags | None
    ) -> None:
        ends = np.maximum(starts, ends)
        np.minimum.at(self.span[:, 0], codes, starts)
        np.maximum.at(self.span[:, 1], codes, ends)
        windows = self.clock.window(ends)
        if failed is None:
            self.timeline.count("ended", codes, windows)
        else:
            self.timeline.count("ended", codes[~failed], windows[~failed])
            self.timeline.count("failed", codes[failed], windows[failed])
            sizes = np.where(failed, 0, sizes)
        if throttled is not None:
            self.timeline.count("throttled", codes[throttled], windows[throttled])
        self.timeline.spread(self.clock, codes, starts, ends, sizes)

    def _add_threads(self, clients: Ints, threads: Ints, starts: Ints) -> None:
        salts = np.array([crc32(name.encode("utf-8", "surrogateescape")) << 31 for name in self.clients.codes.names])
        mixed = salts[clients] ^ threads
        blocks = self.clock.window(starts) // PER_BLOCK
        kinds, places = np.unique(mixed, return_inverse=True)
        known = self._thread_codes
        codes = np.array([known.setdefault(kind, len(known) % _THREADS) for kind in kinds.tolist()])
        self._threads[blocks, codes[places]] = True

    @property
    def threads(self) -> int:
        """Threads of all clients that were at work at the same time: the median over the blocks of the run."""
        used = self._threads.sum(axis=1)
        used = used[used > 0]
        return int(np.median(used)) if used.size else 0

    def _add_reads(self, batch: Batch, codes: Ints, sizes: Ints, failed: Flags | None) -> None:
        files = batch.texts.get("file")
        if files is None:
            return
        ranges = batch.texts.get("range")
        names = self.operations.names
        wanted = np.array([name == "GET" or (ranges is not None and name in _READS) for name in names])[codes]
        if failed is not None:
            wanted &= ~failed
        rows = np.flatnonzero(wanted)
        if rows.size:
            found = files.hashes(rows)
            if ranges is not None:
                found = found * np.uint64(31) + ranges.hashes(rows)
            self.reads.add(found, sizes[rows], np.zeros(rows.size, np.int64))

    def _mark(self, batch: Batch, starts: Ints, ends: Ints, log: int) -> None:
        mixed = starts.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ ends.view(np.uint64)
        mixed = mixed * np.uint64(0xD6E8FEB86659FD93) + batch.number("thread").view(np.uint64)
        self.marks.add(mixed, np.ones(len(batch), np.int64), np.full(len(batch), 1 << min(log, 62)))
