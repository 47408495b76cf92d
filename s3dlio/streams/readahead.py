"""Reading ahead: who reads a cloud's object from one end to the other never waits for a request that could have been
sent before."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from concurrent.futures import Future

from s3dlio.memory.buffers import address_of
from s3dlio.memory.pool import default_pool
from s3dlio.streams.one_version import OneVersion, VersionAhead
from s3dlio.types import ObjectMetadata

#: Bytes of one request that reads ahead, at least and at most.
_LEAST, _MOST = 256 << 10, 8 << 20
#: Bytes that are read ahead, at first and after a long run; the memory that it takes.
_WINDOW, _WIDEST = 1 << 20, 64 << 20
#: Bytes at the end of an object that are read as one.
_TAIL = 256 << 10
#: A reader that leaves out so many bytes (padding, a header that it knows) still reads on.
_GAP = 256 << 10
_NOWHERE = -1 - _GAP
#: Pieces of this size or more are copied without the interpreter's lock, which lanes need to receive.
_UNLOCKED = 64 << 10


class _Block:
    """A stretch that is read ahead, or has been."""

    __slots__ = ("coming", "data", "start")

    def __init__(self, start: int, data: memoryview, coming: Future[ObjectMetadata] | None) -> None:
        self.start = start
        self.data = data
        self.coming = coming

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class Readahead:
    """Reads any stretch of an object; from the second read in a row on, it reads ahead of them. Its beginning and its
    end, where formats have their tables, are kept once they have been read.

    For one thread at a time.

    Args:
        version: what is read.
    """

    def __init__(self, version: OneVersion) -> None:
        self._version = version
        self._ahead = version if isinstance(version, VersionAhead) and version.reads_ahead else None
        self._ends = [_Block(0, version.first, None)] if version.first else []
        self._blocks: deque[_Block] = deque()  # what is read ahead, in order
        self._next = _NOWHERE  # where a reader would read on
        self._run = 0  # bytes that were read in a row
        self._pid = os.getpid()

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on, which must be there.

        Raises:
            ObjectChangedError, NetworkError, ...; what is read ahead is dropped, so that the read may be tried again.
        """
        try:
            self._settle(offset)
            end = offset + len(view)
            if self._ahead is not None:
                if self._reads_on(offset, len(view)):
                    self._read_ahead(self._ahead, end)
                elif offset >= self._version.size - _TAIL and self._at(offset) is None:
                    self._read_tail()
            done = self._take(offset, view)
            if done < len(view):
                self._version.read_into(offset + done, view[done:])
        except BaseException:
            self.drop()
            raise
        self._next = end

    def _settle(self, offset: int) -> None:
        """Drop what was read ahead and lies before ``offset``; everything, where that is elsewhere."""
        if os.getpid() != self._pid:  # what is on its way is the parent's
            self._blocks.clear()
            self._pid = os.getpid()
        blocks = self._blocks
        if blocks and not (blocks[0].start <= offset <= blocks[-1].end or 0 <= offset - self._next <= _GAP):
            self.drop()
        while blocks and blocks[0].end <= offset:
            _give_up(blocks.popleft())

    def _reads_on(self, offset: int, length: int) -> bool:
        """Whether this read goes on where the last one ended."""
        if not 0 <= offset - self._next <= _GAP:
            self._run = 0
            return False
        self._run += length
        return True

    def _read_ahead(self, version: VersionAhead, start: int) -> None:
        """Have what follows ``start`` read: about twice of what has been read in a row."""
        if _on_lane():
            return
        window = max(_WINDOW, min(_WIDEST, 2 * self._run))
        step = max(_LEAST, min(_MOST, window // 4) & -_LEAST)
        until = min(start + window, version.size)
        for block in (*self._ends, *self._blocks):
            if block.start <= start:
                start = max(start, block.end)
        while until - start >= step or start < until == version.size:
            data = default_pool().lease(min(step, until - start))
            self._blocks.append(_Block(start, data, version.start(start, data)))
            start += len(data)

    def _read_tail(self) -> None:
        """Have the last bytes at hand: who looks for a table at the end comes several times."""
        start = max(0, self._version.size - _TAIL)
        block = _Block(start, default_pool().lease(self._version.size - start), None)
        self._version.read_into(start, block.data)
        self._ends.append(block)

    def _at(self, position: int) -> _Block | None:
        """The block that has the byte at ``position``, or will have it."""
        for block in (*self._ends, *self._blocks):
            if block.start <= position < block.end:
                return block
        return None

    def _take(self, offset: int, view: memoryview) -> int:
        """Copy what is at hand, from the beginning of ``view`` on; how many bytes that was."""
        done = 0
        while done < len(view) and (block := self._at(offset + done)) is not None:
            if block.coming is not None and self._ahead is not None:
                if not block.coming.done() and _on_lane():
                    break
                self._ahead.finish(block.coming)
                block.coming = None
            at = offset + done - block.start
            piece = block.data[at : at + len(view) - done]
            _copy(view[done : done + len(piece)], piece)
            done += len(piece)
        return done

    def drop(self) -> None:
        """Give up what is read ahead."""
        while self._blocks:
            _give_up(self._blocks.popleft())
        self._next = _NOWHERE


def _on_lane() -> bool:
    """Whether this thread is that of a lane (an observer reads): what it waits for must not be left to lanes."""
    from s3dlio.engine.lanes import on_lane

    return on_lane()


def _give_up(block: _Block) -> None:
    if block.coming is not None:
        block.coming.cancel()


def _copy(target: memoryview, source: memoryview) -> None:
    if len(source) < _UNLOCKED:
        target[:] = source
    else:
        ctypes.memmove(address_of(target), address_of(source), len(source))
