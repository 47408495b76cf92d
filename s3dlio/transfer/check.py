"""Whether two directories hold the same: compared name by name, by size, and by checksum. Nothing is changed.

Both sides are listed in the order of their names and merged, so memory does not grow with the number of objects.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from s3dlio.engine.admission import Admission, check_width
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.engine.executor import BaseExecutor
from s3dlio.errors import ObjectNotFoundError, TransferCancelledError
from s3dlio.records import Record
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.transfer.compare import StoredItem, file_is, md5_in
from s3dlio.transfer.merging import Directory, merge
from s3dlio.transfer.places import place_uri
from s3dlio.transfer.plan import Filter, Item, Refused
from s3dlio.transfer.source_file import read_aside
from s3dlio.transfer.task import Task, finish, perform
from s3dlio.transfer.transfer_token import LinkedToken
from s3dlio.transfer.verify import read_checksum
from s3dlio.types import ObjectMetadata
from s3dlio.uri import LOCAL_SCHEMES

if TYPE_CHECKING:
    from s3dlio.engine.session import Session

Verdict = Literal["same", "differs", "missing_in_dst", "missing_in_src", "unchecked", "failed"]


class Checked(NamedTuple):
    """One name, and what was found.

    ``differs``: the sizes or the checksums are others; ``unchecked``: the sizes are equal, but the services keep no
    checksum that both sides have; ``failed``: one side cannot be read. ``reason`` says it in words, ``src`` and ``dst``
    are the URIs, None where it is missing.
    """

    name: str
    verdict: Verdict
    reason: str
    src: str | None
    dst: str | None


class CheckSummary(Record):
    """How many names have which verdict, and all those that are not the same."""

    same: int
    differing: int
    missing_in_dst: int
    missing_in_src: int
    unchecked: int
    failed: int
    differences: tuple[Checked, ...]

    @property
    def identical(self) -> bool:
        """All that was compared is the same."""
        return not self.differences


def check(
    session: Session,
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    download: bool = False,
    one_way: bool = False,
    size_only: bool = False,
    keep: Filter | None = None,
    max_in_flight: int = 32,
    cancel: CancelToken | None = None,
    on_checked: Callable[[Checked], None] | None = None,
) -> CheckSummary:
    """Compare two directories, on any two schemes; see :func:`s3dlio.verbs.looking.check`."""
    keep = keep or Filter()
    here, there = (Directory.at(session, place_uri(place), keep, "CHECK") for place in (src, dst))
    for side in (here, there):
        side.check_exists()
    results = _Results(on_checked)
    method = None if size_only else _by_reading if download else _by_checksum
    looks = _Looks(here, there, results, method, session.executor, one_way)
    token = LinkedToken(cancel or surrounding_token())
    admission = Admission.of(session.settings.transfer, check_width(max_in_flight))
    run_calls(looks.calls(), admission=admission, on_done=looks.done, cancel=token, executor=session.executor)
    if token.by_caller:
        raise TransferCancelledError("cancelled before all was compared", operation="CHECK")
    summary = results.summary()
    if not summary.same and not summary.differences:
        raise ObjectNotFoundError("there is nothing on either side", uri=here.uri, operation="CHECK")
    return summary


class _Results:
    def __init__(self, on_checked: Callable[[Checked], None] | None) -> None:
        self._tell = on_checked or (lambda checked: None)
        self._counts: dict[Verdict, int] = {}
        self._differences: list[Checked] = []

    def add(self, checked: Checked) -> None:
        self._counts[checked.verdict] = self._counts.get(checked.verdict, 0) + 1
        if checked.verdict != "same":
            self._differences.append(checked)
        self._tell(checked)

    def summary(self) -> CheckSummary:
        count = self._counts.get
        return CheckSummary(
            count("same", 0), count("differs", 0), count("missing_in_dst", 0), count("missing_in_src", 0),
            count("unchecked", 0), count("failed", 0), tuple(sorted(self._differences)),
        )  # fmt: skip


#: Whether two objects of one size are the same; None: nobody knows.
_Method = Callable[[StoredItem, StoredItem, BaseExecutor | None], Steps[bool | None]]


class _Looks:
    """The calls that look at what has one name and one size; what needs none is judged at once."""

    def __init__(
        self, here: Directory, there: Directory, results: _Results, method: _Method | None, executor: BaseExecutor,
        one_way: bool,
    ) -> None:  # fmt: skip
        self._here = here
        self._there = there
        self._results = results
        self._method = method
        self._executor = executor
        self._one_way = one_way
        self._in_flight: dict[int, tuple[Item, Item]] = {}

    def calls(self) -> Iterator[Call[bool | None]]:
        count = 0
        for entry, other in merge(self._here, self._there):
            if isinstance(entry, Refused):
                self._results.add(Checked(entry.uri, "failed", str(entry.error), entry.uri, None))
            elif not isinstance(entry, Item):
                if entry is None and other is not None and not self._one_way:
                    self._tell(None, other, "missing_in_src", "it is missing in the source")
            elif other is None:
                self._tell(entry, None, "missing_in_dst", "it is missing in the destination")
            elif entry.size != other.size:
                self._tell(entry, other, "differs", f"{entry.size} and {other.size} bytes")
            elif self._method is None:
                self._tell(entry, other, "same", "the sizes are equal")
            else:
                self._in_flight[count] = entry, other
                count += 1
                yield self._look(entry, other, self._method)

    def _look(self, one: Item, two: Item, method: _Method) -> Call[bool | None]:
        source, target = StoredItem(self._here.store, one), StoredItem(self._there.store, two)
        store = source.store if source.store.is_cloud else target.store
        executor = self._executor if store.is_cloud else None
        return Task(store, "CHECK", (one if store is source.store else two).key,
                    lambda: method(source, target, executor))  # fmt: skip

    def done(self, index: int, same: Any, error: BaseException | None) -> None:
        one, two = self._in_flight.pop(index)
        if isinstance(error, TransferCancelledError):
            return
        if error is not None:
            self._tell(one, two, "failed", str(error))
        elif same is None:
            self._tell(one, two, "unchecked", "the sizes are equal, and no checksum is known of both")
        elif same:
            self._tell(one, two, "same", "the checksums are equal")
        else:
            self._tell(one, two, "differs", "the checksums are different")

    def _tell(self, one: Item | None, two: Item | None, verdict: Verdict, reason: str) -> None:
        src = None if one is None else self._here.store.uri(one.key)
        dst = None if two is None else self._there.store.uri(two.key)
        name = (one or two).name  # type: ignore[union-attr]  # there is one of them
        self._results.add(Checked(name, verdict, reason, src, dst))


def _by_reading(one: StoredItem, two: StoredItem, executor: BaseExecutor | None) -> Steps[bool | None]:
    """By the CRC32C of all bytes of both."""
    first = yield from _read(one, executor)
    return first == (yield from _read(two, executor))


def _read(stored: StoredItem, executor: BaseExecutor | None) -> Steps[int]:
    store, item = stored
    steps = read_checksum(store, item.key, item.size)
    if not store.is_cloud:
        return (yield from read_aside(executor, item.size, lambda: finish(steps)))
    return (yield from steps)


def _by_checksum(one: StoredItem, two: StoredItem, executor: BaseExecutor | None) -> Steps[bool | None]:
    """By what the services keep: no object is read. A local file is, for its half of the comparison."""
    if one.store.scheme in LOCAL_SCHEMES and two.store.scheme in LOCAL_SCHEMES:
        return (yield from _by_reading(one, two, executor))
    if one.store.scheme == two.store.scheme == "s3" and one.item.etag and one.item.etag == two.item.etag:
        return True
    first = yield from _kept(one)
    second = yield from _kept(two)
    if first is not None and second is not None:
        return _compared(one.store, first, two.store, second)
    (store, _), about, path = (one, first, two.item.key) if first is not None else (two, second, one.item.key)
    assert about is not None  # one of them is no file
    size, crc32c, md5 = one.item.size, about.crc32c, md5_in(store, about)
    if crc32c is None and md5 is None:
        return None
    return (yield from read_aside(executor, size, lambda: file_is(path, size, crc32c, md5)))


def _kept(stored: StoredItem) -> Steps[ObjectMetadata | None]:
    """What is kept with an object; None of a local file."""
    if stored.store.scheme in LOCAL_SCHEMES:
        return None
    about: ObjectMetadata = yield from perform(stored.store.head_call(stored.item.key))
    return about


def _compared(source: ObjectStore, one: ObjectMetadata, target: ObjectStore, two: ObjectMetadata) -> bool | None:
    if one.size != two.size:
        return False
    if one.crc32c is not None and two.crc32c is not None:
        return one.crc32c == two.crc32c
    md5s = md5_in(source, one), md5_in(target, two)
    if None not in md5s:
        return md5s[0] == md5s[1]
    return True if source.scheme == target.scheme == "s3" and one.etag and one.etag == two.etag else None
