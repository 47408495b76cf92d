"""What streaming writers do above the store's: which bytes they keep, how many at a time, what they say afterwards."""

from __future__ import annotations

import asyncio
import errno
import io
import itertools
import pickle
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

import s3dlio
from s3dlio.errors import OutOfMemoryError, S3dlioError, StorageFullError
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import as_memory
from s3dlio.stores.writer import StoreWriter
from s3dlio.streams import compression
from s3dlio.streams.compression import ZstdStream
from s3dlio.streams.writer import ObjectWriter
from s3dlio.types import Payload, PutResult
from s3dlio.verbs.writers import create_stream_writer

MIB = 1 << 20


class Target(StoreWriter):
    """A store's writer that keeps what it is given, and does as it is told.

    Args:
        full_at: bytes from which on it has no room.
    """

    def __init__(self, full_at: float = float("inf")) -> None:
        self.pieces: list[memoryview] = []
        self.full_at = full_at
        self.aborted = 0
        self.leased = 0

    def write(self, data: Payload) -> int:
        return self.write_owned(bytes(as_memory(data)))

    def write_owned(self, data: Payload) -> int:
        self.leased = max(self.leased, default_pool().stats().leased_bytes)
        view = as_memory(data)
        if sum(map(len, self.pieces)) + len(view) > self.full_at:
            raise StorageFullError("no room", operation="PUT")
        self.pieces.append(view)
        return len(view)

    def flush(self) -> None:
        pass

    def close(self) -> PutResult:
        return PutResult(None, None, sum(map(len, self.pieces)))

    def abort(self) -> None:
        self.aborted += 1

    def content(self) -> bytes:
        return b"".join(self.pieces)


class Forgetful(Target):
    """One that lets go of what it has stored."""

    def write_owned(self, data: Payload) -> int:
        super().write_owned(data)
        return len(self.pieces.pop())


def writer_to(target: StoreWriter, level: int | None = None, buffer_size: int = MIB) -> ObjectWriter:
    return ObjectWriter(
        target, "memory://b/k", zstd=None if level is None else ZstdStream(level), buffer_size=buffer_size
    )


