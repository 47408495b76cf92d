"""What is stored of the tensors of a safetensors directory: which files, and which part of which tensor is in each.

A directory is one of three: files with an index (as Hugging Face's models), files that have whole tensors each, or
files that ranks have written, each with its parts of tensors (as ``torch.distributed.checkpoint`` writes them).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from s3dlio.checkpoint.regions import Region, as_bytes, collide, overlap, shape_of, stretches, within
from s3dlio.checkpoint.regions import whole as everything
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, CorruptDataError, ObjectNotFoundError, UnsupportedOperationError
from s3dlio.formats.safetensors import DTYPE_BITS, LENGTH_BYTES, Header, TensorInfo, header_length, parse_header
from s3dlio.memory.sinks import MemorySink
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.many import Outcomes
from s3dlio.transfer.places import place_uri
from s3dlio.transfer.range_reads import RangeRead
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata
from s3dlio.uri import URI

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
#: Where ranks say which part of a tensor a file has, as ``torch.distributed.checkpoint`` does.
SHARDING = "DCP_SHARDING_INFO"
#: Where this package's ranks say more: how many they are, and the shapes of the whole tensors.
SHARDING_OF_RANKS = "s3dlio_sharding"

_MODEL = f"model{SUFFIX}"
_SHARD = re.compile(r"model-([0-9a-f]{8}-)?\d{5}-of-\d{5}\.safetensors")
#: Bytes of a file that are read at first; the headers of most files are shorter.
_FIRST = 128 << 10


class File(NamedTuple):
    """One file: its store and key, the version that was opened, and its header."""

    store: ObjectStore
    key: str
    version: Conditions
    header: Header

    @property
    def uri(self) -> str:
        return self.store.uri(self.key)


class Part(NamedTuple):
    """A part of a tensor: the file that has it, what its header says, and which region of the tensor it is."""

    file: File
    info: TensorInfo
    region: Region


class StoredTensor(NamedTuple):
    """A tensor: the format's name of its type, its shape, and the parts that it is made of."""

    dtype: str
    shape: tuple[int, ...]
    parts: Sequence[Part]

    @property
    def nbytes(self) -> int:
        return DTYPE_BITS[self.dtype] * math.prod(self.shape) // 8

    def reads(self, region: Region, target: Any) -> Iterator[RangeRead]:
        """What has to be read for a region of it.

        Args:
            region: what of it.
            target: where that goes, as of :func:`s3dlio.checkpoint.regions.stretches`.

        Raises:
            UnsupportedOperationError: elements of the type are parts of bytes.
        """
        itemsize, rest = divmod(DTYPE_BITS[self.dtype], 8)
        if rest:
            raise UnsupportedOperationError(f"a part of a tensor of {self.dtype} cannot be read", hint="load all of it")
        for part in self.parts:
            common = overlap(region, part.region)
            if common is None:
                continue
            place = target[byte_slices(within(common, region), itemsize)]
            inner = within(common, part.region)
            for offset, length, memory, land in stretches(part.info.shape, itemsize, inner, place):
                file = part.file
                yield RangeRead(
                    file.store, file.key, part.info.start + offset, length, place=memory, land=land,
                    conditions=file.version,
                )  # fmt: skip

    def whole(self, memory: memoryview) -> Iterator[RangeRead]:
        """What has to be read for all of it, into memory of just its size."""
        if len(self.parts) == 1:
            file, info, _ = self.parts[0]
            if info.nbytes:
                yield RangeRead(file.store, file.key, info.start, info.nbytes, place=memory, conditions=file.version)
            return
        yield from self.reads(everything(self.shape), as_bytes(memory, self.shape))


def byte_slices(region: Region, itemsize: int) -> tuple[slice, ...]:
    """A region as an index into an array of bytes."""
    return (
        *(slice(begin, end) for begin, end in region[:-1]),
        *(slice(begin * itemsize, end * itemsize) for begin, end in region[-1:]),
    )


