"""What is particular to file://: paths, modes, links, special files, changes while reading, atomic writes."""

from __future__ import annotations

import errno
import gc
import os
import random
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3dlio import errors
from s3dlio.config.sections import FileSettings
from s3dlio.memory.pool import SMALL
from s3dlio.memory.sources import Source
from s3dlio.stores.local import atomic as replacement
from s3dlio.stores.local import direct as direct_module
from s3dlio.stores.local import file as file_module
from s3dlio.stores.local.direct import DirectStore
from s3dlio.stores.local.file import FileStore
from s3dlio.types import Conditions, PutOptions
from tests.sinks import WriterSink

MIB = 1 << 20
KINDS = [FileStore, DirectStore]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no file system here that takes no directories")
@pytest.mark.parametrize("key", ["/proc/s3dlio-new", "/proc/s3dlio-new/deeper/object"])
def test_a_file_system_that_takes_no_directories_is_an_error(key: str) -> None:
    for work in (lambda: FileStore().put(key, b"x"), lambda: FileStore().mkdir(key)):
        with pytest.raises(errors.S3dlioError):
            work()


@pytest.fixture(params=KINDS, ids=["file", "direct"])
def store(request: pytest.FixtureRequest) -> FileStore:
    made: FileStore = request.param()
    return made


def names(store: FileStore, prefix: str, *, recursive: bool = True) -> list[str]:
    pages = store.list(prefix, recursive=recursive)
    return [name.removeprefix(prefix) for page in pages for name in [*page.keys, *page.prefixes]]


# -- paths


def test_the_uri_is_root_and_path(tmp_path: Path) -> None:
    assert FileStore().uri("/a//b") == "file:///a//b"
    assert DirectStore().uri("a/b") == "direct://a/b"


def test_relative_paths(tmp_path: Path, store: FileStore) -> None:
    os.chdir(tmp_path)
    store.put("plain", b"1")
    store.put("new/folder/inner", b"2")
    assert store.get("plain") == b"1"
    assert names(store, "") == ["new/folder/inner", "plain"]
    assert names(store, "new/") == ["folder/inner"]
    assert store.get("new/../plain") == b"1"
    with pytest.raises(errors.IsDirectoryError):
        store.put("..", b"3")


def test_names_that_are_not_utf8(tmp_path: Path, store: FileStore) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.bin"
    Path(os.fsdecode(raw)).write_bytes(b"data")
    (key,) = (key for page in store.list(f"{tmp_path}/") for key in page.keys)
    assert os.fsencode(key) == raw
    assert store.get(key) == b"data"
    store.put(key, b"new")
    assert Path(os.fsdecode(raw)).read_bytes() == b"new"


@pytest.mark.parametrize("key", ["a\0b", "lone \ud800 surrogate"])
def test_what_cannot_be_a_path(store: FileStore, key: str) -> None:
    for act in (store.get, store.head, store.delete, store.mkdir, store.rmdir, lambda key: store.put(key, b"x")):
        with pytest.raises(errors.InvalidURIError):
            act(key)


def test_a_name_that_is_too_long(tmp_path: Path, store: FileStore) -> None:
    with pytest.raises(errors.LocalIOError) as caught:
        store.put(f"{tmp_path}/{'n' * 300}", b"x")
    assert caught.value.errno == errno.ENAMETOOLONG
    assert os.listdir(tmp_path) == []


def test_head_is_what_the_reference_says(tmp_path: Path, store: FileStore) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    about = store.head(str(path)).as_dict()
    assert about["etag"] == "file-5-1700000000"
    assert about["last_modified"] == "2023-11-14T22:13:20.123456789Z"
    assert about["storage_class"] == ("DIRECT_IO" if isinstance(store, DirectStore) else "STANDARD")
    assert about["content_type"] is None


# -- special files


