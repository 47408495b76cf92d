"""What is particular to direct://: that it is O_DIRECT, at every offset and size, or says that it is not."""

from __future__ import annotations

import errno
import fcntl
import gc
import logging
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from s3dlio import errors
from s3dlio.config.sections import FileSettings
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import FileSink
from s3dlio.memory.sources import Source
from s3dlio.stores.local import direct
from s3dlio.stores.local.direct import DirectStore
from s3dlio.types import PutOptions
from tests.sinks import WriterSink

MIB = 1 << 20
DATA = random.Random(0).randbytes(3 * MIB)


def refuses_o_direct(folder: Path) -> bool:
    try:
        fd = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    except OSError:
        return True
    os.close(fd)
    return False


@pytest.fixture
def store(tmp_path: Path) -> DirectStore:
    if refuses_o_direct(tmp_path):
        pytest.skip(f"no O_DIRECT on the file system of {tmp_path}")
    (tmp_path / "probe").unlink()
    return DirectStore(settings=FileSettings(direct_fallback="error"))


def open_flags(folder: Path) -> list[int]:
    """The flags of every descriptor of this process that is open in the folder."""
    flags = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith(str(folder)):
                text = Path(f"/proc/self/fdinfo/{fd}").read_text()
                flags.append(int(text.split("flags:")[1].split()[0], 8))
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return flags


def test_files_are_open_with_o_direct(tmp_path: Path, store: DirectStore) -> None:
    seen: list[int] = []

    class Watching(Source):
        size = 3 * MIB

        def read(self, start: int, length: int) -> memoryview:
            seen.extend(open_flags(tmp_path))
            return memoryview(DATA)[start : start + length]

        def part(self, start: int, length: int) -> Source:
            return self

    store.execute(store.write_call(f"{tmp_path}/file", Watching()))
    store.execute(store.read_call(f"{tmp_path}/file", WriterSink(lambda data: seen.extend(open_flags(tmp_path)))))
    writer = store.writer(f"{tmp_path}/other")
    seen += open_flags(tmp_path)
    writer.abort()
    assert len(seen) >= 3
    assert all(flags & os.O_DIRECT for flags in seen)


@pytest.mark.parametrize("size", [1, 511, 512, 513, 4095, 4096, 4097, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1])
def test_no_padding_stays(tmp_path: Path, store: DirectStore, size: int) -> None:
    data = random.Random(size).randbytes(size)
    path = tmp_path / "file"
    for alignment in (None, 4096):
        kind = DirectStore(settings=FileSettings(direct_fallback="error", alignment=alignment))
        kind.put(str(path), data)
        assert path.read_bytes() == data
        with kind.writer(str(path), part_size=5000) as writer:
            for start in range(0, size, 3 * MIB + 1):
                writer.write(data[start : start + 3 * MIB + 1])
        assert path.read_bytes() == data
        assert kind.get(str(path)) == data


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        if refuses_o_direct(path):
            pytest.skip(f"no O_DIRECT on the file system of {path}")
        (path / "data").write_bytes(DATA)
        yield path


edges = st.one_of(
    st.integers(0, len(DATA) + 600),
    st.builds(lambda block, off: max(0, block * 512 + off), st.integers(0, 6200), st.integers(-2, 2)),
)


@given(offset=edges, length=st.one_of(st.none(), edges), shift=st.integers(0, 600))
def test_every_range_is_a_slice(folder: Path, offset: int, length: int | None, shift: int) -> None:
    store = DirectStore(settings=FileSettings(direct_fallback="error"))
    key = f"{folder}/data"
    expected = DATA[offset : None if length is None else offset + length]
    assert store.get_range(key, offset, length) == expected
    pieces: list[bytes] = []
    sink = WriterSink(lambda data: pieces.append(bytes(data)))
    store.execute(store.read_call(key, sink, offset=offset, length=length))
    assert b"".join(pieces) == expected
    buffer = default_pool().lease(len(DATA) + shift)[shift:]  # at any address
    assert store.get_into(key, buffer) == len(DATA)
    assert buffer == DATA


@given(size=st.integers(0, 20_000), shift=st.integers(0, 600), step=st.integers(1, 9000))
def test_every_write_is_what_was_written(folder: Path, size: int, shift: int, step: int) -> None:
    store = DirectStore(settings=FileSettings(direct_fallback="error"))
    buffer = default_pool().lease(size + shift)
    buffer[:] = DATA[: size + shift]
    data = buffer[shift:]
    key = f"{folder}/written"
    store.put(key, data)
    assert Path(key).read_bytes() == data
    with store.writer(key, part_size=4096) as writer:
        for start in range(0, size, step):
            writer.write(data[start : start + step])
    assert Path(key).read_bytes() == data


