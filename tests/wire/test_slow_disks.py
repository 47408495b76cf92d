"""A slow disk holds up the body that waits for it, and no other one of its event loop."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.engine import executor, write_behind
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import Executor
from s3dlio.errors import (
    LocalIOError,
    ObjectChangedError,
    PermissionDeniedError,
    StorageFullError,
    TransferCancelledError,
    TransferTimeoutError,
)
from s3dlio.memory import file_reads
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.sources import FileSource
from s3dlio.net.message import Pause
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.local.atomic import is_unfinished
from s3dlio.stores.local.file import FileStore
from s3dlio.stores.s3 import S3Store
from s3dlio.transfer import destination_directory, task
from s3dlio.transfer.destination_directory import DestinationDirectory
from s3dlio.transfer.file_routes import FileToStore, StoreToFile
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import RouteOptions
from s3dlio.transfer.task import Task, perform
from s3dlio.types import PutOptions
from tests.leases import assert_returned
from tests.servers.memory_s3 import MemoryS3
from tests.servers.scripted import Expect, ScriptedServer, Send
from tests.wire.s3_harness import error, store_of

MIB = 1 << 20
PATIENCE = 10


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryS3]:
    with MemoryS3() as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(file_reads, "_slow", {})
    before = default_pool().stats().leased
    yield
    assert_returned(before)


class Disk:
    """What is read of one file comes when ``ready`` is set; its file system tells that (``tells``), or does not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, *, tells: bool = True) -> None:
        self.ready, self.asked, self.fails = threading.Event(), threading.Event(), False
        self._inode, self._tells, self._there = path.stat().st_ino, tells, set[int]()
        self._pread, self._preadv = file_reads.pread_full, file_reads.preadv
        monkeypatch.setattr(file_reads, "pread_full", self.pread)
        monkeypatch.setattr(file_reads, "preadv", self.preadv)

    def preadv(self, fd: int, view: memoryview, position: int) -> int:
        if not self._tells:
            raise OSError(errno.EOPNOTSUPP, "does not tell")
        if os.fstat(fd).st_ino == self._inode:
            raise BlockingIOError
        return self._preadv(fd, view, position)

    def pread(self, fd: int, view: memoryview, position: int) -> int:
        if os.fstat(fd).st_ino == self._inode:
            on_lane = threading.current_thread() is threading.main_thread()
            assert self.ready.is_set() or not on_lane, "the event loop waits for the disk"
            self.asked.set()
            assert self.ready.wait(PATIENCE)
            if self.fails:
                raise OSError(errno.EIO, "broken")
        return self._pread(fd, view, position)


class Outcomes:
    """Results by number; ``then`` is called with each that has come."""

    def __init__(self, then: Callable[[int], object] = lambda index: None) -> None:
        self.found: dict[int, Any] = {}
        self._then = then

    def __call__(self, index: int, result: Any, error: BaseException | None) -> None:
        self.found[index] = result if error is None else error
        self._then(index)


def run(calls: list[Call[Any]], done: Outcomes, cancel: CancelToken | None = None) -> dict[int, Any]:
    threads = Executor(2)
    try:
        run_calls(calls, admission=Admission(4), on_done=done, cancel=cancel or CancelToken(), executor=threads)
    finally:
        threads.shutdown()
    return done.found


