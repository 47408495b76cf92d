"""The time of a file's last change: kept with its object as user metadata, and given back to a file made of that."""

from __future__ import annotations

import logging
import os
import re

from s3dlio.masking import redact
from s3dlio.transfer.plan import Item
from s3dlio.types import ObjectMetadata

log = logging.getLogger("s3dlio.transfer")

#: The user metadata that carries a file's time, in seconds with decimals; other tools write and read the same name.
MTIME = "mtime"

#: Seconds since 1970 of the years 1 to 9999; file systems refuse what is far beyond.
_TIMES = range(-62_135_596_800, 253_402_300_800)

_SECONDS = re.compile(r"(-?\d{1,15})(?:\.(\d*))?", re.ASCII)


def metadata_mtime(metadata: ObjectMetadata) -> int | None:
    """The time that an object's file had (nanoseconds since 1970), where its metadata tell one that can be."""
    told = _SECONDS.fullmatch(metadata.metadata.get(MTIME, ""))
    if told is None or int(told[1]) not in _TIMES:
        return None
    return int(told[1]) * 1_000_000_000 + int((told[2] or "")[:9].ljust(9, "0"))


def original_mtime(item: Item, metadata: ObjectMetadata) -> int | None:
    """The time that an object's file had: as its metadata tell, else its own last change."""
    if (told := metadata_mtime(metadata)) is not None:
        return told
    if MTIME in metadata.metadata:
        log.warning("the time kept with %s is none: %.40r", redact(item.key), metadata.metadata[MTIME])
    if item.mtime_ns is not None:
        return item.mtime_ns
    return Item("", "", 0, None, metadata.last_modified).mtime_ns


def set_time(file: int | str, mtime_ns: int | None, uri: str, beneath: int | None = None) -> None:
    """Give a file (one that is open, or a name in an open directory) its time, where the file system can keep it: it is
    the bytes that count."""
    if mtime_ns is None:
        return
    try:
        os.utime(file, ns=(mtime_ns, mtime_ns), dir_fd=beneath, follow_symlinks=beneath is None)
    except (OSError, OverflowError) as error:  # a time before 1980 on FAT, for example
        log.warning("the file of %s has the time of now: %s", redact(uri), error)
