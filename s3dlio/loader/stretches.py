"""Many stretches of objects at once, with errors one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from s3dlio.engine.session import Session
from s3dlio.errors import OutOfMemoryError, S3dlioError
from s3dlio.memory.caller_buffer import without_frames
from s3dlio.memory.pool import default_pool
from s3dlio.memory.view import BytesView
from s3dlio.transfer.range_reads import RangeRead, read_ranges
from s3dlio.types import NO_CONDITIONS, Conditions

#: (URI, offset, length).
Stretch = tuple[str, int, int]
Found = BytesView | BaseException
#: The versions that are meant, by URI.
Pins = Mapping[str, Conditions]
NO_PINS: Pins = {}


def read_stretches(
    session: Session, stretches: Sequence[Stretch], width: int, pins: Pins = NO_PINS
) -> dict[Any, Found]:
    """The bytes of each of these stretches, which differ, or the error in their place; ``pins``: of these versions."""
    found: dict[Any, Found] = {}
    reads: list[RangeRead] = []
    entry_of: dict[RangeRead, Stretch] = {}
    for entry in stretches:
        uri, offset, length = entry
        try:
            place = default_pool().lease(length)
        except (MemoryError, S3dlioError) as error:
            out = OutOfMemoryError(f"there is no memory for {length} bytes", uri=uri, operation="GET_RANGE")
            out.__cause__ = error
            found[entry] = without_frames(out)
            continue
        store, key = session.store_for(uri)
        read = RangeRead(store, key, offset, length, place=place, conditions=pins.get(uri, NO_CONDITIONS))
        reads.append(read)
        entry_of[read] = entry
        found[entry] = BytesView(place)
        del place

    def failed(read: RangeRead, error: BaseException) -> None:
        found[entry_of[read]] = without_frames(error)

    read_ranges(session, reads, width, failed)
    return found