def file_of(path: Path, size: int) -> Item:
    path.write_bytes(os.urandom(MIB) * (size // MIB) + os.urandom(size % MIB))
    return Item(path.name, str(path), size)


def uploads(store: S3Store, items: list[Item], how: RouteOptions | None = None) -> list[Call[Any]]:
    route = FileToStore(FileStore(), store, "p/", how or RouteOptions())
    return [route.task(item) for item in items]


KINDS = {
    "small": (100_000, {}),
    "one request": (5 * MIB + 7, {}),
    "hashed first": (3 * MIB + 7, {"s3": {"request_checksum_calculation": "when_supported"}}),
    "signed": (3 * MIB + 7, {"s3": {"payload_signing": True}}),
    "parts": (20 * MIB + 7, {"multipart": {"threshold": 8 * MIB, "part_size": 5 * MIB}}),
    "hashed parts": (
        20 * MIB + 7,
        {"multipart": {"threshold": 8 * MIB}, "s3": {"request_checksum_calculation": "when_supported"}},
    ),
}


@pytest.mark.parametrize(
    ("size", "sections", "tells"),
    [*((*kind, True) for kind in KINDS.values()), (100_000, {}, False), (5 * MIB + 7, {}, False)],
    ids=[*KINDS, "does not tell", "large, does not tell"],
)
def test_others_are_uploaded_while_one_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3, size: int, sections: Any, tells: bool
) -> None:
    store = store_of(server.env["AWS_ENDPOINT_URL"], **sections)
    slow, quick = file_of(tmp_path / "slow", size), file_of(tmp_path / "quick", 50_000)
    disk = Disk(monkeypatch, tmp_path / "slow", tells=tells)
    counted: list[int] = []
    how = RouteOptions(meter=counted.append)
    done = Outcomes(lambda index: disk.ready.set() if index == 1 else None)
    found = run(uploads(store, [slow, quick], how), done)
    assert [found[0].bytes, found[1].bytes] == [size, 50_000]
    for item in (slow, quick):
        assert store.get(f"p/{item.name}") == Path(item.key).read_bytes()
    assert sum(counted) == size + 50_000


def test_what_is_in_memory_takes_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3) -> None:
    item = file_of(tmp_path / "file", 3 * MIB)
    monkeypatch.setattr(file_reads, "preadv", lambda fd, view, position: os.preadv(fd, (view,), position))
    monkeypatch.setattr(file_reads, "read_aside", None)
    store = store_of(server.env["AWS_ENDPOINT_URL"])
    assert run(uploads(store, [item]), Outcomes())[0].bytes == 3 * MIB


def test_a_disk_that_does_not_tell_is_read_in_place_while_it_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    clock = iter([0.0, 0.001, 1.0, 1.001, 2.0, 2.5, 3.0, 3.001])
    monkeypatch.setattr(file_reads.time, "perf_counter", lambda: next(clock))

    def untold(fd: int, view: memoryview, position: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "does not tell")

    monkeypatch.setattr(file_reads, "preadv", untold)
    with path.open("rb") as file:
        fd, view = file.fileno(), memoryview(bytearray(10))
        assert file_reads.read_present(fd, view, 0, 7) is None  # nobody knows
        assert file_reads.read_aside(fd, view, 0, 7, 0) == 10
        assert file_reads.read_present(fd, view, 0, 7) == 10
        assert file_reads.read_present(fd, view, 0, 7) == 10  # and that took long
        assert file_reads.read_present(fd, view, 0, 7) is None
        assert file_reads.read_aside(fd, view, 0, 7, 0) == 10
        monkeypatch.undo()
        assert file_reads.read_present(fd, view, 0, 8) == 10 or file_reads._slow[8]


@pytest.mark.parametrize(("size", "sections"), KINDS.values(), ids=KINDS.keys())
def test_a_disk_that_fails_is_no_fault_of_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3, size: int, sections: Any
) -> None:
    store, item = store_of(server.env["AWS_ENDPOINT_URL"], **sections), file_of(tmp_path / "slow", size)
    disk = Disk(monkeypatch, tmp_path / "slow")
    disk.fails = True
    disk.ready.set()
    failed = run(uploads(store, [item]), Outcomes())[0]
    assert isinstance(failed, LocalIOError)
    assert failed.uri == f"file://{tmp_path}/slow"
    assert failed.attempts <= 1


def test_a_file_that_changes_while_it_is_waited_for_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3
) -> None:
    store, item = store_of(server.env["AWS_ENDPOINT_URL"]), file_of(tmp_path / "slow", 2 * MIB)
    disk = Disk(monkeypatch, tmp_path / "slow")

    def change() -> None:
        disk.asked.wait(PATIENCE)
        os.utime(tmp_path / "slow", ns=(1, 1))
        disk.ready.set()

    changer = threading.Thread(target=change)
    changer.start()
    assert isinstance(run(uploads(store, [item]), Outcomes())[0], ObjectChangedError)
    changer.join()


