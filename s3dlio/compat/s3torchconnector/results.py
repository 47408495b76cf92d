"""What s3torchconnector's clients tell about objects, and their listings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, Self

from s3dlio.compat.s3torchconnector.connection import Connection
from s3dlio.errors import ConfigError, ProtocolError, UnsupportedOperationError
from s3dlio.stores.paging import Paging
from s3dlio.types import ListEntry, ListPage, ObjectMetadata


class RestoreStatus(NamedTuple):
    """Whether an archived object is being restored, and until when (seconds since 1970) it is there."""

    in_progress: bool
    expiry: int | None


class ObjectInfo(NamedTuple):
    """An object of a listing. ``last_modified`` is in seconds since 1970, ``size`` in bytes."""

    key: str
    etag: str | None
    size: int
    last_modified: int
    storage_class: str | None = None
    restore_status: RestoreStatus | None = None


class S3BucketKeyData(NamedTuple):
    """An object, and what is known of it."""

    bucket: str
    key: str
    object_info: ObjectInfo | None = None


class HeadObjectResult(NamedTuple):
    """What is known of an object; see :class:`ObjectInfo`."""

    etag: str | None
    size: int
    last_modified: int
    storage_class: str | None = None
    restore_status: RestoreStatus | None = None


class ListObjectResult(NamedTuple):
    """A page of a listing."""

    object_info: list[ObjectInfo]
    common_prefixes: list[str]


def head_result(found: ObjectMetadata) -> HeadObjectResult:
    return HeadObjectResult(found.etag, found.size, _seconds(found.last_modified), found.storage_class)


def _seconds(time: str | None) -> int:
    """RFC 3339 -> seconds since 1970; 0 where a store keeps no time."""
    return int(datetime.fromisoformat(time).timestamp()) if time else 0


class ListObjectStream:
    """The objects whose key begins with ``prefix``, page by page. It pickles, also in its middle.

    Args:
        connection: to the service.
        bucket, prefix: what is listed.
        delimiter: ``/`` folds the keys with one after the prefix into ``common_prefixes``; ``""`` folds nothing.
        max_keys: names of a page, at most.
    """

    def __init__(
        self, connection: Connection, bucket: str, prefix: str = "", delimiter: str = "", max_keys: int = 1000
    ) -> None:
        if delimiter not in ("", "/"):
            raise UnsupportedOperationError(f"the delimiter {delimiter!r}: a listing has '/' or none")
        if not isinstance(max_keys, int) or max_keys < 1:
            raise ConfigError(f"max_keys must be 1 or more, not {max_keys!r}")
        self._connection = connection
        self.bucket = bucket
        self.prefix = prefix
        self.delimiter = delimiter
        self.max_keys = max_keys
        self.continuation_token: str | None = None
        self.complete = False
        self._left = ListObjectResult([], [])  # of the page that came, what did not fit into max_keys
        self._paging = Paging()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ListObjectResult:
        found, prefixes = self._left if any(self._left) else self._page()
        page = ListObjectResult(found[: self.max_keys], prefixes[: max(0, self.max_keys - len(found))])
        self._left = ListObjectResult(found[len(page.object_info) :], prefixes[len(page.common_prefixes) :])
        return page

    def _page(self) -> ListObjectResult:
        if self.complete:
            raise StopIteration
        store, base = self._connection.container(self.bucket)
        call = store.list_page_call(base + self.prefix, not self.delimiter, self.continuation_token)
        page, token = store.execute(call)
        try:
            self._paging.check(page.keys or page.prefixes, token)
        except ProtocolError as error:
            error.locate(store.uri(base + self.prefix), "LIST")
            raise
        self.continuation_token, self.complete = token, token is None
        return ListObjectResult(_infos(page, base), [name[len(base) :] for name in page.prefixes])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_paging": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _paging=Paging())


def _infos(page: ListPage, base: str) -> list[ObjectInfo]:
    return [_info(entry, base) for entry in page.entries]


def _info(entry: ListEntry, base: str) -> ObjectInfo:
    return ObjectInfo(
        entry.key[len(base) :], entry.etag, entry.size, _seconds(entry.last_modified), entry.storage_class
    )
