"""Full disks, files that may not be read or written, signals, a crash: a typed error, and nothing lost or left."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio import errors
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import FileSink
from s3dlio.stores.cloud import spooled
from s3dlio.stores.cloud.spooled import SpooledWriter
from s3dlio.stores.local import atomic
from s3dlio.stores.local.direct import DirectStore
from s3dlio.stores.local.file import FileStore
from s3dlio.stores.memory import MemoryStore
from s3dlio.stores.writer import StoreWriter
from s3dlio.types import PutOptions
from tests.leases import assert_returned

MIB = 1 << 20
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to mount, or to become somebody else")


@pytest.fixture(params=[FileStore, DirectStore], ids=["file", "direct"])
def store(request: pytest.FixtureRequest) -> FileStore:
    made: FileStore = request.param()
    return made


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for about 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    else:
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(10 * MIB)
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("mkfs.ext4 is not installed")
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", image], check=True)
        command = ["mount", "-o", "loop", str(image), str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount {request.param} here: {mounted.stderr.strip()}")
    shutil.rmtree(folder / "lost+found", ignore_errors=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@needs_root
def test_a_full_disk(small_disk: Path, store: FileStore) -> None:
    old = random.Random(0).randbytes(3 * MIB + 900_000)
    too_much = memoryview(bytes(12 * MIB))
    path, source = f"{small_disk}/file", f"{small_disk}/source"
    store.put(path, old)
    leased = default_pool().stats().leased

    def write_pieces() -> None:
        with store.writer(path) as writer:
            for start in range(0, len(too_much), 700_001):
                writer.write(too_much[start : start + 700_001])

    for act in (lambda: store.put(path, too_much), write_pieces, lambda: store.put(f"{small_disk}/new", too_much)):
        with pytest.raises(errors.StorageFullError) as caught:
            act()
        assert caught.value.operation == "PUT"
        assert caught.value.uri in (store.uri(path), store.uri(f"{small_disk}/new"))
        assert isinstance(caught.value, OSError)
        del caught
        assert os.listdir(small_disk) == ["file"]
        assert store.get(path) == old
    store.put(source, old)
    with pytest.raises(errors.StorageFullError):
        store.copy(store, source, f"{small_disk}/third")
    assert sorted(os.listdir(small_disk)) == ["file", "source"]
    store.delete(source)
    store.put(path, old[::-1])  # there is room again: nothing was left behind
    assert store.get(path) == old[::-1]
    assert_returned(leased)


def fill(writer: StoreWriter, chunk: bytes) -> None:
    for _ in range(12):
        writer.write(chunk)


@needs_root
def test_a_full_disk_where_streams_wait(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transports that want to know the size first keep what is written in a file."""
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    monkeypatch.setattr(spooled, "_IN_MEMORY", MIB)
    store = MemoryStore()
    writer = SpooledWriter(store, "k", PutOptions())
    chunk = bytes(MIB)
    with pytest.raises(errors.StorageFullError, match="spool") as caught:
        fill(writer, chunk)
    assert (caught.value.uri, caught.value.operation) == (store.uri("k"), "PUT")
    with pytest.raises(errors.StorageFullError):
        writer.close()
    with pytest.raises(errors.S3dlioError, match="closed"):
        writer.write(b"more")
    assert os.listdir(small_disk) == []
    with pytest.raises(errors.ObjectNotFoundError):
        store.get("k")


@needs_root
def test_a_download_onto_a_full_disk(small_disk: Path, tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "large").write_bytes(bytes(12 * MIB))
    fd = os.open(small_disk / "target", os.O_RDWR | os.O_CREAT)
    try:
        with pytest.raises(errors.StorageFullError):
            store.execute(store.read_call(f"{tmp_path}/large", FileSink(fd)))
    finally:
        os.close(fd)