def test_files_without_a_size(store: FileStore) -> None:
    assert store.get("/proc/self/status")[:5] == b"Name:"
    assert store.get_range("/proc/self/status", 2, 3) == b"me:"
    assert store.get_range("/proc/self/status", 10_000_000, 3) == b""
    sysfs = "/sys/kernel/mm/transparent_hugepage/enabled"  # tells 4096 bytes, has fewer
    if os.path.exists(sysfs):
        assert store.get(sysfs) == Path(sysfs).read_bytes()


def test_what_is_no_file_is_refused_and_left_alone(tmp_path: Path, store: FileStore) -> None:
    fifo, sock, null = str(tmp_path / "fifo"), str(tmp_path / "socket"), "/dev/null"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(sock)
        for path in (fifo, null, sock):
            kind = stat.S_IFMT(os.stat(path).st_mode)
            for act in (store.head, lambda path: store.put(path, b"x"), lambda path: store.writer(path)):
                with pytest.raises(errors.UnsupportedOperationError, match="not a regular file"):
                    act(path)
            with pytest.raises(errors.S3dlioError):  # a socket cannot even be opened
                store.get(path)
            assert stat.S_IFMT(os.stat(path).st_mode) == kind
    assert names(store, f"{tmp_path}/") == []


# -- links and modes


def test_writing_through_a_link(tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real/target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to("real/target")
    store.put(f"{tmp_path}/link", b"new")
    assert target.read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "dangling").symlink_to("real/made")
    store.put(f"{tmp_path}/dangling", b"made")
    assert (tmp_path / "real/made").read_bytes() == b"made"
    assert sorted(os.listdir(tmp_path / "real")) == ["made", "target"]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(errors.LocalIOError) as caught:
        store.put(f"{tmp_path}/loop", b"x")
    assert caught.value.errno == errno.ELOOP


def test_a_deleted_link_leaves_its_target(tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("folder")
    store.delete(f"{tmp_path}/link")
    assert names(store, f"{tmp_path}/") == ["folder/file"]


def test_modes(tmp_path: Path, store: FileStore) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        store.put(str(path), b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        for mode in (0o600, 0o755, 0o666):
            path.chmod(mode)
            store.put(str(path), b"2")
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays(tmp_path: Path, store: FileStore) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    os.chown(path, 65534, 65534)
    store.put(str(path), b"2")
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


# -- a file that changes while it is read


def read_while(store: FileStore, path: Path, change: Callable[[], object]) -> bytes:
    """Read ``path`` into a function that makes the change when the first bytes arrive."""
    seen = bytearray()
    done = False

    def take(data: memoryview) -> None:
        nonlocal done
        seen.extend(data)
        if not done:
            done = True
            change()

    store.execute(store.read_call(str(path), WriterSink(take)))
    return bytes(seen)


def test_a_file_that_shrinks_is_no_object(tmp_path: Path, store: FileStore) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 20 * MIB)
    with pytest.raises(errors.ObjectChangedError):
        read_while(store, path, lambda: os.truncate(path, MIB))


def test_a_file_that_is_overwritten_is_no_object(tmp_path: Path, store: FileStore) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 20 * MIB)
    with pytest.raises(errors.ObjectChangedError), path.open("r+b") as other:
        read_while(store, path, lambda: (other.write(b"y" * 100), other.flush()))


def test_a_file_that_grows_is_what_was_there(tmp_path: Path, store: FileStore) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 20 * MIB)
    with path.open("ab") as other:
        seen = read_while(store, path, lambda: (other.write(b"y" * 100), other.flush()))
    assert seen == b"x" * 20 * MIB


def test_a_file_that_is_replaced_is_the_one_that_was_opened(tmp_path: Path, store: FileStore) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 20 * MIB)
    assert read_while(store, path, lambda: store.put(str(path), b"y" * 20 * MIB)) == b"x" * 20 * MIB


