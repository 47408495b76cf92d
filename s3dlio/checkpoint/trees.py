"""Trees of arrays (pytrees of JAX, state dicts) saved and loaded, each process its parts of sharded arrays."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from s3dlio import api
from s3dlio.checkpoint import tensors as arrays
from s3dlio.checkpoint.ranks import Ranks, alone, jax_ranks
from s3dlio.checkpoint.regions import Region, shape_of, whole
from s3dlio.checkpoint.tree_files import (
    INDEX,
    PLANES,
    StoredArray,
    StoredPart,
    TreeIndex,
    read_index,
    write_index,
)
from s3dlio.checkpoint.tree_structure import Flat, flatten
from s3dlio.engine.session import Session
from s3dlio.errors import (
    AlreadyExistsError,
    ConfigError,
    CorruptDataError,
    IntegrityError,
    ObjectNotFoundError,
    PreconditionFailedError,
    S3dlioError,
)
from s3dlio.formats.planes import WIDTHS, check_level, encode_planes
from s3dlio.formats.safetensors import DTYPE_BITS
from s3dlio.memory.crc32c import crc32c
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.places import destination_uri
from s3dlio.types import NO_OPTIONS, Conditions, PutOptions
from s3dlio.uri import URI

log = logging.getLogger("s3dlio.checkpoint")

_FLOATS = ("F16", "BF16", "F32", "F64")


def save_tree(
    tree: Any,
    uri: URI,
    *,
    compression: str | None = None,
    level: int = 1,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    ranks: Ranks | None = None,
    options: PutOptions = NO_OPTIONS,
    client: Session | None = None,
) -> str:
    """Save a tree of arrays: dicts, lists, tuples, and where JAX is imported all types that it knows.

    In a JAX program of several processes all of them call it. Each part of a sharded array is written once, by the
    first process that has it; other arrays are the same on all processes, and written by one of them, by turns. The
    tree is there when all of it is, and until then what was there before.

    Args:
        tree: arrays of JAX, numpy and torch, numbers, texts and None.
        uri: the directory.
        compression: ``"planes"`` packs floats by byte planes and zstd; None: not at all.
        level: of zstd, 1 to 22.
        metadata: anything of JSON that is kept with it.
        overwrite: replace a tree that is there.
        ranks: who takes part; None: all processes of the JAX program, where it is imported.
        options: storage class and the like, for every file. Local files are fsynced.
        client: whose settings count; None: the default client.

    Returns:
        The URI of the index.

    Raises:
        ConfigError: a leaf is neither an array nor a number, text or None; nothing was written.
        AlreadyExistsError: there is a tree already.
        S3dlioError: another process failed; nothing of this attempt stays.
    """
    flat = flatten(tree)
    if compression not in (None, PLANES):
        raise ConfigError(f"unknown compression {compression!r}", hint=f"write '{PLANES}', or None")
    check_level(level)
    session = client or api.default_client()
    if ranks is None:
        ranks = jax_ranks() if any(map(_is_jax, flat.arrays.values())) else alone()
    save = _Save(session, destination_uri(uri), flat, ranks, replace(options, durable=True))
    return save.run(compression, level, dict(metadata or {}), overwrite)


class _Planned(NamedTuple):
    """A part of an array that this process writes."""

    path: str
    dtype: str
    region: Region
    data: Any


class _Save:
    """One attempt to save a tree, as one process knows it."""

    def __init__(self, session: Session, uri: str, flat: Flat, ranks: Ranks, options: PutOptions) -> None:
        self._uri = uri
        self._flat = flat
        self._ranks = ranks
        self._options = options
        self._store, self._prefix = session.store_for(uri.rstrip("/") + "/")
        self._described = {path: arrays.about(path, value) for path, value in flat.arrays.items()}
        for path, (dtype, _) in self._described.items():
            if DTYPE_BITS[dtype] % 8:
                raise ConfigError(f"tree{path} is {dtype}, whose elements are parts of bytes")

    def run(self, compression: str | None, level: int, metadata: dict[str, Any], overwrite: bool) -> str:
        """Write all; the URI of the index."""
        ranks = self._ranks
        attempt = ranks.all_do(lambda: self._begin(overwrite) if ranks.rank == 0 else "")[0]
        name = self._file(attempt, ranks.rank)
        try:
            found = ranks.all_do(lambda: self._write_parts(name, compression, level))
        except BaseException:
            self._remove([name])
            raise
        ranks.all_do(lambda: self._commit(attempt, found, metadata, overwrite) if ranks.rank == 0 else None)
        return self._store.uri(self._prefix + INDEX)

    @staticmethod
    def _file(attempt: str, rank: int) -> str:
        return f"data-{attempt}-{rank:05}.bin"

    def _begin(self, overwrite: bool) -> str:
        """Look whether there is a tree; the id of this attempt."""
        if not overwrite and _exists(self._store, self._prefix + INDEX):
            raise AlreadyExistsError(
                "there is a tree already", uri=self._uri, operation="PUT",
                hint="write elsewhere, or give overwrite=True",
            )  # fmt: skip
        return secrets.token_hex(8)

    def _write_parts(self, name: str, compression: str | None, level: int) -> list[Any]:
        """Write what this process has to write; the size of its file, and the parts in it, for JSON."""
        written: list[Any] = []
        planned = list(_parts(self._flat, self._described, self._ranks))
        if not planned:
            return [0, []]
        position = 0
        with self._store.writer(self._prefix + name, options=self._options) as writer:
            for path, dtype, region, data in planned:
                memory = arrays.memory_of(path, data)
                width = DTYPE_BITS[dtype] // 8
                packing = PLANES if compression and dtype in _FLOATS and width in WIDTHS and len(memory) else None
                begin = position
                pieces = encode_planes(memory, width, level) if packing else [memory]
                for piece in pieces:
                    position += writer.write_owned(piece)
                part = StoredPart(region, self._ranks.rank, begin, position - begin, crc32c(memory), packing)
                written.append([path, part.as_json()])
        return [position, written]

    def _commit(self, attempt: str, found: list[Any], metadata: dict[str, Any], overwrite: bool) -> None:
        """All processes have written their files: look at them, and write the index."""
        old = self._old_files() if overwrite else []
        numbers = {rank: number for number, rank in enumerate(rank for rank, (_, parts) in enumerate(found) if parts)}
        files = [(self._file(attempt, rank), found[rank][0]) for rank in numbers]
        parts: dict[str, list[StoredPart]] = {path: [] for path in self._described}
        for _, written in found:
            for path, (region, rank, offset, length, crc, packing) in written:
                parts[path].append(StoredPart(region, numbers[rank], offset, length, int(crc, 16), packing))
        index = TreeIndex(
            self._flat.structure, {path: StoredArray(*self._described[path], each) for path, each in parts.items()},
            self._flat.values, files, metadata,
        )  # fmt: skip
        try:
            data = self._checked(index)
            options = self._options
            if not overwrite:
                options = replace(options, conditions=Conditions(if_none_match="*"))
            self._store.put(self._prefix + INDEX, data, options=options)
        except (IntegrityError, CorruptDataError, PreconditionFailedError, AlreadyExistsError):
            self._remove([name for name, _ in files])  # after any other error the index may be there
            raise
        self._remove(old)

    def _checked(self, index: TreeIndex) -> bytes:
        """The bytes of an index, all of whose files and parts are there."""
        for name, size in index.files:
            stored = self._store.head(self._prefix + name).size
            if stored != size:
                raise IntegrityError(
                    f"{size} bytes were written, and the store has {stored}",
                    uri=self._store.uri(self._prefix + name), operation="PUT",
                )  # fmt: skip
        data = write_index(index)
        read_index(data, self._uri)
        return data

    def _old_files(self) -> list[str]:
        """The files of the tree that is replaced."""
        try:
            data = self._store.get(self._prefix + INDEX)
        except ObjectNotFoundError:
            return []
        return [name for name, _ in read_index(data, self._store.uri(self._prefix + INDEX)).files]

    def _remove(self, names: list[str]) -> None:
        """Remove files that no tree refers to; what stays is no part of one."""
        try:
            failed = self._store.delete_many([self._prefix + name for name in names])
        except S3dlioError as error:
            failed = [(names[0], error)]
        for _, why in failed:
            log.warning("a file that belongs to no tree stays: %s", why)


def _exists(store: ObjectStore, key: str) -> bool:
    try:
        store.head(key)
    except ObjectNotFoundError:
        return False
    return True


def _is_jax(value: Any) -> bool:
    return hasattr(value, "addressable_shards") and hasattr(value, "sharding")


def _parts(flat: Flat, described: Mapping[str, tuple[str, tuple[int, ...]]], ranks: Ranks) -> Iterator[_Planned]:
    """The parts of arrays that this process writes."""
    number = 0
    for path, value in flat.arrays.items():
        dtype, shape = described[path]
        if _is_jax(value):
            for region, data in _own_shards(value, shape):
                yield _Planned(path, dtype, region, data)
            continue
        if number % ranks.world_size == ranks.rank:
            yield _Planned(path, dtype, whole(shape), value)
        number += 1


def _own_shards(value: Any, shape: tuple[int, ...]) -> Iterator[tuple[Region, Any]]:
    """The shards of an array of JAX that this process writes: of equal ones, that of the first device."""
    owners: dict[tuple[tuple[int, int], ...], Any] = {}
    for device, index in value.sharding.devices_indices_map(shape).items():
        region = region_of(index, shape)
        if region not in owners or device.id < owners[region].id:
            owners[region] = device
    for shard in value.addressable_shards:
        region = region_of(shard.index, shape)
        if owners[region] == shard.device and all(shape_of(region)):
            yield region, shard.data


def region_of(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The region of an index of slices, as JAX gives for the shards of an array."""
    return tuple(each.indices(size)[:2] for each, size in zip(index, shape, strict=True))