def unpacked(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize("level", [None, 1])
def test_a_buffer_that_changes_during_or_after_a_write_changes_nothing(level: int | None) -> None:
    data = bytearray(b"a" * (3 * MIB + 100))

    class Meddler(Target):
        def write_owned(self, piece: Payload) -> int:
            data[:] = bytes(len(data))  # as another thread may, in the middle of the write
            return super().write_owned(piece)

    target = Meddler()
    with writer_to(target, level) as writer:
        writer.write(data[: MIB + 50])
        data[:] = b"b" * len(data)
        writer.write(data)
    content = unpacked(target.content()) if level else target.content()
    assert content.startswith(b"a" * (MIB + 50) + b"b")
    assert writer.checksum() == f"crc32c:{crc32c(content):08x}"


def test_bytes_that_are_given_up_are_stored_from_where_they_are() -> None:
    target, owned, constant = Target(), bytearray(MIB), bytes(MIB)
    with writer_to(target) as writer:
        writer.write(b"small")
        writer.write_owned_bytes(owned)
        writer.write(constant)
        writer.write_owned_bytes(b"tiny")
        writer.write_owned_bytes(owned, copy=True)
    assert [piece.obj for piece in target.pieces[1:3]] == [owned, constant]
    assert all(piece.obj is not owned for piece in target.pieces[3:])
    assert target.content() == b"small" + bytes(2 * MIB) + b"tiny" + bytes(MIB)


@pytest.mark.parametrize(
    "payload",
    [
        np.arange(100_000, dtype="<f8")[::3], memoryview(bytes(100_000)), np.array(7, "<i4"), b"",
        np.asfortranarray(np.arange(100_000).reshape(100, 1000)), bytearray(200_000),
    ],
    ids=["strided", "read-only", "scalar", "empty", "fortran", "plain"],
)  # fmt: skip
def test_buffers_of_any_shape(payload: Any) -> None:
    for verb in ("write", "write_chunk", "write_owned_bytes"):
        target = Target()
        with writer_to(target) as writer:
            getattr(writer, verb)(payload)
        expected = payload.tobytes() if hasattr(payload, "tobytes") else bytes(payload)
        assert target.content() == expected
        assert tuple(writer.stats() or ()) == (len(expected), len(expected))


@pytest.mark.parametrize("payload", [None, "text", 5, np.array([None])])
def test_what_has_no_bytes_is_refused_and_the_writer_goes_on(payload: Any) -> None:
    target = Target()
    writer = writer_to(target)
    writer.write(b"a")
    for verb in (writer.write, writer.write_chunk, writer.write_owned_bytes):
        with pytest.raises(TypeError):
            verb(payload)
    writer.write(b"b")
    assert writer.finalize() == (2, 2)
    assert target.content() == b"ab"
    assert not target.aborted


@pytest.mark.parametrize(
    ("level", "end"),
    [*itertools.product((None, 3), ("write", "write_owned_bytes", "finalize")), (None, "flush")],
)
def test_an_error_of_the_store_ends_the_writer_and_lets_buffers_go(level: int | None, end: str) -> None:
    target = Target(full_at=0)
    writer = writer_to(target, level)
    buffer = bytearray(np.random.default_rng(0).bytes(9 * MIB if end.startswith("write") else 1000))
    if end.startswith("write"):
        with pytest.raises(StorageFullError) as caught:
            getattr(writer, end)(buffer)
    else:
        writer.write(buffer)
        with pytest.raises(StorageFullError) as caught:
            getattr(writer, end)()
    buffer.append(0)  # nothing exports it, though the error is kept
    assert target.aborted == 1
    assert writer.closed
    for use in (lambda: writer.write(b""), writer.flush, writer.finalize, writer.close):
        with pytest.raises(S3dlioError, match="failed earlier") as later:
            use()
        assert later.value.__cause__ is caught.value
    writer.abort()
    assert target.aborted == 1


def test_an_abort_that_fails_does_not_hide_the_first_error(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Target):
        def abort(self) -> None:
            raise OSError(errno.EIO, "stuck")

    def fail() -> None:
        with writer_to(Stuck()):
            raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        fail()
    with pytest.raises(StorageFullError):
        writer_to(Stuck(full_at=0)).write(bytes(MIB))
    assert caplog.text.count("could not be aborted") == 2


@pytest.mark.parametrize("level", [None, 1])
def test_memory_does_not_grow_with_the_object(level: int | None) -> None:
    before = default_pool().stats().leased_bytes
    target = Forgetful()
    piece = memoryview(bytearray(np.random.default_rng(0).bytes(3 * MIB)))
    with writer_to(target, level) as writer:
        for _ in range(20):
            writer.write(piece)
    assert writer.bytes_written() == 60 * MIB
    held = 0 if level is None else compression.SINGLE_THREADED
    assert target.leased - before <= held + 2 * MIB
    assert default_pool().stats().leased_bytes <= before


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("size", [0, 10, compression.SINGLE_THREADED, compression.SINGLE_THREADED + 1, 20 * MIB])
def test_a_compressed_stream_is_one_frame(size: int, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "available_cpus", lambda: cpus)
    data = (b"some words, 1234567890\n" * (size // 23 + 1))[:size]
    target = Target()
    with writer_to(target, 3) as writer:
        for start in range(0, size, 2_000_000):
            writer.write(data[start : start + 2_000_000])
            writer.flush()
    frame = target.content()
    about = zstandard.get_frame_parameters(frame)
    assert about.has_checksum
    assert about.content_size == (size if size <= compression.SINGLE_THREADED else zstandard.CONTENTSIZE_UNKNOWN)
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    assert decompressor.decompress(frame) == data
    assert decompressor.eof
    assert not decompressor.unused_data
    assert writer.stats() == (size, len(frame))


@pytest.mark.parametrize("level", [1, 9, 19, 22])
def test_every_level_is_used(level: int) -> None:
    data = np.random.default_rng(0).integers(0, 4, 300_000, "u1").tobytes()
    target = Target()
    with writer_to(target, level) as writer:
        writer.write(data)
    alone = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data)
    assert len(target.content()) == len(alone)
    assert unpacked(target.content()) == data


def test_threads_stay_within_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "available_cpus", lambda: 1000)
    threads = [compression._threading(level).get("threads", 1) for level in range(1, 23)]
    assert threads[2] > 16
    assert threads[21] == 1
    monkeypatch.setattr(compression, "available_cpus", lambda: 1)
    assert compression._threading(3) == {}


def test_no_memory_for_a_level_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoMemory:
        def finish(self) -> Any:
            yield b""
            raise zstandard.ZstdError("cannot compress: Allocation error : not enough memory")

    stream = ZstdStream(22)
    monkeypatch.setattr(stream, "_chunker", NoMemory())
    with pytest.raises(OutOfMemoryError, match="level 22"):
        list(stream.finish())


def test_what_a_writer_says_at_its_end() -> None:
    writer = s3dlio.create_stream_writer("memory://stats/k", {"compression": "zstd"})
    assert writer.stats() is None
    assert writer.checksum() == "crc32c:00000000"
    writer.write(bytes(5000))
    assert (writer.bytes_written(), writer.compressed_bytes()) == (5000, 0)
    stats = writer.finalize()
    written, compressed = stats
    assert (written, compressed) == (stats[0], stats[1]) == (5000, s3dlio.stat("memory://stats/k.zst")["size"])
    assert stats["bytes_written"] == stats.bytes_written == 5000
    assert stats["compressed_bytes"] == stats.compressed_bytes == compressed < 100
    assert "checksum" in stats
    assert 5000 in stats
    assert dict(stats)["etag"] == s3dlio.stat("memory://stats/k.zst")["etag"]
    assert pickle.loads(pickle.dumps(stats)).checksum == writer.checksum() == f"crc32c:{crc32c(bytes(5000)):08x}"
    with pytest.raises(KeyError):
        stats["speed"]
    assert repr(writer) == "<ObjectWriter 'memory://stats/k.zst': 5000 bytes, finalized>"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(writer)


def test_a_name_that_ends_so_gets_no_second_suffix(tmp_path: Path) -> None:
    for name in ("a", "b.zst", "c.ZST"):
        s3dlio.create_filesystem_writer(f"file://{tmp_path}/{name}", {"compression": "zstd"}).finalize()
        s3dlio.create_direct_filesystem_writer(tmp_path / name, {"compression": "none"}).finalize()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.zst", "b.zst", "c.ZST", "c.ZST.zst"]


def test_pickles_go_straight_into_an_object() -> None:
    value = {"weights": np.arange(300_000), "step": 7}
    with create_stream_writer(s3dlio.default_client(), "memory://pickles/k") as writer:
        pickle.dump(value, writer)
    loaded = pickle.loads(s3dlio.get("memory://pickles/k"))
    assert loaded["step"] == 7
    assert (loaded["weights"] == value["weights"]).all()


def test_a_writer_is_a_file_to_those_who_only_write() -> None:
    open_one = s3dlio.create_stream_writer
    with open_one("memory://files/tar") as writer, tarfile.open(fileobj=writer, mode="w|") as archive:
        archive.add(__file__, "self")
    with open_one("memory://files/zip") as writer, zipfile.ZipFile(writer, "w") as packed:
        packed.write(__file__, "self")
    with s3dlio.create_stream_writer("memory://files/npy") as writer:
        np.save(writer, np.arange(300_000))
    text = Path(__file__).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(s3dlio.get("memory://files/tar"))) as archive:
        member = archive.extractfile("self")
        assert member is not None
        assert member.read() == text
    assert zipfile.ZipFile(io.BytesIO(s3dlio.get("memory://files/zip"))).read("self") == text
    assert (np.load(io.BytesIO(s3dlio.get("memory://files/npy"))) == np.arange(300_000)).all()