def test_a_refusal_is_heard_while_the_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = file_of(tmp_path / "slow", 3 * MIB)
    disk = Disk(monkeypatch, tmp_path / "slow")
    plain, calls = disk.preadv, []

    def first_is_there(fd: int, view: memoryview, position: int) -> int:
        calls.append(position)
        return disk._preadv(fd, view, position) if position == 0 else plain(fd, view, position)

    monkeypatch.setattr(file_reads, "preadv", first_is_there)
    refusal = error("403 Forbidden", "AccessDenied")
    go_on = Send(b"HTTP/1.1 100 Continue\r\n\r\n")
    with ScriptedServer([[Expect(body=False), go_on, refusal]]) as scripted:
        done = Outcomes(lambda index: disk.ready.set())
        failed = run(uploads(store_of(scripted.endpoint), [item]), done)[0]
    assert isinstance(failed, PermissionDeniedError)
    assert not calls or calls[0] == 0


def _asked_then(disk: Disk | HeldCall, act: Callable[[], object]) -> threading.Thread:
    def watch() -> None:
        assert disk.asked.wait(PATIENCE)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize(("size", "sections"), KINDS.values(), ids=KINDS.keys())
def test_a_cancelled_upload_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3, size: int, sections: Any
) -> None:
    store, item = store_of(server.env["AWS_ENDPOINT_URL"], **sections), file_of(tmp_path / "slow", size)
    disk, cancel = Disk(monkeypatch, tmp_path / "slow"), CancelToken()
    thread = _asked_then(disk, lambda: cancel.cancel("enough"))
    try:
        found = run(uploads(store, [item]), Outcomes(), cancel)
    finally:
        disk.ready.set()
    thread.join()
    assert isinstance(found[0], TransferCancelledError)


def test_the_time_of_an_operation_ends_while_it_waits_for_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3
) -> None:
    store = store_of(server.env["AWS_ENDPOINT_URL"], http={"operation_timeout": 0.2})
    item = file_of(tmp_path / "slow", 2 * MIB)
    disk = Disk(monkeypatch, tmp_path / "slow")
    try:
        assert isinstance(run(uploads(store, [item]), Outcomes())[0], TransferTimeoutError)
    finally:
        disk.ready.set()


def test_a_blocking_call_waits_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3) -> None:
    def absent(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(file_reads, "preadv", absent)
    item = file_of(tmp_path / "file", 3 * MIB)
    for checksums in ("when_required", "when_supported"):
        store = store_of(server.env["AWS_ENDPOINT_URL"], s3={"request_checksum_calculation": checksums})
        with open(item.key, "rb") as file:
            store.execute(store.write_call("b", FileSource(file.fileno())))
        assert store.get("b") == Path(item.key).read_bytes()


# -- downloads


@pytest.fixture
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_behind, "usable_cpus", lambda: 2)


@pytest.mark.usefixtures("two_cpus")
@pytest.mark.parametrize("fails", [False, True])
def test_others_are_read_while_a_disk_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3, fails: bool
) -> None:
    store, data = store_of(server.env["AWS_ENDPOINT_URL"]), os.urandom(MIB) * 32
    store.put("large", data)
    store.put("other", b"other")
    plain, ready = write_behind.pwrite_full, threading.Event()
    full = threading.Event()

    def slow(fd: int, piece: memoryview, position: int) -> int:
        assert threading.current_thread() is not threading.main_thread(), "the event loop waits for the disk"
        assert ready.wait(PATIENCE)
        if fails:
            raise OSError(errno.ENOSPC, "full")
        return plain(fd, piece, position)

    monkeypatch.setattr(write_behind, "pwrite_full", slow)
    waits = write_behind.WriteBehind.await_room

    def await_room(self: write_behind.WriteBehind, then: Any) -> None:
        waits(self, then)
        full.set()

    monkeypatch.setattr(write_behind.WriteBehind, "await_room", await_room)
    sink = MemorySink()

    def other() -> Steps[Any]:
        while not full.is_set():
            yield Pause(0.001)
        return (yield from perform(store.read_call("other", sink)))

    done = Outcomes(lambda index: ready.set() if index == 1 else None)
    with DestinationDirectory(str(tmp_path / "down")) as directory:
        download = StoreToFile(store, directory, RouteOptions()).task(Item("large", "large", len(data)))
        run([download, Task(store, "GET", "other", other)], done)
    assert sink.view() == b"other"
    if fails:
        assert isinstance(done.found[0], StorageFullError)
        assert list((tmp_path / "down").iterdir()) == []
    else:
        assert (tmp_path / "down" / "large").read_bytes() == data


