"""Parts of a streaming write on the lanes of its client: how many, out of which memory, on which lanes."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from s3dlio.engine.lanes import Lanes
from s3dlio.memory import sources
from s3dlio.memory.crc32c import crc32c, format_crc32c
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import MemorySource, PiecesSource, Source
from s3dlio.net.message import Request
from s3dlio.net.resident import Submission
from s3dlio.stores.cloud import writer as cloud_writer
from s3dlio.stores.cloud.part_sender import PartSender
from s3dlio.stores.s3 import S3Store
from s3dlio.stores.s3.multipart import MultipartUpload
from s3dlio.streams import writer as streams_writer
from s3dlio.streams.writer_options import WriterOptions
from tests.servers.moto_server import MotoServer
from tests.wire.s3_harness import store_of

MIB = 1 << 20
PART = 5 * MIB
#: What the pool gives for a part.
LEASE = 6 * MIB


@pytest.fixture
def store(moto_server: MotoServer) -> Iterator[S3Store]:
    made = store_of(moto_server.endpoint, "sent-in-parts", multipart={"part_size": PART, "max_in_flight": 2})
    made.create_container()
    lanes = Lanes(16)
    made.spare = lanes.spare
    yield made
    lanes.close()


def leased_bytes() -> int:
    return default_pool().stats().leased_bytes


def test_memory_is_the_parts_in_flight_and_the_one_that_is_filled(store: S3Store) -> None:
    default_pool().trim()  # a lease may take a larger slab that is idle
    before, most = leased_bytes(), 0
    chunk = random.Random(1).randbytes(MIB)
    with store.writer("k") as writer:
        for _ in range(48):
            writer.write(chunk)
            most = max(most, leased_bytes() - before)
    assert LEASE <= most <= 3 * LEASE
    assert leased_bytes() == before
    assert writer.parts == 10
    assert store.get("k") == chunk * 48


def test_owned_bytes_are_sent_from_where_they_are(store: S3Store) -> None:
    before, chance = leased_bytes(), random.Random(2)
    pieces = [chance.randbytes(size) for size in (PART, 2 * PART + 7, 70_000, 3 * MIB)]
    with store.writer("k") as writer:
        for piece in pieces:
            writer.write_owned(piece)
            assert leased_bytes() == before
    assert store.get("k") == b"".join(pieces)


def test_every_part_has_the_checksum_of_its_bytes(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However its bytes came: copied, owned, or hashed by the caller, and across the ends of parts."""
    sent: list[tuple[int, int]] = []
    part = MultipartUpload.part

    def noting(upload: MultipartUpload, number: int, source: Source, crc: int | None) -> Request:
        assert crc is not None
        sent.append((crc, crc32c(b"".join(source.pieces(0, source.size)))))
        return part(upload, number, source, crc)

    monkeypatch.setattr(store.service, "sends_checksums", True)
    monkeypatch.setattr(MultipartUpload, "part", noting)
    chance = random.Random(3)
    pieces = [chance.randbytes(size) for size in (1, 300_001, 5 * MIB - 7, 100_003, 2 * PART, 64 << 10, 6 * MIB, 13)]
    with store.writer("k") as writer:
        for turn, piece in enumerate(pieces * 3):
            if turn % 3 == 0:
                writer.write(bytearray(piece))
            elif turn % 3 == 1:
                writer.write_owned(piece)
            else:
                writer.write_hashed(memoryview(piece), crc32c(piece))
    assert len(sent) > 10
    assert all(given == true for given, true in sent)
    assert store.get("k") == b"".join(pieces * 3)


def test_bytes_of_a_writer_are_hashed_once(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def counting(data: memoryview, crc: int = 0) -> int:
        hashed.append(len(data))
        return crc32c(data, crc)

    monkeypatch.setattr(store.service, "sends_checksums", True)
    for module in (streams_writer, cloud_writer, sources):
        monkeypatch.setattr(module, "crc32c", counting)
    data = random.Random(4).randbytes(13 * MIB + 5)
    for make in (bytearray, bytes):  # copied; kept as it is
        hashed.clear()
        with streams_writer.open_writer(store, "k", WriterOptions()) as writer:
            for start in range(0, len(data), MIB):
                writer.write(make(data[start : start + MIB]))
        assert len(data) <= sum(hashed) < len(data) + (64 << 10)  # few bytes are copied into the part
        assert writer.checksum() == format_crc32c(crc32c(data))
        assert store.get("k") == data


def test_owned_bytes_are_free_when_the_writer_has_ended(store: S3Store) -> None:
    for end in ("close", "abort"):
        buffer = bytearray(PART + 100_000)
        writer = store.writer("k")
        writer.write_owned(buffer)
        getattr(writer, end)()
        buffer.append(0)  # refused while anybody exports it


def test_flush_waits_for_full_parts(store: S3Store, moto_server: MotoServer) -> None:
    with store.writer("k") as writer:
        writer.write(bytes(2 * PART + 100))
        writer.flush()
        sent = [request.target for request in moto_server.requests() if "partNumber=" in request.target]
        assert len(sent) >= 2
        writer.write(b"end")
    assert store.head("k").size == 2 * PART + 103


def test_a_writer_has_no_threads(store: S3Store) -> None:
    before = set(threading.enumerate())
    with store.writer("k") as writer:
        writer.write(bytes(4 * PART))
        started = {thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("s3dlio")}
    assert started <= {"s3dlio-lane", "s3dlio-finalizer"}


class FakeLane:
    """A lane that takes parts, ends them never, and says how busy it was."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.taken: list[Submission] = []

    def computed(self) -> float:
        return self.seconds

    def submit(self, submission: Submission) -> bool:
        submission.lane = self  # type: ignore[assignment]
        self.taken.append(submission)
        return True


def test_another_lane_takes_parts_where_the_present_ones_compute_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("s3dlio.net.system.monotonic", lambda: now)
    lanes = [FakeLane() for _ in range(2)]
    sender = PartSender(lambda taken: lanes[taken] if taken < 2 else None, lambda steps: steps)
    request: Any = Request.__new__(Request)
    for number, computed in enumerate((0.0, 0.0, 0.3, 0.9, 1.9, 2.9, 3.9), 1):
        lanes[0].seconds = computed
        sender.send(number, request)
        now += 1.0
    counts = [len(lane.taken) for lane in lanes]
    assert counts == [4, 3]  # the second has had them since the first was busy, until it had as many


def test_a_source_of_pieces() -> None:
    data = random.Random(3).randbytes(1000)
    cuts = [0, 10, 10, 300, 301, 1000]
    source = PiecesSource([memoryview(data)[a:b] for a, b in itertools.pairwise(cuts)])
    assert source.size == 1000
    assert source.whole() is None
    for start, length in ((0, 1000), (5, 20), (299, 3), (990, 50), (1000, 1), (10, 0)):
        assert b"".join(source.pieces(start, length)) == data[start : start + length]
        assert b"".join(source.part(start, length).stretches(7)) == data[start : start + length]
    assert bytes(source.read(0, 1000)) == data[:10]
    assert bytes(source.read(1000, 5)) == b""
    assert list(MemorySource(memoryview(data)).stretches(7)) == [data]
