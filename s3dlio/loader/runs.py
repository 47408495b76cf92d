"""Small samples that follow each other in one object are read by one request, and come apart again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from s3dlio.loader.entries import Entry
from s3dlio.transfer.stream_entry import Outcome

#: Bytes of one request; what each of the samples of it keeps in memory. Twice that costs a request a tenth less.
_RUN = 256 << 10
#: Bytes between two samples (padding) that are read with them.
_GAP = 4 << 10
#: Samples of one request, at most.
MOST = 256


class Runs(Iterator[Entry]):
    """What is to be read for samples: their entries, with those that follow each other made one.

    Args:
        entries: a URI, or (URI, offset, length) each; they are at hand.
        most: samples of one request.
    """

    def __init__(self, entries: Iterable[Entry], most: int = MOST) -> None:
        self._entries = iter(entries)
        self._most = most
        self._taken = 0  # samples so far
        self._next: Entry | None = None  # one that did not belong to the last run
        self._runs = 0
        self._parts: dict[int, tuple[int, list[Entry]]] = {}  # of each run: position of its first sample, and samples

    def __next__(self) -> Entry:
        first = next(self._entries) if self._next is None else self._next
        self._next = None
        run = [first]
        if not isinstance(first, tuple):
            return self._as_one(run, first)
        uri, start, length = first
        end = start + length
        for entry in self._entries if self._most > 1 else ():
            if not isinstance(entry, tuple) or entry[0] is not uri:
                self._next = entry
                break
            _, offset, length = entry
            if not (end <= offset <= end + _GAP and offset + length - start <= _RUN):
                self._next = entry
                break
            run.append(entry)
            end = offset + length
            if len(run) >= self._most:
                break
        return self._as_one(run, (uri, start, end - start))

    def _as_one(self, run: list[Entry], entry: Entry) -> Entry:
        self._parts[self._runs] = self._taken, run
        self._runs += 1
        self._taken += len(run)
        return entry

    def apart(self, number: int, outcome: Outcome) -> list[tuple[int, Outcome]]:
        """The samples of a run, each with its position, and its bytes or the error."""
        position, run = self._parts.pop(number)
        whole, data = outcome
        if len(run) == 1:
            return [(position, (run[0], data))]
        if isinstance(data, BaseException):
            return [(position + i, (entry, data)) for i, entry in enumerate(run)]
        start = whole[1]
        # A part beyond the end of an object that became shorter is shorter, too: whoever decodes it says so.
        return [
            (position + i, (entry, data[entry[1] - start : entry[1] - start + entry[2]]))
            for i, entry in enumerate(run)
        ]  # fmt: skip
