"""What all transfers of trees take: how wide, which names, how carefully, and who observes."""

from __future__ import annotations

from collections.abc import Iterable

from s3dlio.engine.admission import check_width, several
from s3dlio.engine.cancel import CancelToken
from s3dlio.records import Record
from s3dlio.transfer.actions import Act
from s3dlio.transfer.limits import NO_LIMITS, Limits
from s3dlio.transfer.pattern_file import PatternFiles, read_patterns
from s3dlio.transfer.plan import Filter, several_patterns
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
        include_from, exclude_from: files of such globs, see :func:`s3dlio.transfer.pattern_file.read_patterns`.
        limits: of size and age.
        dry_run: transfer nothing; ``on_action`` is called with what would be.
        no_clobber: what is at its destination already is left as it is.
        verify: compare the CRC32C of what is read and what is stored.
        preserve_mtime: keep the time of files: on objects as user metadata ``mtime``.
        continue_on_error: go on after every failure. What lies in one object never stops the others.
        journal: a file that records what is done; an interrupted transfer with the same journal resumes.
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
        cancel: stops the transfer from another thread.
        options: content type, storage class and the like, for every object that is written.
        guess_content_type: files get the content type that the end of their name tells, where ``options`` has none;
            None: as the settings say.
        procs: how many processes transfer; None or 1: this one.
        on_action: is called with what a dry run would do; by a sync always, before it does it.
        on_done: is called with every object that is at its destination, one call at a time.

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
    include_from: PatternFiles = ()
    exclude_from: PatternFiles = ()
    limits: Limits = NO_LIMITS
    dry_run: bool = False
    no_clobber: bool = False
    guess_content_type: bool | None = None
    on_action: Act | None = None
    on_done: Act | None = None

    def __post_init__(self) -> None:
        check_width(self.max_in_flight)
        several(self.procs)

    def filter(self, *, with_pattern: bool = False) -> Filter:
        """Which names are wanted; the pattern is that of the selection, or else of this filter."""
        include, exclude = (
            [*several_patterns(given), *read_patterns(files)]
            for given, files in ((self.include, self.include_from), (self.exclude, self.exclude_from))
        )
        return Filter(include, exclude, self.pattern if with_pattern else None)


DEFAULTS = TransferOptions()
