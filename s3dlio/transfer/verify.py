"""Lengths and checksums of both sides of a transfer, compared."""

from __future__ import annotations

from s3dlio.errors import IntegrityError
from s3dlio.memory.crc32c import format_crc32c
from s3dlio.memory.sinks import DiscardSink
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Steps
from s3dlio.transfer.body_monitor import BodyMonitor, MonitoredSink
from s3dlio.transfer.task import perform
from s3dlio.types import Conditions, ObjectMetadata


def check_length(uri: str, expected: int, actual: int) -> None:
    """Raise unless all bytes are there.

    Raises:
        IntegrityError: they are not.
    """
    if actual != expected:
        raise IntegrityError(f"{actual} bytes arrived of an object of {expected}", uri=uri)


def described(store: ObjectStore, key: str, told: ObjectMetadata) -> Steps[ObjectMetadata]:
    """All metadata kept with an object; ``told`` is what its read returned."""
    if store.reads_return_metadata:
        return told
    return (yield from perform(store.head_call(key, conditions=Conditions(version_id=told.version_id))))


def checksum_of(store: ObjectStore, key: str, size: int, told: int | None = None) -> Steps[int]:
    """The CRC32C of an object: from the service, or by reading it.

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
    return (yield from read_checksum(store, key, size))


def read_checksum(store: ObjectStore, key: str, size: int) -> Steps[int]:
    """The CRC32C of the bytes of an object, which must be ``size``: all of them are read."""
    monitor = BodyMonitor(None, checksum=True)
    sink = MonitoredSink(DiscardSink(), monitor)
    yield from perform(store.read_call(key, sink))
    check_length(store.uri(key), size, sink.size or 0)
    crc = monitor.crc(size)
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