def test_an_interruption_ends_the_writer_at_once() -> None:
    class Interrupted(Target):
        def write_owned(self, data: Payload) -> int:
            raise KeyboardInterrupt

    target = Interrupted()
    writer = writer_to(target)
    with pytest.raises(KeyboardInterrupt):
        writer.write(bytes(MIB))
    assert target.aborted == 1
    with pytest.raises(S3dlioError, match="failed earlier"):
        writer.finalize()


# -- awaited


def test_awaited_writes_of_several_tasks_are_done_one_by_one() -> None:
    async def write() -> s3dlio.AsyncObjectWriter:
        async with await s3dlio.create_stream_writer_async("memory://awaited/k", {"compression": "zstd"}) as writer:
            await asyncio.gather(*(writer.write(bytes([number]) * 300_000) for number in range(30)))
            await writer.write(b"small")
            await writer.flush()
        return writer

    writer = asyncio.run(write())
    content = unpacked(bytes(s3dlio.get(writer.uri)))
    assert content == b"".join(bytes([number]) * 300_000 for number in range(30)) + b"small"
    assert writer.stats() == (writer.bytes_written(), writer.compressed_bytes())
    assert writer.checksum() == f"crc32c:{crc32c(content):08x}"
    assert repr(writer) == "<AsyncObjectWriter 'memory://awaited/k.zst': 9000005 bytes, finalized>"


def test_an_awaited_writer_that_fails_in_its_block_leaves_nothing() -> None:
    async def fail() -> None:
        async with await s3dlio.create_stream_writer_async("memory://awaited/failed") as writer:
            await writer.write(bytes(3 * MIB))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(fail())
    assert not s3dlio.exists("memory://awaited/failed")


def test_a_cancelled_write_aborts_the_writer_and_leaves_the_buffer() -> None:
    arrived, answer = threading.Event(), threading.Event()

    class Slow(Target):
        def write_owned(self, data: Payload) -> int:
            arrived.set()
            assert answer.wait(30)
            return super().write_owned(data)

    async def cancel() -> None:
        target, buffer = Slow(), bytearray(3 * MIB)
        writer = s3dlio.AsyncObjectWriter(writer_to(target))
        task = asyncio.create_task(writer.write(buffer))
        await asyncio.to_thread(arrived.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()  # the buffer is in use
        answer.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        buffer.append(0)
        assert target.aborted == 1
        assert writer.closed
        await writer.abort()

    asyncio.run(cancel())