def shrinking_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of 100 bytes, which is truncated to 10 once its size has been asked for."""
    path.write_bytes(b"x" * 100)
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        found = real(fd)
        os.truncate(path, 10)
        return found

    monkeypatch.setattr(file_module.os, "fstat", fstat)
    return path


def test_a_small_file_that_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shrinking_file(tmp_path / "file", monkeypatch)
    with pytest.raises(errors.ObjectChangedError):
        FileStore().get_range(str(path), 0, 50)


def test_a_small_file_that_shrinks_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way of small files gives up, and the ordinary one finds the file as it is now."""
    path = shrinking_file(tmp_path / "file", monkeypatch)
    assert FileStore().get(str(path)) == b"x" * 10


# -- atomic writes


class FailingSource(Source):
    """Gives some bytes, then fails."""

    def __init__(self, error: BaseException) -> None:
        self.size = 20 * MIB
        self._error = error

    def read(self, start: int, length: int) -> memoryview:
        if start >= 8 * MIB:
            raise self._error
        return memoryview(bytes(length))

    def part(self, start: int, length: int) -> Source:
        return self


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "full"), errors.StorageFullError),
        (OSError(errno.EIO, "broken"), errors.LocalIOError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ],
)
def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, store: FileStore, error: BaseException, expected: type[BaseException], before: bytes | None
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(expected) as caught:
        store.execute(store.write_call(str(path), FailingSource(error)))
    if isinstance(caught.value, errors.S3dlioError):
        assert caught.value.uri == store.uri(str(path))
        assert caught.value.operation == "PUT"
    assert os.listdir(tmp_path) == ([] if before is None else ["file"])
    if before is not None:
        assert path.read_bytes() == before


@pytest.mark.parametrize("step", ["fsync", "fstat", "close", "rename", "link", "fchmod"])
def test_a_write_that_fails_at_its_end_leaves_nothing(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    create_only = step == "link"
    if not create_only:
        path.write_bytes(b"old")
    real = getattr(os, step)

    def fail(*args: object, **kwargs: object) -> None:
        if step == "close":
            real(*args)
        raise OSError(errno.EIO, "broken")

    condition = Conditions(if_none_match="*" if create_only else None)
    options = PutOptions(durable=True, conditions=condition)
    with monkeypatch.context() as patch:
        patch.setattr(replacement.os, step, fail)
        with pytest.raises(errors.LocalIOError):
            store.put(str(path), b"new", options=options)
    assert os.listdir(tmp_path) == ([] if create_only else ["file"])
    if not create_only:
        assert path.read_bytes() == b"old"


def test_a_partial_file_that_cannot_be_removed_is_logged(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object, **more: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(replacement.os, "unlink", fail)
    with pytest.raises(KeyboardInterrupt):
        store.execute(store.write_call(f"{tmp_path}/file", FailingSource(KeyboardInterrupt())))
    assert "could not remove the unfinished file" in caplog.text
    assert names(store, f"{tmp_path}/") == []


def test_durable_means_fsync_of_file_and_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: FileStore
) -> None:
    synced: list[bool] = []
    real = os.fsync
    monkeypatch.setattr(
        replacement.os, "fsync", lambda fd: (synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)), real(fd))
    )
    store.put(f"{tmp_path}/a", b"x")
    assert synced == []
    store.put(f"{tmp_path}/a", b"x", options=PutOptions(durable=True))
    assert synced == [False, True]
    type(store)(settings=FileSettings(durable=True)).put(f"{tmp_path}/b", b"x")
    assert synced == [False, True] * 2
    with store.writer(f"{tmp_path}/c", options=PutOptions(durable=True)) as writer:
        writer.write(b"x")
    assert synced == [False, True] * 3
    store.put(f"{tmp_path}/new/and/newer/d", b"x", options=PutOptions(durable=True))
    assert synced[6:] == [False, True, True, True, True]  # and the names of the three new directories