class _Beginnings(Outcomes):
    """The first bytes of files, each with what the store tells about it."""

    def __init__(self, places: Sequence[tuple[ObjectStore, str]]) -> None:
        super().__init__([store.uri(key) for store, key in places], "GET_RANGE")
        self._places = places
        self._sinks: dict[int, MemorySink] = {}

    def call(self, index: int) -> Call[Any]:
        store, key = self._places[index]
        sink = self._sinks[index] = MemorySink()
        return store.read_call(key, sink, offset=0, length=_FIRST)

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        sink = self._sinks.pop(index)
        if error is None:
            self.results[index] = result, sink.view()
        else:
            self.fail(index, error)


def open_files(session: Session, places: Sequence[tuple[ObjectStore, str]], width: int) -> list[File]:
    """The headers of files, all at once: one request each, a second one where a header is long.

    Raises:
        BatchError: files could not be read.
        CorruptDataError: one is no safetensors file, or damaged.
    """
    beginnings = _Beginnings(places)
    beginnings.run([store for store, _ in places], beginnings.call, session, width)
    return [_opened(store, key, *found) for (store, key), found in zip(places, beginnings.results, strict=True)]


def _opened(store: ObjectStore, key: str, about: ObjectMetadata, first: Any) -> File:
    uri = store.uri(key)
    if not store.reads_return_metadata:
        about = store.head(key)
    version = Conditions(if_match=about.etag) if about.etag else NO_CONDITIONS
    end = LENGTH_BYTES + header_length(first, uri)
    if end > about.size:
        raise CorruptDataError(f"this safetensors file ends in its header: it has {about.size} bytes", uri=uri)
    text = first[LENGTH_BYTES:end]
    if end > len(first):
        text = store.get_range(key, LENGTH_BYTES, end - LENGTH_BYTES, conditions=version)
    return File(store, key, version, parse_header(text, about.size, uri))


def open_directory(session: Session, uri: URI, width: int) -> list[File]:
    """The files of a directory, or the one file that ``uri`` names. Where there is an index, it says which.

    Raises:
        ObjectNotFoundError: there is none.
        CorruptDataError: the index or a header is damaged, or names what is not there.
    """
    text = place_uri(uri)
    if text.endswith(SUFFIX):
        return open_files(session, [session.store_for(text)], width)
    is_index = text.endswith(INDEX_SUFFIX)
    base = text.rpartition("/")[0] if is_index else text.rstrip("/")
    store, prefix = session.store_for(f"{base}/")
    keys = [] if is_index else [key for page in store.list(prefix, recursive=False) for key in page.keys]
    indices = [text] if is_index else [store.uri(key) for key in keys if key.endswith(INDEX_SUFFIX)]
    if len(indices) > 1:
        raise ConfigError("there are several models in this directory", uri=text, hint=f"name one: {indices[0]}")
    if not indices:
        return open_files(session, [(store, prefix + name) for name in _without_index(keys, prefix, text)], width)
    weight_map = _weight_map(session, indices[0])
    names = sorted(set(weight_map.values()))
    files = open_files(session, [(store, prefix + name) for name in names], width)
    headers = {name: file.header.tensors for name, file in zip(names, files, strict=True)}
    for tensor, name in weight_map.items():
        if tensor not in headers[name]:
            raise CorruptDataError(f"the index says that {name} has {tensor!r}, which it has not", uri=indices[0])
    return files


def _without_index(keys: Sequence[str], prefix: str, uri: str) -> list[str]:
    """The files of a directory that has no index: the one model; or all, where they are parts, or named otherwise.

    Raises:
        ObjectNotFoundError: there are none, or shards whose index is to come.
    """
    names = [key.removeprefix(prefix) for key in keys if key.endswith(SUFFIX)]
    if _MODEL in names:
        return [_MODEL]
    if any(_SHARD.fullmatch(name) for name in names):
        raise ObjectNotFoundError(
            f"there are shards here, but not their index, model{INDEX_SUFFIX}", uri=uri, operation="GET",
            hint="it is written last: saving has not ended",
        )  # fmt: skip
    if not names:
        raise ObjectNotFoundError("there are no safetensors files here", uri=uri, operation="GET")
    return names


