"""Millions of URIs in little memory: sorted, in blocks that share what neighbours have in common."""

from __future__ import annotations

import heapq
import threading
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from operator import index as index_of
from typing import Any, overload

import zstandard

from s3dlio.errors import IntegrityError
from s3dlio.forking import ForkLock

#: Names of a block: one of them costs 15 us to find, and 2 bytes where neighbours differ in a number.
BLOCK = 128
#: So many names are not packed.
_FEW = 100_000
#: Of so many objects, the sizes are kept (8 bytes each).
_SIZED = 4_000_000
#: Blocks that are kept as names: 15 KiB each.
_KEPT = 128


class BlockedKeys(Sequence[str], ABC):
    """URIs by their position. A subclass knows where the blocks are.

    Args:
        root: what all of them begin with.
        count: how many there are.
        block: how many are in a block.
    """

    #: What tells these keys from others; empty where nobody has looked.
    identity = ""

    def __init__(self, root: str, count: int, block: int = BLOCK) -> None:
        self.root = root
        self._count = count
        self._block = block
        self._kept: OrderedDict[int, list[bytes]] = OrderedDict()
        self._lock = ForkLock()

    @abstractmethod
    def _data(self, blocks: Sequence[int]) -> Iterable[tuple[int, bytes | memoryview]]:
        """Blocks as :func:`packed` made them, in any order."""

    def prepare(self, positions: Sequence[int]) -> None:
        """Have the blocks of these positions at hand, all fetched at the same time."""
        wanted = {position // self._block for position in positions}
        with self._lock:
            missing = sorted(wanted - self._kept.keys())
        if missing:
            self._names(missing)

    def _names(self, blocks: Sequence[int]) -> list[bytes]:
        """The names of the last one of some blocks, which are kept for a while."""
        names: list[bytes] = []
        for block, data in self._data(blocks):
            found = unpacked(data, min(self._block, self._count - block * self._block), self.root)
            if block == blocks[-1]:
                names = found
            with self._lock:
                self._kept[block] = found
                while len(self._kept) > max(_KEPT, len(blocks)):
                    self._kept.popitem(last=False)
        return names

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self[each] for each in range(self._count)[position]]
        try:
            number = range(self._count)[index_of(position)]
        except IndexError:
            raise IndexError(f"position {position} of {self._count} keys") from None
        block, within = divmod(number, self._block)
        with self._lock:
            names = self._kept.get(block)
        return self.root + _text((names or self._names([block]))[within])

    def __iter__(self) -> Iterator[str]:
        for name in self.names():
            yield self.root + _text(name)

    def names(self) -> Iterator[bytes]:
        """What comes after the root, as bytes."""
        for first in range(0, -(-self._count // self._block), 64):
            blocks = range(first, min(first + 64, -(-self._count // self._block)))
            found = dict(self._data(blocks))
            for block in blocks:
                yield from unpacked(found[block], min(self._block, self._count - block * self._block), self.root)

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, str):
            return False
        position = bisect_left(self, value)
        return position < self._count and self[position] == value

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_kept", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _kept=OrderedDict(), _lock=ForkLock())


class MemoryKeys(BlockedKeys):
    """URIs whose blocks are in memory.

    Args:
        root: what all of them begin with.
        count: how many there are.
        data: all blocks, one behind the other.
        lengths: bytes of each.
        sizes: of the objects, where they are known.
    """

    def __init__(
        self, root: str, count: int, data: bytes | bytearray, lengths: Iterable[int], block: int = BLOCK,
        sizes: array[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(root, count, block)
        self.data = data
        self.sizes = sizes
        self.ends = ends_of(lengths)

    def plain(self) -> Sequence[str]:
        """The same; a list where they are few."""
        return self if len(self) > _FEW else list(self)

    def _data(self, blocks: Sequence[int]) -> Iterable[tuple[int, bytes | memoryview]]:
        view = memoryview(self.data)
        for block in blocks:
            yield block, view[self.ends[block] : self.ends[block + 1]]


def ends_of(lengths: Iterable[int]) -> array[int]:
    """Where each block begins, and where the last one ends."""
    ends = array("Q", [0])
    total = 0
    for length in lengths:
        total += length
        ends.append(total)
    return ends


class KeyPacker:
    """Makes blocks of names that come in any order, mostly ascending, page by page.

    Names that ascend are packed as they come; where one does not, a new run begins, and runs are merged at the end. So
    memory has never more than what is packed.

    Args:
        root: what all URIs begin with; names are what comes after it.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._count = 0
        self._few: list[str] = []  # until there are too many
        self._sizes: list[int] = []  # of these
        self._runs: list[_Run] = []
        self._is_sized = True

    def __len__(self) -> int:
        return self._count

    @property
    def wants_sizes(self) -> bool:
        """Whether sizes are kept: those of all objects, and not of too many."""
        return self._is_sized

    def add(self, names: Sequence[str], sizes: Sequence[int] | None = None) -> None:
        """Some more, and the sizes of these objects, where they are known."""
        self._count += len(names)
        self._is_sized = self._is_sized and sizes is not None and self._count <= _SIZED
        if self._runs:
            self._pack(names, sizes or ())
            return
        self._few += names
        self._sizes += sizes or ()
        if self._count > _FEW:
            self._pack_few()

    def _pack_few(self) -> None:
        self._pack(self._few, self._sizes)
        self._few, self._sizes = [], []

    def _pack(self, names: Sequence[str], sizes: Sequence[int]) -> None:
        page = [name.encode("utf-8", "surrogateescape") for name in names]
        if self._is_sized:
            pairs = sorted(zip(page, sizes, strict=True))
            page, sizes = [name for name, _ in pairs], [size for _, size in pairs]
        else:
            page.sort()
        if page:
            if not self._runs or page[0] < self._runs[-1].last:
                self._runs.append(_Run(self.root))
            self._runs[-1].extend(page, sizes)

    def finish(self) -> MemoryKeys:
        """All of them, sorted, in blocks."""
        self._pack_few()
        if len(self._runs) == 1:
            return self._runs[0].finish(sized=self._is_sized)
        runs = [run.finish(sized=self._is_sized) for run in self._runs]
        merged = _Run(self.root)
        names = heapq.merge(*(zip(run.names(), run.sizes or repeat(0), strict=False) for run in runs))
        while page := list(islice(names, 64 * BLOCK)):
            merged.extend([name for name, _ in page], [size for _, size in page])
        return merged.finish(sized=self._is_sized)

    def uris(self) -> tuple[Sequence[str], array[int] | None]:
        """All of them, sorted, as a list where they are few; and the sizes of the objects, where they are known."""
        if self._runs:
            keys = self.finish()
            return keys, keys.sizes
        if not self._is_sized:
            return sorted(self.root + name for name in self._few), None
        few = sorted(zip(self._few, self._sizes, strict=True))
        return [self.root + name for name, _ in few], array("Q", (size for _, size in few))


class _Run:
    """Names that ascend, packed."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._count = 0
        self._data = bytearray()
        self._lengths = array("L")
        self._rest: list[bytes] = []
        self._sizes = array("Q")
        self.last = b""

    def extend(self, names: list[bytes], sizes: Sequence[int]) -> None:
        self._sizes.extend(sizes)
        self.last = names[-1]
        self._count += len(names)
        rest = [*self._rest, *names] if self._rest else names
        whole = len(rest) - len(rest) % BLOCK
        for start in range(0, whole, BLOCK):
            self._put(rest[start : start + BLOCK])
        self._rest = rest[whole:]

    def _put(self, names: list[bytes]) -> None:
        data = packed(names)
        self._data += data
        self._lengths.append(len(data))

    def finish(self, *, sized: bool) -> MemoryKeys:
        if self._rest:
            self._put(self._rest)
            self._rest = []
        return MemoryKeys(
            self._root, self._count, self._data, self._lengths, sizes=self._sizes if sized else None
        )  # fmt: skip


_local = threading.local()  # a context of zstd serves one thread at a time


def packed(names: list[bytes]) -> bytes:
    """A block of names: a zstd frame with a checksum."""
    try:
        compress: Callable[[bytes], bytes] = _local.compress
    except AttributeError:
        compress = _local.compress = zstandard.ZstdCompressor(level=6, write_checksum=True).compress
    return compress(b"\0".join(names))


def unpacked(data: bytes | memoryview, count: int, where: str) -> list[bytes]:
    """The names of a block.

    Raises:
        IntegrityError: this is no block, or not one of so many names.
    """
    try:
        names: list[bytes] = _decompress(data).split(b"\0")
    except zstandard.ZstdError as error:
        raise IntegrityError(f"a block of keys is damaged: {error}", uri=where) from error
    if len(names) != count:
        raise IntegrityError(f"a block has {len(names)} keys in the place of {count}", uri=where)
    return names


def _decompress(data: bytes | memoryview) -> bytes:
    try:
        context: zstandard.ZstdDecompressor = _local.decompressor
    except AttributeError:
        context = _local.decompressor = zstandard.ZstdDecompressor()
    return context.decompress(data, max_output_size=1 << 24)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def ahead(positions: Iterable[int], keys: Sequence[Any], count: int = 64) -> Iterator[int]:
    """The positions one after the other; blocks of those that come soon are fetched together."""
    if not isinstance(keys, BlockedKeys):
        return iter(positions)
    return _prepared(iter(positions), keys, count)


def _prepared(positions: Iterator[int], keys: BlockedKeys, count: int) -> Iterator[int]:
    size = 8  # what comes first is wanted at once
    while some := list(islice(positions, size)):
        keys.prepare(some)
        yield from some
        size = count