def test_the_disk_begins_while_a_durable_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: FileStore
) -> None:
    begun: list[tuple[int, int]] = []
    monkeypatch.setattr(file_module, "_WRITE_BACK", 1000)
    monkeypatch.setattr(file_module, "start_write_back", lambda fd, start, length: begun.append((start, length)))
    data = random.Random(6).randbytes(2 * MIB)
    for durable in (False, True):
        options = PutOptions(durable=durable)
        with FileStore().writer(f"{tmp_path}/a", options=options, part_size=300) as writer:
            for start in range(0, 5200, 400):
                writer.write(data[start : start + 400])
        FileStore().put(f"{tmp_path}/b", data, options=options)
        assert begun == [(start, 1000) for size in (5200, 2 * MIB) for start in range(0, size - 999, 1000)] * durable
        assert store.get(f"{tmp_path}/a") == data[:5200]
        assert store.get(f"{tmp_path}/b") == data


def test_a_direct_writer_ends_on_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    real = os.fsync
    monkeypatch.setattr(
        replacement.os, "fsync", lambda fd: (synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)), real(fd))
    )
    with DirectStore().writer(f"{tmp_path}/a") as writer:
        writer.write(b"x" * 10_001)
    assert synced == [False, True]
    assert os.stat(tmp_path / "a").st_size == 10_001


def test_a_forgotten_writer_leaves_nothing(tmp_path: Path, store: FileStore) -> None:
    writer = store.writer(f"{tmp_path}/file")
    writer.write(b"x" * MIB)
    assert len(os.listdir(tmp_path)) == 1
    gc.disable()
    try:
        del writer
        assert os.listdir(tmp_path) == []
    finally:
        gc.enable()


