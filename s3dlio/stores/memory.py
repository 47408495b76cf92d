"""memory://: objects in this process. The simplest whole store: the model that every other store is tested against."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from s3dlio.errors import (
    AlreadyExistsError,
    LocalIOError,
    ObjectNotFoundError,
    S3dlioError,
)
from s3dlio.forking import ForkLock
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source, as_memory
from s3dlio.rfc3339 import rfc3339
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.blocking import BlockingStore
from s3dlio.stores.checks import check_conditions, unsupported
from s3dlio.stores.writer import PartOptions, StoreWriter
from s3dlio.types import (
    Conditions,
    Container,
    ListEntry,
    ListPage,
    ObjectMetadata,
    Observer,
    Payload,
    PutOptions,
    PutResult,
)

PAGE_SIZE = 1000  # keys and prefixes of one page, as S3 has it


@dataclass(frozen=True, slots=True)
class _Object:
    data: bytes
    metadata: ObjectMetadata


class _Container:
    """The objects of one root. Every change replaces a whole `_Object` under the lock, so readers need none."""

    def __init__(self) -> None:
        self.lock = ForkLock()
        self.objects: dict[str, _Object] = {}
        self.created_ns = time.time_ns()
        self._sorted: list[str] | None = None

    def forget_order(self) -> None:
        self._sorted = None

    def keys(self) -> list[str]:
        """All keys in the order of their UTF-8 bytes, which is the order of their code points."""
        with self.lock:
            if self._sorted is None:
                self._sorted = sorted(self.objects)
            return self._sorted


_containers: dict[str, _Container] = {}  # by root, for the whole process: two stores of one root see the same objects
_containers_lock = ForkLock()


class MemoryStore(BlockingStore):
    """One container in this process's memory, there from its first use until `delete_container`.

    Objects are bytes with an ETag (their CRC32C and a counter), metadata, and the conditions of the contract; there are
    no versions. A forked child has a copy of its own.

    Args:
        root: ``memory://name``.
        observers: as of :class:`ObjectStore`.
    """

    scheme: ClassVar[str] = "memory"
    waits: ClassVar[bool] = False
    _writes: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, root: str = "memory://default", observers: Sequence[Observer] = ()) -> None:
        super().__init__(root, observers)

    @property
    def _container(self) -> _Container:
        with _containers_lock:
            return _containers.setdefault(self.root, _Container())

    # -- objects

    def _find(self, key: str, conditions: Conditions) -> _Object:
        self._refuse_versions(key, conditions)
        found = self._container.objects.get(key)
        if found is None:
            raise ObjectNotFoundError("no such object")
        check_conditions(found.metadata.etag, conditions)
        return found

    def _refuse_versions(self, key: str, conditions: Conditions) -> None:
        if conditions.version_id is not None or conditions.generation is not None:
            raise unsupported(self, key, "keep versions of an object")

    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> ObjectMetadata:
        found = self._find(key, conditions)
        end = None if length is None else offset + length
        sink.take(found.data[offset:end])
        return found.metadata

    def _head(self, key: str, conditions: Conditions) -> ObjectMetadata:
        return self._find(key, conditions).metadata

    def _write(self, key: str, source: Source, options: PutOptions) -> PutResult:
        self._refuse_versions(key, options.conditions)
        return self._store(key, _all_bytes(source), options)

    def check_options(self, options: PutOptions, key: str = "") -> None:
        if options.sse_customer_key is not None or options.tags:
            raise unsupported(self, key, "keep tags or encrypt objects")

    def _store(self, key: str, data: bytes, options: PutOptions) -> PutResult:
        self.check_options(options, key)
        container = self._container
        checksum = crc32c(data)
        with container.lock:
            self._check_write(container.objects.get(key), options.conditions)
            metadata = ObjectMetadata(
                size=len(data),
                etag=f'"{checksum:08x}-{next(self._writes)}"',
                last_modified=rfc3339(time.time_ns()),
                content_type=options.content_type,
                content_language=options.content_language,
                content_encoding=options.content_encoding,
                cache_control=options.cache_control,
                content_disposition=options.content_disposition,
                expires=options.expires,
                storage_class=options.storage_class or "STANDARD",
                server_side_encryption=options.server_side_encryption,
                ssekms_key_id=options.ssekms_key_id,
                metadata=dict(options.metadata or {}),
                crc32c=checksum,
            )
            container.objects[key] = _Object(data, metadata)
            container.forget_order()
        return PutResult(metadata.etag, None, len(data))

    @staticmethod
    def _check_write(existing: _Object | None, conditions: Conditions) -> None:
        if existing is None:
            if conditions.if_match is not None:
                raise ObjectNotFoundError("no such object to replace")
        elif conditions.if_none_match == "*":
            raise AlreadyExistsError("the object exists already")
        else:
            check_conditions(existing.metadata.etag, conditions)

    def _writer(self, key: str, options: PutOptions, parts: PartOptions) -> StoreWriter:
        return _MemoryWriter(self, key, options)

    def _delete(self, key: str, version_id: str | None) -> None:
        self._refuse_versions(key, Conditions(version_id=version_id))
        container = self._container
        with container.lock:
            if container.objects.pop(key, None):
                container.forget_order()

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> PutResult:
        assert isinstance(source, MemoryStore)  # can_copy_from has said so
        found = source._find(source_key, Conditions())
        return self._store(key, found.data, options.completed_from(found.metadata))

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> tuple[ListPage, str | None]:
        container = self._container
        keys: list[str] = []
        prefixes: list[str] = []
        last = None
        for name, is_prefix in _names(container.keys(), prefix, recursive, token, start_after or ""):
            if len(keys) + len(prefixes) == PAGE_SIZE:
                return self._page(container, keys, prefixes), last
            (prefixes if is_prefix else keys).append(name)
            last = name
        return self._page(container, keys, prefixes), None

    @staticmethod
    def _page(container: _Container, keys: list[str], prefixes: list[str]) -> ListPage:
        def entries() -> list[ListEntry]:
            found = [(key, container.objects.get(key)) for key in keys]
            return [
                ListEntry(key, o.metadata.size, o.metadata.etag, o.metadata.last_modified, o.metadata.storage_class)
                for key, o in found
                if o is not None
            ]

        return ListPage(keys, prefixes, entries)

    # -- containers

    def _create_container(self) -> None:
        assert self._container

    def _delete_container(self) -> None:
        with _containers_lock:
            found = _containers.get(self.root)
            if found is None:
                raise ObjectNotFoundError("no such container")
            if found.objects:
                raise LocalIOError("the container is not empty", hint="delete its objects first")
            del _containers[self.root]

    def _list_containers(self) -> list[Container]:
        with _containers_lock:
            return [
                Container(root.partition("://")[2], root, rfc3339(found.created_ns))
                for root, found in sorted(_containers.items())
            ]


def _names(
    keys: list[str], prefix: str, recursive: bool, token: str | None, start_after: str
) -> Iterator[tuple[str, bool]]:
    """The keys under `prefix`, and without `recursive` the common prefixes (marked True), from a point on.

    `token` is the last name of the page before: a key, or a common prefix, whose keys are skipped.
    """
    at = max(bisect_left(keys, prefix), bisect_right(keys, token or start_after))
    while at < len(keys) and keys[at].startswith(prefix):
        key = keys[at]
        slash = -1 if recursive else key.find("/", len(prefix))
        if slash < 0:
            at += 1
            yield key, False
            continue
        common = key[: slash + 1]
        at = bisect_left(keys, common[:-1] + "0", at)  # '0' follows '/': the first key that is not under it
        if common != token:
            yield common, True


def _all_bytes(source: Source) -> bytes:
    whole = source.whole()
    if whole is not None:
        return bytes(whole)
    return b"".join(source.stretches())


class _MemoryWriter(StoreWriter):
    def __init__(self, store: MemoryStore, key: str, options: PutOptions) -> None:
        self._store = store
        self._key = key
        self._options = options
        self._parts: bytearray | None = bytearray()

    def write(self, data: Payload) -> int:
        view = as_memory(data)
        if self._parts is None:
            raise self._closed()
        self._parts += view
        return len(view)

    def flush(self) -> None:
        if self._parts is None:
            raise self._closed()

    def close(self) -> PutResult:
        if self._parts is None:
            raise self._closed()
        result = self._store.put(self._key, self._parts, options=self._options)
        self._parts = None
        return result

    def abort(self) -> None:
        self._parts = None

    def __del__(self) -> None:
        if self._parts is not None:
            self._dropped(self._store.uri(self._key))

    def _closed(self) -> S3dlioError:
        return S3dlioError("the writer is closed", uri=self._store.uri(self._key), operation="PUT")