def test_into_a_file(tmp_path: Path, store: DirectStore) -> None:
    store.put(f"{tmp_path}/file", DATA)
    with open(tmp_path / "target", "w+b") as target:
        store.execute(store.read_call(f"{tmp_path}/file", FileSink(target.fileno()), offset=700, length=2 * MIB))
    assert (tmp_path / "target").read_bytes() == DATA[700 : 700 + 2 * MIB]


def test_errors_do_not_keep_buffers(tmp_path: Path, store: DirectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even until the garbage collector runs."""

    def fail(*args: Any, **kwargs: Any) -> int:
        raise OSError(errno.EIO, "broken")

    store.put(f"{tmp_path}/file", DATA)
    seen: list[object] = []
    store.observers = (seen.append,)
    monkeypatch.setattr(direct, "pread_full", fail)
    monkeypatch.setattr(direct, "pwrite_full", fail)
    before = default_pool().stats().leased
    gc.disable()
    try:
        for act in (
            lambda: store.get(f"{tmp_path}/file"),
            lambda: store.put(f"{tmp_path}/file", DATA),
            lambda: store.writer(f"{tmp_path}/file").write(bytes(9 * MIB + 1)),
        ):
            try:
                act()
            except errors.LocalIOError:
                pass
            else:
                pytest.fail("no error")
        assert len(seen) == 3
        seen.clear()
        assert default_pool().stats().leased == before
    finally:
        gc.enable()


# -- where O_DIRECT is refused


@pytest.fixture(params=["open", "io"])
def refusing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without O_DIRECT: some refuse it when a file is opened, some when it is read or written."""
    direct._announced.clear()

    def refuse(*args: Any, **kwargs: Any) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def refusing(real: Callable[..., int]) -> Callable[..., int]:
        def transfer(fd: int, *args: Any, **kwargs: Any) -> int:
            return refuse() if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT else real(fd, *args, **kwargs)

        return transfer

    if request.param == "io":
        monkeypatch.setattr(direct, "pread_full", refusing(direct.pread_full))
        monkeypatch.setattr(direct, "pwrite_full", refusing(direct.pwrite_full))
        return
    real = os.open

    def opening(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
        return refuse() if flags & os.O_DIRECT else real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", opening)


@pytest.mark.usefixtures("refusing")
def test_the_fallback_is_announced_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DirectStore()
    with caplog.at_level(logging.WARNING, "s3dlio"):
        for size in (10, 100_000):
            store.put(f"{tmp_path}/file", DATA[:size])
            assert store.get(f"{tmp_path}/file") == DATA[:size]
            assert store.get_range(f"{tmp_path}/file", 5, 3) == DATA[5:8]
            with store.writer(f"{tmp_path}/file") as writer:
                writer.write(DATA[:size])
            assert store.get(f"{tmp_path}/file") == DATA[:size]
    assert [record.message for record in caplog.records if "O_DIRECT" in record.message] == [
        f"no O_DIRECT on the file system of {tmp_path}: reading and writing through the page cache"
    ]
    assert os.listdir(tmp_path) == ["file"]


def write_streaming(store: DirectStore, path: str) -> None:
    with store.writer(path) as writer:
        writer.write(b"new")


@pytest.mark.usefixtures("refusing")
def test_the_fallback_can_be_forbidden(tmp_path: Path) -> None:
    store = DirectStore(settings=FileSettings(direct_fallback="error"))
    (tmp_path / "file").write_bytes(b"old")
    for act in (
        lambda: store.get(f"{tmp_path}/file"),
        lambda: store.put(f"{tmp_path}/file", b"new"),
        lambda: store.put(f"{tmp_path}/file", b"new", options=PutOptions(durable=True)),
        lambda: write_streaming(store, f"{tmp_path}/file"),
    ):
        with pytest.raises(errors.UnsupportedOperationError, match="O_DIRECT") as caught:
            act()
        assert caught.value.hint is not None
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_directories_are_no_refusal(tmp_path: Path, store: DirectStore) -> None:
    with pytest.raises(errors.IsDirectoryError):
        store.get(str(tmp_path))


@pytest.mark.parametrize("alignment", [1000, 1 << 20, 256])
def test_absurd_alignments(alignment: int) -> None:
    with pytest.raises(errors.ConfigError, match="alignment"):
        DirectStore(settings=FileSettings(alignment=alignment))