def in_child(act: Callable[[], Any], *, user: int | None = None, file_limit: int | None = None) -> Any:
    """What ``act`` returns or raises in a forked child with fewer rights."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            try:
                result = act()
            except BaseException as error:
                result = error
            os.write(writing, pickle.dumps(result))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    return pickle.loads(answer)


def test_a_file_size_limit(tmp_path: Path, store: FileStore) -> None:
    path = f"{tmp_path}/file"
    store.put(path, b"old")
    error = in_child(lambda: store.put(path, bytes(4 * MIB)), file_limit=2 * MIB)
    assert isinstance(error, errors.StorageFullError)
    assert error.uri == store.uri(path)
    assert os.listdir(tmp_path) == ["file"]
    assert store.get(path) == b"old"


def test_a_write_that_fails_leaves_none_of_the_directories_that_it_made(tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "old").mkdir()
    for path in ("old/file", "old/new/file", "a/b/c/file"):
        error = in_child(lambda path=path: store.put(f"{tmp_path}/{path}", bytes(4 * MIB)), file_limit=2 * MIB)  # type: ignore[misc]
        assert isinstance(error, errors.StorageFullError)
    assert [*tmp_path.rglob("*")] == [tmp_path / "old"]
    writer = store.writer(f"{tmp_path}/a/b/file")
    store.put(f"{tmp_path}/a/other", b"")  # meanwhile
    writer.abort()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / name for name in ("a", "a/other", "old")]


def test_a_directory_that_others_remove_is_made_again(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, times = atomic.make_directories, 0

    def removed(path: str, *args: Any) -> list[str]:
        nonlocal times
        times += 1
        result = made(path, *args)
        if times < 4:
            os.rmdir(path)
        return result

    monkeypatch.setattr(atomic, "make_directories", removed)
    store.put(f"{tmp_path}/a/file", b"abc")
    assert (tmp_path / "a" / "file").read_bytes() == b"abc"


def test_a_checkpoint_that_a_full_disk_ends_leaves_nothing(tmp_path: Path, store: FileStore) -> None:
    place = CheckpointStore(f"{store.scheme}://{tmp_path}/run")
    error = in_child(lambda: place.save(step=1, data=bytes(4 * MIB)), file_limit=2 * MIB)
    assert isinstance(error, errors.StorageFullError)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody may reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="s3dlio-faults-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@needs_root
def test_files_that_may_not_be_read_or_written(open_folder: Path, store: FileStore) -> None:
    secret, fixed, shut = open_folder / "secret", open_folder / "fixed", open_folder / "shut"
    secret.write_bytes(b"secret")
    secret.chmod(0o600)
    fixed.write_bytes(b"fixed")
    fixed.chmod(0o444)
    shut.mkdir(mode=0o755)
    (shut / "file").write_bytes(b"x")
    before = sorted(os.listdir(open_folder))
    cases: list[tuple[str, Callable[[], Any], Path]] = [
        ("GET", lambda: store.get(str(secret)), secret),
        ("PUT", lambda: store.put(str(secret), b"new"), secret),
        ("PUT", lambda: store.put(str(fixed), b"new"), fixed),
        ("PUT", lambda: store.writer(str(fixed)), fixed),
        ("PUT", lambda: store.put(f"{shut}/new", b"new"), shut / "new"),
        ("DELETE", lambda: store.delete(f"{shut}/file"), shut / "file"),
        ("MKDIR", lambda: store.mkdir(f"{shut}/sub"), shut / "sub"),
    ]
    for operation, act, path in cases:
        error = in_child(act, user=NOBODY)
        assert isinstance(error, errors.PermissionDeniedError), (operation, path, error)
        assert isinstance(error, PermissionError)
        assert (error.operation, error.uri) == (operation, store.uri(str(path)))
    assert in_child(lambda: store.get(str(fixed)).to_bytes(), user=NOBODY) == b"fixed"
    assert sorted(os.listdir(open_folder)) == before
    assert os.listdir(shut) == ["file"]
    assert (secret.read_bytes(), fixed.read_bytes()) == (b"secret", b"fixed")
    ((key, error),) = in_child(lambda: store.delete_many([f"{shut}/file", f"{shut}/missing"]), user=NOBODY)
    assert key == f"{shut}/file"
    assert isinstance(error, errors.PermissionDeniedError)


@needs_root
def test_a_listing_is_never_silently_short(open_folder: Path, store: FileStore) -> None:
    for name in ("a", "b", "c"):
        store.put(f"{open_folder}/{name}/file", b"x")
    (open_folder / "b").chmod(0o700)
    error = in_child(lambda: [page.keys for page in store.list(f"{open_folder}/")], user=NOBODY)
    assert isinstance(error, errors.PermissionDeniedError)
    assert error.uri == store.uri(f"{open_folder}/b/")
    pages = in_child(lambda: [page.prefixes for page in store.list(f"{open_folder}/", recursive=False)], user=NOBODY)
    assert pages == [[f"{open_folder}/{name}/" for name in "abc"]]


@contextlib.contextmanager
def signals(handle: Callable[[], None], pause: float) -> Iterator[None]:
    """Have a signal every ``pause`` seconds, handled on the main thread. (SIGALRM belongs to pytest-timeout.)"""
    over = threading.Event()
    main = threading.get_ident()

    def send() -> None:
        while not over.wait(pause):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *args: handle())
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_signals_interrupt_nothing(tmp_path: Path, store: FileStore) -> None:
    data = random.Random(1).randbytes(16 * MIB + 77)
    path = f"{tmp_path}/file"
    seen: list[None] = []
    with signals(lambda: seen.append(None), 0.0005):
        for _ in range(5):
            store.put(path, data)
            assert store.get(path) == data
            with store.writer(path) as writer:
                for start in range(0, len(data), 3 * MIB):
                    writer.write(data[start : start + 3 * MIB])
            assert store.get_range(path, 12345, 9 * MIB) == data[12345 : 12345 + 9 * MIB]
    assert len(seen) > 10
    assert os.listdir(tmp_path) == ["file"]


def test_ctrl_c_in_the_middle_of_writes(tmp_path: Path, store: FileStore) -> None:
    """At whatever point the interrupt comes: the old content or the new, and nothing else."""
    path = tmp_path / "file"
    versions = [bytes([number]) * (6 * MIB + number) for number in range(2)]
    store.put(str(path), versions[0])
    armed = False
    interrupted = 0

    def interrupt() -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    for number in range(40):
        with signals(interrupt, 0.0002 * (number % 20 + 1)):
            try:
                armed = True
                store.put(str(path), versions[number % 2])
                armed = False
            except KeyboardInterrupt:
                interrupted += 1
        assert os.listdir(tmp_path) == ["file"]
        assert path.read_bytes() in versions
    assert interrupted > 0


def test_a_crash_leaves_no_object(tmp_path: Path, store: FileStore) -> None:
    store.put(f"{tmp_path}/file", b"old")
    child = os.fork()
    if not child:
        writer = store.writer(f"{tmp_path}/file")
        writer.write(bytes(3 * MIB))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [page.keys for page in store.list(f"{tmp_path}/")] == [[f"{tmp_path}/file"]]
    assert store.get(f"{tmp_path}/file") == b"old"
    store.put(f"{tmp_path}/file", b"new")
    assert store.get(f"{tmp_path}/file") == b"new"
