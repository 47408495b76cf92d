"""Objects that are read before their turn, as long as those before them are read whole.

A reader is lazy: whoever looks at names only, or at a header, reads nothing else. Where most objects that were handed
out have been read whole, though, the next ones are asked for while the caller works on the last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from s3dlio.compat.s3torchconnector.results import S3BucketKeyData
from s3dlio.compat.s3torchconnector.source import ObjectSource

#: Objects, and bytes of them, that are read ahead at most.
_OBJECTS, _BYTES = 64, 128 << 20

MakeSource = Callable[[S3BucketKeyData, Callable[[int], None]], ObjectSource]


class Habit:
    """What is done with the objects of a data set."""

    def __init__(self) -> None:
        self._given = 0
        self._read = 0
        #: Bytes of the last object that was read whole.
        self.size = 0

    def give(self) -> None:
        """An object is handed out."""
        self._given += 1

    def read(self, size: int) -> None:
        """One was read whole."""
        self._read += 1
        self.size = size

    @property
    def reads_whole(self) -> bool:
        """Whether most are read whole. Of a batch that is collected before it is read, the last ones are not yet."""
        return 0 < self._given <= 2 * self._read


class ReadAhead:
    """The objects of a data set in their order, with what reads them.

    Args:
        objects: which.
        habit: of their user.
        source: makes what reads an object.
    """

    def __init__(self, objects: Iterable[S3BucketKeyData], habit: Habit, source: MakeSource) -> None:
        self._objects = iter(objects)
        self._habit = habit
        self._source = source
        self._ahead: deque[tuple[S3BucketKeyData, ObjectSource, int]] = deque()
        self._held = 0  # bytes of them, as far as that is known

    def __iter__(self) -> Iterator[tuple[S3BucketKeyData, ObjectSource]]:
        ahead = self._ahead
        try:
            while True:
                self._fill()
                if not ahead:
                    return
                entry, source, size = ahead.popleft()
                self._held -= size
                self._habit.give()
                yield entry, source
        finally:
            for _, source, _ in ahead:
                source.drop()

    def _fill(self) -> None:
        """One object at least, if there are any; begin to read as many as pay. Many at a time: those after the first
        wake nobody."""
        ahead, reads = self._ahead, self._habit.reads_whole
        if ahead and not (reads and len(ahead) < _OBJECTS // 2 and self._held < _BYTES // 2):
            return
        while not ahead or (reads and len(ahead) < _OBJECTS and self._held < _BYTES):
            entry = next(self._objects, None)
            if entry is None:
                return
            source = self._source(entry, self._habit.read)
            size = entry.object_info.size if entry.object_info is not None else self._habit.size
            self._held += size
            if reads and self._held <= _BYTES:
                source.start()
            ahead.append((entry, source, size))