@pytest.mark.usefixtures("two_cpus")
def test_small_files_are_left_to_the_writers_of_a_slow_disk(tmp_path: Path) -> None:
    behind, path = write_behind.WriteBehind(), tmp_path / "file"
    behind.slow = True
    scratch = bytearray(b"hello")
    with path.open("wb") as file, behind.sink(file.fileno(), str(path)) as sink:
        sink.begin(5)
        sink.whole(memoryview(scratch))
        scratch[:] = b"other"
        sink.end(5)
    assert path.read_bytes() == b"hello"
    assert [thread.name for thread in behind._threads] == ["s3dlio-writer"]
    behind.close()


# -- files that are opened, and that get their names


class HeldCall:
    """The first call of one function of ``os`` (``which``) that ``picked`` picks waits till ``ready`` is set."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, which: str, picked: Callable[..., bool], where: Any = os
    ) -> None:
        self.ready, self.asked = threading.Event(), threading.Event()
        self._plain, self._picked, self._first = getattr(where, which), picked, [None]
        monkeypatch.setattr(where, which, self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._first and self._picked(*arguments):
            self._first.clear()
            assert threading.current_thread() is not threading.main_thread(), "the event loop waits for the disk"
            self.asked.set()
            assert self.ready.wait(PATIENCE)
        return self._plain(*arguments, **named)


def _is_new(path: Any, flags: int, *_: Any) -> bool:
    aside = threading.current_thread() is not threading.main_thread()  # the small one is opened in between
    return aside and is_unfinished(os.fspath(path)) and bool(flags & os.O_CREAT)


CALLS: dict[str, tuple[Callable[..., bool], Any]] = {
    "open": (_is_new, os),
    "rename": (lambda old, new: new == "large", os),
    "fsync": (lambda fd: os.fstat(fd).st_size > MIB, os),
    "allocate": (lambda fd, size: True, destination_directory),
}


@pytest.fixture
def stored(server: MemoryS3) -> tuple[S3Store, bytes]:
    """A store with a small object and a large one, and the bytes of that."""
    store, data = store_of(server.env["AWS_ENDPOINT_URL"]), os.urandom(MIB) * 17
    store.put("large", data)
    store.put("small", b"small")
    return store, data


def downloads(store: S3Store, directory: DestinationDirectory, how: RouteOptions, size: int) -> list[Call[Any]]:
    route = StoreToFile(store, directory, how)
    return [route.task(Item("large", "large", size)), route.task(Item("small", "small", 5))]


@pytest.mark.parametrize("which", CALLS)
def test_others_are_downloaded_while_a_large_file_waits_for_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[S3Store, bytes], which: str
) -> None:
    (store, data), (picked, where) = stored, CALLS[which]
    how = RouteOptions(options=PutOptions(durable=which == "fsync"))
    with DestinationDirectory(str(tmp_path / "down")) as directory:
        held = HeldCall(monkeypatch, which, picked, where)
        done = Outcomes(lambda index: held.ready.set() if index == 1 else None)
        found = run(downloads(store, directory, how, len(data)), done)
    assert [found[0].bytes, found[1].bytes] == [len(data), 5]
    assert held.asked.is_set()
    assert (tmp_path / "down" / "large").read_bytes() == data
    assert (tmp_path / "down" / "small").read_bytes() == b"small"
    assert len(list((tmp_path / "down").iterdir())) == 2


def test_others_are_uploaded_while_a_large_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MemoryS3
) -> None:
    store = store_of(server.env["AWS_ENDPOINT_URL"])
    large, small = file_of(tmp_path / "large", 17 * MIB), file_of(tmp_path / "small", 5)
    held = HeldCall(monkeypatch, "open", lambda path, *_: path == large.key)
    done = Outcomes(lambda index: held.ready.set() if index == 1 else None)
    found = run(uploads(store, [large, small]), done)
    assert held.asked.is_set()
    assert [found[0].bytes, found[1].bytes] == [17 * MIB, 5]


@pytest.mark.parametrize("which", CALLS)
def test_a_refusal_of_the_file_system_fails_its_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[S3Store, bytes], which: str
) -> None:
    (store, data), (picked, where) = stored, CALLS[which]
    how = RouteOptions(options=PutOptions(durable=which == "fsync"))
    plain, first = getattr(where, which), [None]

    def full(*arguments: Any, **named: Any) -> Any:
        if first and picked(*arguments):
            first.clear()
            raise OSError(errno.ENOSPC, "full")
        return plain(*arguments, **named)

    with DestinationDirectory(str(tmp_path / "down")) as directory:
        monkeypatch.setattr(where, which, full)
        found = run(downloads(store, directory, how, len(data))[:1], Outcomes())
    assert _open_beneath(tmp_path) == []
    assert isinstance(found[0], StorageFullError)
    assert found[0].uri == "s3://b/large"
    assert list((tmp_path / "down").iterdir()) == []


def _open_beneath(folder: Path) -> list[str]:
    """Files and directories there that this process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the list itself
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            found += [path] if path.startswith(str(folder)) else []
    return found


