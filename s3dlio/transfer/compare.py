"""A second look at what is on both sides, before it is transferred again: by checksum, or where times mislead.

The time of an object is when it was stored, and not that of the file it was made from, so a copy may seem older than
its source though nothing has changed. Then what is kept with both is compared: the time kept with the object, or what
the services know of the content. A local file is read for that; an object never is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from s3dlio.engine.executor import BaseExecutor
from s3dlio.errors import ConfigError
from s3dlio.memory.sources import FileSource
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.cloud.checksums import md5_base64
from s3dlio.transfer.file_times import metadata_mtime
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import Route, RouteAround, Transferred
from s3dlio.transfer.source_file import open_file, read_aside
from s3dlio.transfer.task import Task, finish, perform, within
from s3dlio.transfer.verify import checksum_of
from s3dlio.types import ObjectMetadata
from s3dlio.uri import LOCAL_SCHEMES
from s3dlio.wording import option


class StoredItem(NamedTuple):
    """An object and the store that has it."""

    store: ObjectStore
    item: Item


class By(Enum):
    """What tells whether objects of one size are the same.

    ``EXACT_TIME`` is that of the AWS CLI: a local file whose time is another than that of its object differs, whichever
    is older. Objects that are written have the time of their writing, so for them it is ``TIME``.
    """

    TIME = "time"
    EXACT_TIME = "exact time"
    SIZE = "size"
    CHECKSUM = "checksum"

    @classmethod
    def of(cls, *, checksum: bool = False, size_only: bool = False, exact_timestamps: bool = False) -> By:
        """The one that is wanted.

        Raises:
            ConfigError: several are.
        """
        given = {"checksum": checksum, "size_only": size_only, "exact_timestamps": exact_timestamps}
        names = [name for name, wanted in given.items() if wanted]
        if len(names) > 1:
            two = f"{option(names[0])} and {option(names[1])}"
            raise ConfigError(f"{two} are two ways to compare", hint="leave one of them out")
        wanted = {"checksum": cls.CHECKSUM, "size_only": cls.SIZE, "exact_timestamps": cls.EXACT_TIME}
        return wanted[names[0]] if names else cls.TIME


#: Whether an object of the source and one of the destination are the same; the executor as of :func:`read_aside`.
Comparison = Callable[[Call[Transferred], StoredItem, StoredItem, BaseExecutor | None], Steps[bool]]


def by_checksum(
    task: Call[Transferred], source: StoredItem, target: StoredItem, executor: BaseExecutor | None
) -> Steps[bool]:
    """Whether both have one CRC32C, as the services tell it or by reading."""
    found = yield from _checksum(task, source, executor)
    return found == (yield from _checksum(task, target, executor))


def _checksum(task: Call[Transferred], stored: StoredItem, executor: BaseExecutor | None) -> Steps[int]:
    store, item = stored
    steps = checksum_of(store, item.key, item.size)
    if store.scheme in LOCAL_SCHEMES:
        return (yield from read_aside(executor, item.size, lambda: finish(steps)))
    return (yield from within(task, steps))


def by_metadata(
    task: Call[Transferred], source: StoredItem, target: StoredItem, executor: BaseExecutor | None
) -> Steps[bool]:
    """Whether the time of the file behind both is one, or else what is known of their content."""
    one = yield from within(task, _about(*source))
    two = yield from within(task, _about(*target))
    if one is None and two is None:
        return False
    times = [
        source.item.mtime_ns if one is None else metadata_mtime(one),
        target.item.mtime_ns if two is None else metadata_mtime(two),
    ]
    if None not in times and len({time // 1_000_000_000 for time in times if time is not None}) == 1:
        return True
    if one is not None and two is not None:
        return _same_metadata(source.store, one, target.store, two)
    store, about, path = (source.store, one, target.item.key) if one else (target.store, two, source.item.key)
    assert about is not None
    size, crc32c, md5 = source.item.size, about.crc32c, md5_in(store, about)
    return (yield from read_aside(executor, size, lambda: file_is(path, size, crc32c, md5)))


def by_kept_time(
    task: Call[Transferred], source: StoredItem, target: StoredItem, executor: BaseExecutor | None
) -> Steps[bool]:
    """Whether a file has exactly the time that is kept with its object; of objects, see :func:`by_metadata`."""
    if target.store.scheme not in LOCAL_SCHEMES:
        return (yield from by_metadata(task, source, target, executor))
    about = yield from within(task, _about(*source))
    kept, found = None if about is None else metadata_mtime(about), target.item.mtime_ns
    return kept is not None and found is not None and kept // 1_000_000_000 == found // 1_000_000_000


def _about(store: ObjectStore, item: Item) -> Steps[ObjectMetadata | None]:
    """What is kept with an object; None of a local file, of which all is known."""
    if store.scheme in LOCAL_SCHEMES:
        return None
    about: ObjectMetadata = yield from perform(store.head_call(item.key))
    return about


def _same_metadata(source: ObjectStore, one: ObjectMetadata, target: ObjectStore, two: ObjectMetadata) -> bool:
    if one.size != two.size:
        return False
    if one.crc32c is not None and two.crc32c is not None:
        return one.crc32c == two.crc32c
    md5 = md5_in(source, one)
    if md5 is not None and md5 == md5_in(target, two):
        return True
    return source.scheme == target.scheme == "s3" and one.etag is not None and one.etag == two.etag


def md5_in(store: ObjectStore, about: ObjectMetadata) -> str | None:
    """The MD5 of an object in base64, where the service keeps it; S3 as the ETag."""
    if store.scheme != "s3":
        return about.md5
    from s3dlio.stores.s3.headers import md5_of

    return md5_of(about)


def file_is(path: str, size: int, crc32c: int | None, md5: str | None) -> bool:
    """Whether a file has this content, of which one checksum is known."""
    if crc32c is None and md5 is None:
        return False
    descriptor, about = open_file(path)
    try:
        if about.st_size != size:
            return False
        source = FileSource(descriptor, 0, size)
        return source.crc32c() == crc32c if crc32c is not None else md5_base64(source) == md5
    finally:
        os.close(descriptor)


class IfDifferent(RouteAround):
    """Another route, but for what is the same on both sides already.

    Args:
        route: carries what differs.
        source: where objects are.
        target: where they go.
        in_both: names to look at, and what the destination has of that name; others are carried without a look.
        comparison: how to look.
        executor: its threads read local files, where an event loop would have to.
    """

    def __init__(
        self, route: Route, source: ObjectStore, target: ObjectStore, in_both: dict[str, Item],
        comparison: Comparison, executor: BaseExecutor,
    ) -> None:  # fmt: skip
        super().__init__(route)
        self._source = source
        self._target = target
        self._in_both = in_both
        self._comparison = comparison
        self._executor = executor

    def task(self, item: Item) -> Call[Transferred]:
        carry = self._route.task(item)
        other = self._in_both.pop(item.name, None)
        if other is None:
            return carry
        return Task(
            carry.store, "SYNC", item.key, lambda: self._compare(carry, item, other), size=carry.size, load=carry.load
        )

    def _compare(self, carry: Call[Transferred], item: Item, other: Item) -> Steps[Transferred]:
        source, target = StoredItem(self._source, item), StoredItem(self._target, other)
        executor = self._executor if carry.store.is_cloud else None
        if (yield from self._comparison(carry, source, target, executor)):
            return Transferred(0, same=True)
        return (yield from perform(carry))
