"""What is stored of a tree of arrays: ``tree.json``, and for each process that had parts of arrays a file of them.

``tree.json`` is written last. Files are named by a random id of the attempt, so a tree is never half an old and half a
new one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from s3dlio.checkpoint.regions import Region, as_bytes, collide, overlap, shape_of, stretches, within
from s3dlio.checkpoint.sharded_tensors import byte_slices
from s3dlio.errors import CorruptDataError, IntegrityError
from s3dlio.formats.planes import decode_planes
from s3dlio.formats.safetensors import DTYPE_BITS
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.pool import default_pool
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.range_reads import RangeRead

INDEX = "tree.json"
#: How parts are packed: byte planes; None: not at all.
PLANES = "planes"
_FORMAT = "s3dlio-tree"
_VERSION = 1


class StoredPart(NamedTuple):
    """A part of an array: its region, the number of its file, where it begins and how long it is there, the CRC32C of
    its bytes, and how they are packed."""

    region: Region
    file: int
    offset: int
    length: int
    crc32c: int
    packing: str | None

    def as_json(self) -> list[Any]:
        region = [list(each) for each in self.region]
        return [region, self.file, self.offset, self.length, f"{self.crc32c:08x}", self.packing]


class StoredArray(NamedTuple):
    """An array: the name that safetensors has for its type, its shape, and its parts."""

    dtype: str
    shape: tuple[int, ...]
    parts: Sequence[StoredPart]

    @property
    def itemsize(self) -> int:
        return DTYPE_BITS[self.dtype] // 8


class TreeIndex(NamedTuple):
    """What ``tree.json`` says: the structure, arrays and other leaves by path, the names and sizes of the files, and
    texts of the user."""

    structure: Any
    arrays: dict[str, StoredArray]
    values: dict[str, Any]
    files: list[tuple[str, int]]
    metadata: dict[str, Any]


def write_index(index: TreeIndex) -> bytes:
    """The bytes of ``tree.json``."""
    body = {
        "tree": index.structure,
        "arrays": {
            path: {"dtype": array.dtype, "shape": list(array.shape), "parts": [part.as_json() for part in array.parts]}
            for path, array in index.arrays.items()
        },
        "values": index.values,
        "files": index.files,
        "metadata": index.metadata,
    }
    head = {"format": _FORMAT, "version": _VERSION, "crc32c": checksum_of(body)}
    return json.dumps({**head, "body": body}, separators=(",", ":")).encode()


def checksum_of(body: Any) -> str:
    """The CRC32C of what an index says, in hex."""
    return f"{crc32c(json.dumps(body, separators=(',', ':'), sort_keys=True).encode()):08x}"


def read_index(data: Any, uri: str) -> TreeIndex:
    """Read ``tree.json``.

    Raises:
        CorruptDataError: it is damaged, something else, or of a newer version of this package.
    """
    try:
        found = json.loads(bytes(data).decode())
        if found["format"] != _FORMAT:
            raise ValueError("it is of another format")
        if found["version"] != _VERSION:
            raise ValueError(f"it is of version {found['version']!r}, and this package reads {_VERSION}")
        body = found["body"]
        if found["crc32c"] != checksum_of(body):
            raise ValueError("its checksum is another")
        arrays = {path: _array(path, entry) for path, entry in body["arrays"].items()}
        files = [(name, size) for name, size in body["files"]]
        if any("/" in name or not name.startswith("data-") for name, _ in files):
            raise ValueError("it names files elsewhere")
        if not isinstance(body["values"], dict) or not isinstance(body["metadata"], dict):
            raise ValueError("its values or its metadata are no mapping")
        for path, array in arrays.items():
            for part in array.parts:
                _check_place(path, array, part, files)
            if len(array.parts) > 1 and collide([part.region for part in array.parts]):
                raise ValueError(f"{path} has parts twice")
        return TreeIndex(body["tree"], arrays, body["values"], files, body["metadata"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        reason = f"this is no index of a tree of arrays, or a damaged one: {error}"
        raise CorruptDataError(reason[:500], uri=uri) from error


def _array(path: str, entry: Mapping[str, Any]) -> StoredArray:
    shape = tuple(entry["shape"])
    parts = [
        StoredPart([(begin, end) for begin, end in region], file, offset, length, int(crc, 16), packing)
        for region, file, offset, length, crc, packing in entry["parts"]
    ]
    sizes = [math.prod(shape_of(part.region)) for part in parts]
    if entry["dtype"] not in DTYPE_BITS or sum(sizes) != math.prod(shape):
        raise ValueError(f"{path} has parts that are not all of it")
    return StoredArray(entry["dtype"], shape, parts)


def _check_place(path: str, array: StoredArray, part: StoredPart, files: Sequence[tuple[str, int]]) -> None:
    """Refuse a part that its file cannot have."""
    numbers = [*array.shape, *(end for each in part.region for end in each), part.file, part.offset, part.length]
    if not all(type(number) is int and 0 <= number < 1 << 60 for number in numbers):
        raise ValueError(f"{path} has numbers that are none")
    inside = len(part.region) == len(array.shape) and all(
        begin <= end <= size for (begin, end), size in zip(part.region, array.shape, strict=True)
    )
    fits = inside and part.file < len(files) and part.offset + part.length <= files[part.file][1]
    size = array.itemsize * math.prod(shape_of(part.region))
    if not fits or part.packing not in (None, PLANES) or (part.packing is None and part.length != size):
        raise ValueError(f"{path} has a part that is nowhere")


class Wanted(NamedTuple):
    """A region of an array, and the memory of its size that it goes to."""

    region: Region
    memory: memoryview


class PartReads:
    """The reads of parts of arrays.

    Args:
        index: of the tree.
        store, prefix: the directory that it is in.
        verify: compare checksums of parts that are read whole.
    """

    def __init__(self, index: TreeIndex, store: ObjectStore, prefix: str, *, verify: bool) -> None:
        self._files = [prefix + name for name, _ in index.files]
        self._store = store
        self._verify = verify

    def of(self, array: StoredArray, wanted: Sequence[Wanted]) -> Iterator[RangeRead]:
        """What has to be read of an array for some regions of it."""
        for part in array.parts:
            goes = [(common, each) for each in wanted if (common := overlap(part.region, each.region)) is not None]
            if part.packing is not None:
                if goes:
                    land = partial(self._unpack, array, part, goes)
                    yield RangeRead(self._store, self._files[part.file], part.offset, part.length, land=land)
                continue
            for common, each in goes:
                yield from self._plain(array, part, common, each)

    def _plain(self, array: StoredArray, part: StoredPart, common: Region, wanted: Wanted) -> Iterator[RangeRead]:
        whole = list(common) == list(part.region)
        target = _target(array, common, wanted)
        inner = within(common, part.region)
        check = partial(self._check, part) if whole and self._verify else None
        for offset, length, place, land in stretches(shape_of(part.region), array.itemsize, inner, target):
            yield RangeRead(
                self._store, self._files[part.file], part.offset + offset, length, place=place,
                land=_both(check, land),
            )  # fmt: skip

    def _check(self, part: StoredPart, data: memoryview) -> None:
        found = crc32c(data)
        if found != part.crc32c:
            raise IntegrityError(
                f"bytes {part.offset} to {part.offset + part.length} have CRC32C {found:08x}, and were written with "
                f"{part.crc32c:08x}",
                uri=self._store.uri(self._files[part.file]), hint="the stored copy is damaged: load another checkpoint",
            )  # fmt: skip

    def _unpack(
        self, array: StoredArray, part: StoredPart, goes: Sequence[tuple[Region, Wanted]], data: memoryview
    ) -> None:
        """A packed part has been read: unpack it, and copy what is wanted of it."""
        size = array.itemsize * math.prod(shape_of(part.region))
        common, wanted = goes[0]
        alone = len(goes) == 1 and list(common) == list(part.region) == list(wanted.region)
        memory = wanted.memory if alone else default_pool().lease(size)
        try:
            decode_planes(data, memory)
        except CorruptDataError as error:
            error.locate(self._store.uri(self._files[part.file]), "GET")
            raise
        if self._verify:
            self._check(part, memory)
        if not alone:
            found = as_bytes(memory, shape_of(part.region))
            for common, wanted in goes:
                target = _target(array, common, wanted)
                target[...] = found[byte_slices(within(common, part.region), array.itemsize)].reshape(target.shape)


def _both(first: Callable[[memoryview], None] | None, second: Callable[[memoryview], None] | None) -> Any:
    if first is None or second is None:
        return first or second

    def land(data: memoryview) -> None:
        first(data)
        second(data)

    return land


def _target(array: StoredArray, common: Region, wanted: Wanted) -> Any:
    """Where a region of an array lies in the memory that is wanted."""
    shown = as_bytes(wanted.memory, shape_of(wanted.region))
    return shown[byte_slices(within(common, wanted.region), array.itemsize)]