def _weight_map(session: Session, uri: str) -> dict[str, str]:
    """Which file has which tensor, of an index."""
    store, key = session.store_for(uri)
    try:
        weight_map = json.loads(bytes(store.get(key)).decode())["weight_map"]
        if not isinstance(weight_map, dict) or not weight_map:
            raise ValueError("weight_map is no mapping")
        for name in weight_map.values():
            if not isinstance(name, str) or not name.endswith(SUFFIX) or {"..", ".", ""} & {*name.split("/")}:
                raise ValueError(f"{name!r} is no file of this directory")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataError(f"this index of safetensors files is damaged: {error}"[:500], uri=uri) from error
    return weight_map


def tensors_of(files: Sequence[File], uri: str) -> dict[str, StoredTensor]:
    """The tensors that files have, whole or in parts.

    Raises:
        CorruptDataError: two files have the same part of a tensor, a part is missing, or types differ.
    """
    found: dict[str, list[Part]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    ranks: list[int] = []
    for file in files:
        offsets = _sharding(file, SHARDING)
        of_ranks = _sharding(file, SHARDING_OF_RANKS)
        if of_ranks:
            ranks.append(_rank_count(file, of_ranks))
            shapes |= {name: tuple(shape) for name, shape in of_ranks["shapes"].items()}
        for name, info in file.header.tensors.items():
            found.setdefault(name, []).append(Part(file, info, _region(file, name, info, offsets.get(name))))
    if ranks and (len(set(ranks)) > 1 or len(ranks) != ranks[0]):
        raise CorruptDataError(
            f"{max(ranks)} ranks have saved tensors here, and there are the files of {len(ranks)}", uri=uri,
            hint="save again; all ranks have to finish",
        )  # fmt: skip
    return {name: _joined(name, parts, shapes.get(name), uri) for name, parts in found.items()}


def _sharding(file: File, key: str) -> dict[str, Any]:
    text = file.header.metadata.get(key)
    if text is None:
        return {}
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{key} of this safetensors file is damaged: {error}", uri=file.uri) from error
    return found


def _rank_count(file: File, sharding: Mapping[str, Any]) -> int:
    count, shapes = sharding.get("world_size"), sharding.get("shapes")
    if type(count) is not int or count < 1 or not isinstance(shapes, dict) or not all(map(_is_shape, shapes.values())):
        raise CorruptDataError(f"{SHARDING_OF_RANKS} of this safetensors file is damaged", uri=file.uri)
    return count


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _region(file: File, name: str, info: TensorInfo, sharding: Any) -> Region:
    offsets = [0] * len(info.shape) if sharding is None else None
    if isinstance(sharding, dict):
        offsets = sharding.get("saved_offsets")
    if (
        not isinstance(offsets, list) or len(offsets) != len(info.shape)
        or not all(type(offset) is int and offset >= 0 for offset in offsets)
    ):  # fmt: skip
        raise CorruptDataError(f"{SHARDING} does not say which part of {name!r} this file has", uri=file.uri)
    return [(offset, offset + size) for offset, size in zip(offsets, info.shape, strict=True)]


def _joined(name: str, parts: Sequence[Part], shape: tuple[int, ...] | None, uri: str) -> StoredTensor:
    """A tensor of its parts, which must be all of it, each once."""
    dtypes = {part.info.dtype for part in parts}
    dims = {len(part.region) for part in parts}
    if len(dtypes) > 1 or len(dims) > 1 or (shape is not None and {len(shape)} != dims):
        raise CorruptDataError(f"the parts of {name!r} are of different types, or not of one tensor", uri=uri)
    if shape is None:
        shape = tuple(max(part.region[dim][1] for part in parts) for dim in range(dims.pop()))
    stored = sum(math.prod(shape_of(part.region)) for part in parts)
    wanted = math.prod(shape)
    if stored != wanted or (len(parts) > 1 and collide([part.region for part in parts])):
        more = "missing" if stored < wanted else "there twice"
        raise CorruptDataError(
            f"{name!r} of shape {list(shape)} is not whole: parts of it are {more}", uri=uri,
            hint="all ranks have to save, once each",
        )  # fmt: skip
    return StoredTensor(dtypes.pop(), shape, parts)
