"""The work on one item as one call: files opened when it starts and closed when it ends, operations one after another.

A task is written once, as a generator (``Steps``), whichever stores it works on: operations of a cloud store yield
their requests to the lane that runs the task, operations of a blocking store just run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from s3dlio.errors import IntegrityError, S3dlioError, from_os_error
from s3dlio.memory.body import DiscardSink, source_changed
from s3dlio.memory.crc32c import format_crc32c
from s3dlio.stores.base import Call, ObjectStore, Steps
from s3dlio.transfer.body_monitor import Tape, WatchedSink
from s3dlio.transfer.select_local import file_uri, not_a_file, special_kind
from s3dlio.types import Conditions, ObjectMetadata

T = TypeVar("T")

_READ_FILE = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)  # a fifo must not hang the open


class RefusedItemError(Exception):
    """Carries the reason why one item cannot be transferred to whoever counts: the other items go on.

    Args:
        error: the reason.
    """

    leaves_as_it_is = True

    def __init__(self, error: S3dlioError) -> None:
        super().__init__(error)
        self.error = error


class Task(Call[T]):
    """A call made of other calls. Those are what observers see; the task itself is not told to them.

    Args:
        store: the store that decides where the task runs: on a lane if it is a cloud store.
        operation: the verb, for errors.
        key: the object, for errors.
        steps: the work.
        size: the bytes it will have in flight.
        load: the bytes that it will bring into a file, where they are known.
    """

    __slots__ = ()

    def __init__(
        self,
        store: ObjectStore,
        operation: str,
        key: str,
        steps: Callable[[], Steps[T]],
        size: int = 0,
        load: int = 0,
    ) -> None:
        start = steps if store.is_cloud else lambda: finish(steps())
        super().__init__(store, operation, key, start, size=size, load=load)

    def __enter__(self) -> None:
        return None


def perform(call: Call[T]) -> Steps[T]:
    """Run one call within a task."""
    if call.store.is_cloud:
        return (yield from call.steps())
    return call.run()


def finish(steps: Steps[T]) -> T:
    """The result of steps that have nothing to yield, because only blocking stores take part."""
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    steps.close()
    raise AssertionError("a cloud store's requests were given to a blocking store's task")


def within(task: Call[Any], steps: Steps[T]) -> Steps[T]:
    """Take ``steps``, which may be of other stores, where ``task`` runs: on its lane, or blocking on its thread."""
    if task.store.is_cloud:
        return (yield from steps)
    from s3dlio.net.blocking import drive

    result: T = drive(steps)
    return result


def open_file(path: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; returns the descriptor and what the file is now.

    Raises:
        RefusedItemError: it is gone, unreadable, or not a regular file.
    """
    try:
        descriptor = os.open(path, _READ_FILE)
    except OSError as error:
        raise RefusedItemError(from_os_error(error, uri=file_uri(path), operation="READ")) from error
    about = os.fstat(descriptor)
    if (kind := special_kind(about.st_mode)) is not None or stat.S_ISDIR(about.st_mode):
        os.close(descriptor)
        raise RefusedItemError(not_a_file(path, kind or "a directory"))
    return descriptor, about


class FileVersion(NamedTuple):
    """What tells one content of a path from another."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def at(cls, path: str) -> FileVersion:
        """That of a local file now.

        Raises:
            RefusedItemError: it is gone, or cannot be reached.
        """
        try:
            about = os.stat(path)
        except OSError as error:
            raise RefusedItemError(from_os_error(error, uri=file_uri(path), operation="READ")) from error
        return cls(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)

    def check(self, path: str) -> None:
        """Look again, before what was read gets its name.

        Raises:
            ObjectChangedError: the file is another, or has another content.
        """
        if FileVersion.at(path) != self:
            raise source_changed()


def check_length(uri: str, expected: int, actual: int) -> None:
    """Raise unless all bytes are there.

    Raises:
        IntegrityError: they are not.
    """
    if actual != expected:
        raise IntegrityError(f"{actual} bytes arrived of an object of {expected}", uri=uri)


def described(store: ObjectStore, key: str, told: ObjectMetadata) -> Steps[ObjectMetadata]:
    """All that is kept with an object, of which a read told ``told``."""
    if store.reads_tell_all:
        return told
    return (yield from perform(store.head_call(key, conditions=Conditions(version_id=told.version_id))))


def checksum_of(store: ObjectStore, key: str, size: int, told: int | None = None) -> Steps[int]:
    """The CRC32C of an object: as the service tells, or by reading it.

    Args:
        store: where it is.
        key: which.
        size: what it must be in bytes.
        told: the checksum, if an earlier answer told it.
    """
    if told is not None:
        return told
    metadata = yield from perform(store.head_call(key))
    check_length(store.uri(key), size, metadata.size)
    if metadata.crc32c is not None:
        return metadata.crc32c
    tape = Tape(None, checksum=True)
    sink = WatchedSink(DiscardSink(), tape)
    yield from perform(store.read_call(key, sink))
    check_length(store.uri(key), size, sink.size or 0)
    crc = tape.crc(size)
    if crc is None:
        raise IntegrityError("the object could not be read in one piece to verify it", uri=store.uri(key))
    return crc


def check_crc(uri: str, expected: int, actual: int) -> None:
    """Raise unless two checksums of one object are the same.

    Raises:
        IntegrityError: they are not.
    """
    if actual != expected:
        raise IntegrityError(
            f"the CRC32C is {format_crc32c(actual)}, but that of the source is {format_crc32c(expected)}",
            uri=uri,
            hint="transfer the object again; if it fails again, suspect the network or the memory of this machine",
        )
