"""Notes how long operations take, at 0.2 us each, and adds them up when nobody is held up by it."""

from __future__ import annotations

import struct
import time
from threading import Thread
from typing import TYPE_CHECKING, Any

from s3dlio.bench.result import SLICE, Measured, Result, Slices

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Operations as records name them.
OPERATIONS = ("GET", "GET_RANGE", "PUT", "HEAD", "LIST", "DELETE", "DELETE_BATCH")
CODES = {name: code for code, name in enumerate(OPERATIONS)}
_FIELDS = [("start", "<i8"), ("took", "<i8"), ("first", "<i8"), ("size", "<i8"), ("objects", "<i4"), ("code", "<i4")]
pack = struct.Struct("<4q2i").pack
#: So many records wait until they are added up, on another thread.
_MANY = 1 << 18


class Recorder:
    """Takes the times of one run. ``add`` may be called from several threads, all else from one.

    Args:
        result: what is measured is added to it.
        begin: when the clock begins to run, by ``time.perf_counter_ns``: what ended before was the warm-up.
        until: when it stops; None: with the last operation.
    """

    def __init__(self, result: Result, begin: int, until: int | None) -> None:
        self._result = result
        self._begin = begin
        self._until = until
        self._records = bytearray()
        self._older = bytearray()
        self._work: Thread | None = None
        self._offset = time.time_ns() - time.perf_counter_ns()  # the first byte's time is that of the other clock
        self.last = begin

    def add(self, record: bytes) -> None:
        """Take what ``pack`` has made of an operation that ended well: its start by ``perf_counter_ns`` and how long it
        took; the first byte's time by ``time_ns``, or 0; bytes, objects, and its number in ``CODES``."""
        self._records.extend(record)

    def rotate(self) -> None:
        """Add up what has come together, if that is much. What another thread may be adding to stays."""
        if len(self._records) < _MANY * 40 or (self._work is not None and self._work.is_alive()):
            return
        full, self._older, self._records = self._older, self._records, bytearray()
        self._work = Thread(target=self._absorb, args=(full,), name="s3dlio-bench", daemon=True)
        self._work.start()

    def finish(self) -> None:
        """Add up all that is left."""
        if self._work is not None:
            self._work.join()
        self._absorb(self._older)
        self._absorb(self._records)

    def _absorb(self, records: bytearray) -> None:
        import numpy as np

        rows = np.frombuffer(records, _FIELDS)
        if len(rows):
            self.last = max(self.last, int((rows["start"] + rows["took"]).max()))
        rows = rows[rows["start"] + rows["took"] > self._begin]
        for code in np.unique(rows["code"]):
            self._count(rows[rows["code"] == code], self._result.of(OPERATIONS[code]))

    def _count(self, rows: npt.NDArray[Any], measured: Measured) -> None:
        begun = rows[rows["start"] >= self._begin]
        measured.operations += len(begun)
        measured.bytes += int(begun["size"].sum())
        measured.objects += int(begun["objects"].sum())
        measured.latency.add_many(begun["took"])
        known = begun[begun["first"] > 0]
        waited = known["first"] - self._offset - known["start"]
        measured.first_byte.add_many(waited.clip(0, known["took"]))
        self._spread(rows, measured)

    def _spread(self, rows: npt.NDArray[Any], measured: Measured) -> None:
        """Divide operations among the slices in which they ran."""
        import numpy as np

        scale = SLICE * 1e9
        start = np.maximum(rows["start"] - self._begin, 0) / scale
        ends = rows["start"] + rows["took"]
        end = ((ends if self._until is None else np.minimum(ends, self._until)) - self._begin) / scale
        took = np.maximum(rows["took"], 1) / scale
        amounts = (
            (measured.operations_over_time, np.ones(len(rows))), (measured.bytes_over_time, rows["size"]),
            (measured.objects_over_time, rows["objects"]),
        )  # fmt: skip
        inside = (end >= start) & (rows["took"] > 0)
        within = inside & (start.astype(int) == end.astype(int))
        _add(within, start.astype(int), np.minimum(1, (end - start) / took), amounts)
        longer = np.flatnonzero(inside & ~within)
        for number in range(int(start[longer].min(initial=0)), int(end[longer].max(initial=-1)) + 1):
            share = (np.minimum(end, number + 1) - np.maximum(start, number)) / took
            here = np.zeros(len(rows), bool)
            here[longer] = share[longer] > 0
            _add(here, np.full(len(rows), number), np.minimum(1, share), amounts)


def _add(
    which: npt.NDArray[np.bool_], slices: npt.NDArray[np.int64], share: npt.NDArray[np.float64],
    amounts: tuple[tuple[Slices, Any], ...],
) -> None:  # fmt: skip
    import numpy as np

    if which.any():
        for target, amount in amounts:
            target.add(np.bincount(slices[which], (share * amount)[which]).tolist())
