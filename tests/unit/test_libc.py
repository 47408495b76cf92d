"""Positioned I/O: whole counts on both ways to the kernel, and what interrupts, stops short, or fails."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s3dlio.memory import libc
from s3dlio.memory.pool import BufferPool

LARGE = (1 << 20) + 4097  # goes through libc; the small sizes go through os
linux = pytest.mark.skipif(sys.platform != "linux", reason="a Linux system call")


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    number = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


@pytest.mark.parametrize("size", [0, 1, 4096, LARGE])
def test_round_trip_at_an_offset(fd: int, size: int) -> None:
    data = os.urandom(size)
    assert libc.pwrite_full(fd, memoryview(data), 10) == size
    target = memoryview(bytearray(size))
    assert libc.pread_full(fd, target, 10) == size
    assert target == data
    assert os.fstat(fd).st_size == (10 + size if size else 0)


@pytest.mark.parametrize("size", [100, LARGE])
def test_only_the_end_of_the_file_is_short(fd: int, size: int) -> None:
    os.pwrite(fd, b"x" * size, 0)
    target = memoryview(bytearray(b"." * (size + 50)))
    assert libc.pread_full(fd, target, 20) == size - 20
    assert bytes(target[size - 21 : size - 18]) == b"x.."
    assert libc.pread_full(fd, target, size) == 0


@pytest.mark.parametrize("size", [100, LARGE])
def test_errors_have_their_number(size: int) -> None:
    for call in (libc.pread_full, libc.pwrite_full):
        with failing(errno.EBADF):
            call(-1, memoryview(bytearray(size)), 0)


def test_reading_into_what_cannot_be_written(fd: int) -> None:
    with pytest.raises(BufferError, match="must be writable"):
        libc.pread_full(fd, memoryview(b"read-only"), 0)


@linux
@pytest.mark.parametrize("size", [100, LARGE])
def test_no_space_is_an_error(size: int) -> None:
    full = os.open("/dev/full", os.O_RDWR)
    try:
        with failing(errno.ENOSPC):
            libc.pwrite_full(full, memoryview(bytearray(size)), 0)
    finally:
        os.close(full)


@contextmanager
def failing(*numbers: int) -> Iterator[None]:
    with pytest.raises(OSError, match=r"\[Errno \d+\]") as caught:
        yield
    assert caught.value.errno in numbers


class Scripted:
    """In the place of a libc call: each step is an errno to fail with, or the most bytes that this call moves."""

    def __init__(self, call: Callable[..., int], *steps: int) -> None:
        self.call, self.steps = call, list(steps)

    def __call__(self, fd: int, address: int, count: int, offset: int) -> int:
        if not self.steps:
            return self.call(fd, address, count, offset)
        step = self.steps.pop(0)
        if step < 0:
            ctypes.set_errno(-step)
            return -1
        return self.call(fd, address, min(count, step), offset) if step else 0


@linux
def test_interrupts_and_short_counts_are_continued(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(LARGE)
    write = Scripted(libc._pwrite, -errno.EINTR, 5, 4096, -errno.EINTR, -errno.EINTR, 70_000)
    read = Scripted(libc._pread, 1, -errno.EINTR, 99_999, 3, -errno.EINTR)
    monkeypatch.setattr(libc, "_pwrite", write)
    monkeypatch.setattr(libc, "_pread", read)
    assert libc.pwrite_full(fd, memoryview(data), 7) == LARGE
    target = memoryview(bytearray(LARGE))
    assert libc.pread_full(fd, target, 7) == LARGE
    assert target == data
    assert not write.steps
    assert not read.steps


@linux
@pytest.mark.parametrize("steps", [(0,), (4096, 0), (512, 100)], ids=["no progress", "then none", "within a block"])
def test_a_write_that_stands_still_is_an_error(fd: int, monkeypatch: pytest.MonkeyPatch, steps: tuple[int]) -> None:
    script = Scripted(libc._pwrite, *steps)
    monkeypatch.setattr(libc, "_pwrite", script)
    with failing(errno.ENOSPC):
        libc.pwrite_full(fd, memoryview(bytearray(8192)), 0, block=512)
    assert not script.steps


@linux
def test_a_part_of_a_block_ends_a_direct_read(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    os.pwrite(fd, bytes(8192), 0)
    script = Scripted(libc._pread, 512, 100, -errno.EINVAL)  # what some file systems say at an unaligned offset
    monkeypatch.setattr(libc, "_pread", script)
    assert libc.pread_full(fd, memoryview(bytearray(8192)), 0, block=512) == 612
    assert script.steps == [-errno.EINVAL]


@linux
def test_an_error_after_a_part_is_raised(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "_pread", Scripted(libc._pread, 10, -errno.EIO))
    os.pwrite(fd, bytes(LARGE), 0)
    with failing(errno.EIO):
        libc.pread_full(fd, memoryview(bytearray(LARGE)), 0)


def run(program: str, *args: object) -> None:
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), *map(str, args)], check=True, timeout=50)


@linux
def test_a_storm_of_signals(tmp_path: Path) -> None:
    run(
        """
        import os, signal, sys
        from s3dlio.memory.libc import pread_full, pwrite_full
        seen = []
        signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
        data = memoryview(os.urandom(1 << 20) * 16)
        target = memoryview(bytearray(len(data)))
        fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while len(seen) < 50:
            for size in (len(data), 4096):
                assert pwrite_full(fd, data[:size], 3) == size
                assert pread_full(fd, target[:size], 3) == size
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert target == data
        """,
        tmp_path / "file",
    )


@linux
def test_a_handler_that_raises_ends_the_loop(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    def interrupted(*_: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        ctypes.set_errno(errno.EINTR)
        return -1

    monkeypatch.setattr(libc, "_pread", interrupted)
    with pytest.raises(KeyboardInterrupt):
        libc.pread_full(fd, memoryview(bytearray(LARGE)), 0)


@linux
def test_a_write_is_continued_up_to_the_limit(tmp_path: Path) -> None:
    run(
        """
        import errno, os, resource, sys
        from s3dlio.memory.libc import pwrite_full
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
        fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
        try:
            pwrite_full(fd, memoryview(bytearray(2_000_000)), 0)
        except OSError as exc:
            assert exc.errno == errno.EFBIG, exc
        else:
            sys.exit("no error")
        assert os.fstat(fd).st_size == 1_500_000
        """,
        tmp_path / "file",
    )


@linux
@pytest.mark.parametrize("size", [0, 1, 512, 5000, 4096 * 3, LARGE])
def test_direct_io_to_an_unaligned_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    data = os.urandom(size)
    path.write_bytes(data)
    try:
        direct = os.open(path, os.O_RDWR | libc.O_DIRECT)
    except OSError as exc:
        pytest.skip(f"no O_DIRECT on this file system: {exc}")
    try:
        buffer = BufferPool().lease_aligned(size + 1)
        assert libc.pread_full(direct, buffer, 0, block=512) == size
        assert buffer[:size] == data
        assert libc.pwrite_full(direct, buffer, 4096, block=512) == len(buffer)
    finally:
        os.close(direct)
    assert path.read_bytes()[4096 : 4096 + size] == data


@linux
def test_what_direct_io_asks_for(tmp_path: Path, fd: int) -> None:
    asked = libc.direct_alignment(fd)
    if asked is not None:
        assert 0 < asked.memory <= 1 << 20
        assert 0 < asked.offset <= 1 << 20
        assert asked.memory & (asked.memory - 1) == asked.offset & (asked.offset - 1) == 0
    with failing(errno.EBADF):
        libc.direct_alignment(-1)


def test_where_statx_is_missing(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "_statx", None)
    assert libc.direct_alignment(fd) is None


@linux
def test_reserving_space(fd: int) -> None:
    if not libc.allocate(fd, 1 << 20):
        pytest.skip("the file system cannot reserve space")
    assert os.fstat(fd).st_size == 0
    assert os.fstat(fd).st_blocks * 512 >= 1 << 20
    assert not libc.allocate(fd, 0)
    with failing(errno.EFBIG, errno.ENOSPC):
        libc.allocate(fd, 1 << 62)


@linux
def test_reserving_where_it_cannot_be_done() -> None:
    read, write = os.pipe()
    try:
        with failing(errno.ESPIPE, errno.ENODEV):
            libc.allocate(write, 4096)
    finally:
        os.close(read)
        os.close(write)


def test_advice(fd: int) -> None:
    for advice in ("sequential", "willneed", "dontneed", "normal"):
        libc.advise(fd, 0, 0, advice)
    with pytest.raises(ValueError, match="got 'soon'"):
        libc.advise(fd, 0, 0, "soon")


@pytest.mark.parametrize("refused", [None, errno.EXDEV, errno.EINVAL, errno.EIO])
def test_copying(tmp_path: Path, fd: int, monkeypatch: pytest.MonkeyPatch, refused: int | None) -> None:
    data = os.urandom(5 << 20)
    os.pwrite(fd, data, 0)
    target = os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT)
    if refused:

        def fails(*_: int) -> int:
            raise OSError(refused, os.strerror(refused))

        monkeypatch.setattr(os, "copy_file_range", fails, raising=False)
    try:
        if refused == errno.EIO:
            with failing(errno.EIO):
                libc.copy_range(fd, target, len(data))
            return
        assert libc.copy_range(fd, target, len(data) + 100, 1000, 5) == len(data) - 1000
        assert libc.copy_range(fd, target, 10, 0, 0) == 10
    finally:
        os.close(target)
    assert (tmp_path / "copy").read_bytes()[5:] == data[5:10] + data[1005:]


@linux
def test_copying_a_file_that_does_not_know_its_size(fd: int) -> None:
    source = os.open("/proc/self/status", os.O_RDONLY)
    try:
        assert libc.copy_range(source, fd, 1 << 20) > 100
    finally:
        os.close(source)


def test_address_of_read_only_memory() -> None:
    view = memoryview(b"0123456789")
    assert ctypes.string_at(libc.address_of(view[3:]), 4) == b"3456"
    with pytest.raises(TypeError):
        libc.address_of(5)
    with pytest.raises(BufferError):
        libc.address_of(view[::2])


def test_the_way_without_positions(fd: int, tmp_path: Path) -> None:
    """The twins of preadv and pwrite for systems that have neither, read from a fresh copy of the module."""
    run(
        """
        import os, sys
        del os.preadv, os.pwrite
        sys.platform = "win32"
        from s3dlio.memory import libc
        fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
        data = os.urandom(2 << 20)
        target = memoryview(bytearray(len(data) + 1))
        assert libc.pwrite_full(fd, memoryview(data), 5) == len(data)
        assert libc.pread_full(fd, target, 5) == len(data)
        assert target[:-1] == data
        assert libc.direct_alignment(fd) is None and not libc.allocate(fd, 10)
        """,
        tmp_path / "other",
    )
