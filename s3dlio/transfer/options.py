"""What all transfers of trees take: how wide, which names, how carefully, and who observes."""

from __future__ import annotations

from collections.abc import Iterable

from s3dlio.engine.admission import check_width, several
from s3dlio.engine.cancel import CancelToken
from s3dlio.records import Record
from s3dlio.transfer.plan import Filter
from s3dlio.transfer.progress import Progress
from s3dlio.types import NO_OPTIONS, PutOptions


class TransferOptions(Record):
    """How a transfer is run.

    Args:
        max_in_flight: how many objects are in flight at most.
        recursive: everything beneath a directory, and not just what is directly in it.
        create_bucket: make the destination's bucket first.
        pattern: a regular expression, found anywhere in the name.
        include, exclude: globs for names, see :class:`s3dlio.transfer.plan.Filter`.
        verify: compare the CRC32C of what is read and what is stored.
        preserve_mtime: keep the time of files: on objects as user metadata ``mtime``.
        continue_on_error: go on after every failure. What lies in one object never stops the others.
        journal: a file that records what is done; an interrupted transfer with the same journal resumes.
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
        cancel: stops the transfer from another thread.
        options: content type, storage class and the like, for every object that is written.
        procs: how many processes transfer; None or 1: this one.

    Raises:
        ConfigError: ``max_in_flight`` or ``procs`` is less than 1.
        TypeError: one of them is no integer.
    """

    max_in_flight: int = 32
    recursive: bool = False
    create_bucket: bool = False
    pattern: str | None = None
    include: Iterable[str] = ()
    exclude: Iterable[str] = ()
    verify: bool = False
    preserve_mtime: bool = False
    continue_on_error: bool = False
    journal: str | None = None
    progress: Progress | None = None
    cancel: CancelToken | None = None
    options: PutOptions = NO_OPTIONS
    procs: int | None = None

    def __post_init__(self) -> None:
        check_width(self.max_in_flight)
        several(self.procs)

    def filter(self, *, with_pattern: bool = False) -> Filter:
        """Which names are wanted; the pattern is that of the selection, or else of this filter."""
        return Filter(self.include, self.exclude, self.pattern if with_pattern else None)


DEFAULTS = TransferOptions()