def _settled(ready: threading.Event) -> None:
    """Wait for all that other threads do for disks."""
    ready.set()
    gate = threading.Barrier(executor.reads.__self__.threads)  # type: ignore[attr-defined]
    for each in [executor.reads(gate.wait) for _ in range(gate.parties)]:
        each.result(PATIENCE)


@pytest.mark.parametrize("closed", [False, True], ids=["", "closed directory"])
def test_a_download_that_is_given_up_while_its_file_is_opened_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[S3Store, bytes], closed: bool
) -> None:
    """However late the disk answers: when the destination is closed, too."""
    (store, data), cancel = stored, CancelToken()
    monkeypatch.setattr(task, "_LEAVE_SECONDS", 0)
    with DestinationDirectory(str(tmp_path / "down")) as directory:
        held = HeldCall(monkeypatch, "open", _is_new)
        thread = _asked_then(held, lambda: cancel.cancel("enough"))
        found = run(downloads(store, directory, RouteOptions(), len(data))[:1], Outcomes(), cancel)
        if not closed:
            _settled(held.ready)
    _settled(held.ready)
    thread.join()
    assert isinstance(found[0], TransferCancelledError)
    assert list((tmp_path / "down").iterdir()) == []
    assert _open_beneath(tmp_path) == []


@pytest.mark.parametrize("answers", [False, True], ids=["hung", "in time"])
def test_a_download_that_is_given_up_while_its_file_gets_its_name_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[S3Store, bytes], answers: bool
) -> None:
    """It is told as done if it has got it in time."""
    (store, data), cancel = stored, CancelToken()
    monkeypatch.setattr(task, "_LEAVE_SECONDS", PATIENCE if answers else 0)
    with DestinationDirectory(str(tmp_path / "down")) as directory:
        held = HeldCall(monkeypatch, "rename", *CALLS["rename"])
        plain_wait = task.wait

        def waits(futures: Any, timeout: float) -> Any:
            if answers:
                held.ready.set()
            return plain_wait(futures, timeout)

        monkeypatch.setattr(task, "wait", waits)
        thread = _asked_then(held, lambda: cancel.cancel("enough"))
        found = run(downloads(store, directory, RouteOptions(), len(data))[:1], Outcomes(), cancel)
    _settled(held.ready)
    thread.join()
    assert found[0].bytes == len(data) if answers else isinstance(found[0], TransferCancelledError)
    assert (tmp_path / "down" / "large").read_bytes() == data
    assert len(list((tmp_path / "down").iterdir())) == 1