def test_a_writer_aborted_within_a_write_writes_to_no_other_file(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a signal handler, which then opens a file of its own: that must not get the descriptor."""
    module = direct_module if isinstance(store, DirectStore) else file_module
    writer = store.writer(f"{tmp_path}/file")
    write = module.pwrite_full

    def interrupted(fd: int, *args: Any, **options: Any) -> int:
        monkeypatch.setattr(module, "pwrite_full", write)
        writer.abort()
        with open(tmp_path / "other", "wb") as other:
            assert other.fileno() != fd
        return write(fd, *args, **options)

    monkeypatch.setattr(module, "pwrite_full", interrupted)
    with pytest.raises(errors.TransferCancelledError, match="file: the write was aborted"):
        writer.write(b"x" * 40 * MIB)
    assert os.listdir(tmp_path) == ["other"]
    with pytest.raises(errors.S3dlioError, match="closed"):
        writer.close()


def test_a_forked_child_leaves_the_parents_writer_alone(tmp_path: Path, store: FileStore) -> None:
    writer = store.writer(f"{tmp_path}/file")
    writer.write(b"x" * 3 * MIB)
    child = os.fork()
    if not child:
        writer.abort()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    writer.close()
    assert store.get(f"{tmp_path}/file") == b"x" * 3 * MIB


def test_a_writer_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(file_module, "pwrite_full", fail)
    writer = FileStore().writer(f"{tmp_path}/file", part_size=1000)
    writer.write(b"x" * 900)
    with pytest.raises(errors.StorageFullError) as caught:
        writer.write(b"x" * 900)
    assert caught.value.uri == f"file://{tmp_path}/file"
    with pytest.raises(errors.S3dlioError, match="closed"):
        writer.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "options",
    [
        PutOptions(content_type="text/plain"),
        PutOptions(metadata={"a": "b"}),
        PutOptions(tags={"a": "b"}),
        PutOptions(storage_class="GLACIER"),
        PutOptions(sse_customer_key=bytes(32)),
        PutOptions(conditions=Conditions(if_match="x")),
        PutOptions(conditions=Conditions(if_none_match="x")),
        PutOptions(conditions=Conditions(generation=0)),
    ],
)
def test_what_a_file_cannot_keep_is_refused(tmp_path: Path, store: FileStore, options: PutOptions) -> None:
    with pytest.raises(errors.UnsupportedOperationError):
        store.put(f"{tmp_path}/file", b"x", options=options)
    with pytest.raises(errors.UnsupportedOperationError):
        store.writer(f"{tmp_path}/file", options=options)
    assert os.listdir(tmp_path) == []


# -- listings


def test_links_in_listings(tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x")
    (tmp_path / "a/b/up").symlink_to("..")
    (tmp_path / "a/self").symlink_to(".")
    (tmp_path / "also").symlink_to("a/b")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "file-link").symlink_to("a/b/file")
    # also/up is a, which the way there has not passed yet.
    assert names(store, f"{tmp_path}/") == ["a/b/file", "also/file", "also/up/b/file", "file-link"]
    assert names(store, f"{tmp_path}/", recursive=False) == ["file-link", "a/", "also/"]


def test_deep_trees(tmp_path: Path, store: FileStore) -> None:
    deep = f"{tmp_path}/" + "d/" * 1200
    store.put(deep + "file", b"x")
    store.mkdir(deep + "e")
    assert names(store, f"{tmp_path}/") == ["d/" * 1200 + "file"]
    subprocess.run(["rm", "-r", f"{tmp_path}/d"], check=True)  # Python's rmtree recurses


def test_unfinished_files_are_not_listed(tmp_path: Path, store: FileStore) -> None:
    writer = store.writer(f"{tmp_path}/file")
    assert names(store, f"{tmp_path}/") == []
    assert names(store, f"{tmp_path}/", recursive=False) == []
    writer.abort()
    (tmp_path / ".s3dlio-mine").write_bytes(b"x")
    assert names(store, f"{tmp_path}/") == [".s3dlio-mine"]


def test_a_directory_that_vanishes_meanwhile(tmp_path: Path, store: FileStore) -> None:
    for name in ("a", "b", "c"):
        store.put(f"{tmp_path}/{name}/file", b"x")
    for number in range(1000):
        (tmp_path / f"a/{number:04}").touch()
    pages = store.list(f"{tmp_path}/")
    assert len(next(pages).keys) == 1000
    store.rmdir(f"{tmp_path}/b", recursive=True)
    assert [key.removeprefix(f"{tmp_path}/") for page in pages for key in page.keys] == ["a/file", "c/file"]


def test_entries_of_files_that_vanish(tmp_path: Path, store: FileStore) -> None:
    store.put(f"{tmp_path}/a", b"x")
    store.put(f"{tmp_path}/b", b"x")
    (page,) = store.list(f"{tmp_path}/")
    store.delete(f"{tmp_path}/a")
    assert [entry.key for entry in page.entries] == [f"{tmp_path}/b"]


def test_start_after_in_one_level(tmp_path: Path, store: FileStore) -> None:
    for name in ("a/x", "b/x", "c"):
        store.put(f"{tmp_path}/{name}", b"x")
    for after, expected in (("a/w", ["c", "a/", "b/"]), ("a/", ["c", "b/"]), ("b", ["c", "b/"]), ("c", [])):
        (page,) = store.list(f"{tmp_path}/", recursive=False, start_after=f"{tmp_path}/{after}")
        found = [name.removeprefix(f"{tmp_path}/") for name in [*page.keys, *page.prefixes]]
        assert found == expected, after


# -- directories


def test_containers_are_directories(tmp_path: Path, store: FileStore) -> None:
    for name in ("b", "a", "c"):
        store.mkdir(f"{tmp_path}/{name}")
    (tmp_path / "file").write_bytes(b"x")
    found = store.list_containers(str(tmp_path))
    assert [(one.name, one.uri, one.creation_date) for one in found] == [
        (name, store.uri(f"{tmp_path}/{name}"), None) for name in "abc"
    ]
    store.put(f"{tmp_path}/a/x", b"1")
    with pytest.raises(errors.LocalIOError):
        store.rmdir(f"{tmp_path}/a")
    store.rmdir(f"{tmp_path}/b")
    os.chdir(tmp_path)
    assert [one.name for one in store.list_containers()] == ["a", "c"]
    with pytest.raises(errors.ObjectNotFoundError):
        store.list_containers(f"{tmp_path}/nowhere")
    for act in (store.create_container, store.delete_container):
        with pytest.raises(errors.UnsupportedOperationError, match="directory"):
            act()


@pytest.mark.parametrize("path", ["/", "//", "/.", "/tmp/.."])
@pytest.mark.parametrize("recursive", [False, True])
def test_the_root_is_not_removed(store: FileStore, path: str, recursive: bool) -> None:
    with pytest.raises(errors.InvalidURIError, match="root"):
        store.rmdir(path, recursive=recursive)


def test_a_file_where_a_directory_is_wanted(tmp_path: Path, store: FileStore) -> None:
    store.put(f"{tmp_path}/file", b"x")
    with pytest.raises(errors.AlreadyExistsError):
        store.mkdir(f"{tmp_path}/file")
    with pytest.raises(errors.ObjectNotFoundError):
        store.put(f"{tmp_path}/file/inner", b"x")
    with pytest.raises(errors.S3dlioError):
        store.rmdir(f"{tmp_path}/file", recursive=True)
    store.delete(f"{tmp_path}/file/inner")
    assert names(store, f"{tmp_path}/file/") == []
    assert store.get(f"{tmp_path}/file") == b"x"


def test_copies_between_the_local_stores(tmp_path: Path) -> None:
    data = os.urandom(SMALL + 3)
    FileStore().put(f"{tmp_path}/a", data)
    DirectStore().copy(FileStore(), f"{tmp_path}/a", f"{tmp_path}/b")
    FileStore().copy(DirectStore(), f"{tmp_path}/b", f"{tmp_path}/c")
    assert Path(f"{tmp_path}/c").read_bytes() == data
    with pytest.raises(errors.ObjectNotFoundError) as caught:
        FileStore().copy(DirectStore(), f"{tmp_path}/missing", f"{tmp_path}/d")
    assert caught.value.uri == f"direct://{tmp_path}/missing"


def test_a_replacement_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    with replacement.Replacement(str(tmp_path / "x")) as target:
        os.write(target.fd, b"half")
    assert not list(tmp_path.iterdir())
    assert target.fd < 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_closes_its_copy_and_leaves_the_file(tmp_path: Path) -> None:
    with replacement.Replacement(str(tmp_path / "x")) as target:
        os.write(target.fd, b"whole")
        child = os.fork()
        if not child:
            fd = target.fd
            target.abort()
            try:
                os.fstat(fd)
            except OSError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        target.commit()
    assert (tmp_path / "x").read_bytes() == b"whole"


def test_one_that_was_struck_before_it_began_goes_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt may strike in the first line of ``__init__``."""
    unraisable: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    struck = replacement.Replacement.__new__(replacement.Replacement)
    del struck
    gc.collect()
    assert unraisable == []


@pytest.mark.parametrize("beneath", [False, True])
def test_a_private_file_is_private_from_the_first_moment_of_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beneath: bool
) -> None:
    (tmp_path / "secret").write_bytes(b"old")
    (tmp_path / "secret").chmod(0o600)
    modes: list[int] = []
    opened = os.open

    def watched(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if flags & os.O_CREAT:
            modes.append(mode)
        return opened(path, flags, mode, **more)

    directory = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(os, "open", watched)
    target = ("secret", directory) if beneath else (str(tmp_path / "secret"), None)
    with replacement.Replacement(target[0], beneath=target[1]) as new:
        assert stat.S_IMODE(os.fstat(new.fd).st_mode) == 0o600
        new.commit()
    os.close(directory)
    assert modes == [0o600]
