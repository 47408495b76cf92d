"""A second look at what is on both sides, before it is transferred again: by checksum, or where times mislead.

The time of an object is when it was stored, and not that of the file it was made from, so a copy may seem older than
its source though nothing has changed. Then what both sides tell is compared: the time kept with the object, or what
the services know of the content. A local file is read for that; an object never is.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable

from s3dlio.memory.sources import FileSource
from s3dlio.stores.base import Call, ObjectStore, Steps
from s3dlio.transfer.file_routes import file_crc
from s3dlio.transfer.file_times import metadata_mtime
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import PIECE, Route, Transferred
from s3dlio.transfer.source_file import open_file
from s3dlio.transfer.task import Task, perform, within
from s3dlio.transfer.verify import checksum_of
from s3dlio.types import ObjectMetadata
from s3dlio.uri import LOCAL_SCHEMES

#: Whether an item of the source and one of the destination are the same.
Comparison = Callable[[Call[Transferred], ObjectStore, Item, ObjectStore, Item], Steps[bool]]


def by_checksum(
    task: Call[Transferred], source: ObjectStore, item: Item, target: ObjectStore, other: Item
) -> Steps[bool]:
    """Whether both have one CRC32C, as the services tell it or by reading."""
    one = yield from within(task, checksum_of(source, item.key, item.size))
    return one == (yield from within(task, checksum_of(target, other.key, other.size)))


def by_metadata(
    task: Call[Transferred], source: ObjectStore, item: Item, target: ObjectStore, other: Item
) -> Steps[bool]:
    """Whether the time of the file behind both is one, or else what is told of their content."""
    one = yield from within(task, _about(source, item))
    two = yield from within(task, _about(target, other))
    if one is None and two is None:
        return False
    times = [
        item.mtime_ns if one is None else metadata_mtime(one),
        other.mtime_ns if two is None else metadata_mtime(two),
    ]
    if None not in times and len({time // 1_000_000_000 for time in times if time is not None}) == 1:
        return True
    if one is not None and two is not None:
        return _same_metadata(source, one, target, two)
    store, about, path = (source, one, other.key) if one is not None else (target, two, item.key)
    assert about is not None
    return _file_is(path, item.size, about.crc32c, _md5(store, about))


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
    md5 = _md5(source, one)
    if md5 is not None and md5 == _md5(target, two):
        return True
    return source.scheme == target.scheme == "s3" and one.etag is not None and one.etag == two.etag


def _md5(store: ObjectStore, about: ObjectMetadata) -> str | None:
    """The MD5 of an object in base64, where it is told; by S3 as its ETag."""
    if store.scheme != "s3":
        return about.md5
    from s3dlio.stores.s3.headers import md5_of

    return md5_of(about)


def _file_is(path: str, size: int, crc32c: int | None, md5: str | None) -> bool:
    """Whether a file has this content, of which one checksum is known."""
    if crc32c is None and md5 is None:
        return False
    descriptor, about = open_file(path)
    try:
        if about.st_size != size:
            return False
        if crc32c is not None:
            return file_crc(descriptor, size) == crc32c
        digest = hashlib.md5(usedforsecurity=False)
        source = FileSource(descriptor, 0, size)
        for start in range(0, size, PIECE):
            digest.update(source.read(start, PIECE))
        return base64.b64encode(digest.digest()).decode() == md5
    finally:
        os.close(descriptor)


class IfDifferent(Route):
    """Another route, but for what is the same on both sides already.

    Args:
        route: carries what differs.
        source: where objects are.
        target: where they go.
        looked_at: names to look at, and what the destination has of that name; others are carried without a look.
        alike: how to look.
    """

    def __init__(
        self, route: Route, source: ObjectStore, target: ObjectStore, looked_at: dict[str, Item], alike: Comparison
    ) -> None:
        self._route = route
        self._source = source
        self._target = target
        self._looked_at = looked_at
        self._alike = alike

    def source_uri(self, item: Item) -> str:
        return self._route.source_uri(item)

    def target_uri(self, item: Item) -> str:
        return self._route.target_uri(item)

    def task(self, item: Item) -> Call[Transferred]:
        carry = self._route.task(item)
        other = self._looked_at.pop(item.name, None)
        if other is None:
            return carry
        return Task(
            carry.store, "SYNC", item.key, lambda: self._compare(carry, item, other), size=carry.size, load=carry.load
        )

    def _compare(self, carry: Call[Transferred], item: Item, other: Item) -> Steps[Transferred]:
        if (yield from self._alike(carry, self._source, item, self._target, other)):
            return Transferred(0, same=True)
        return (yield from perform(carry))
