"""Parts of a streaming write on the lanes of its client: how many, out of which memory, on which lanes."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from s3dlio.engine.lanes import Lanes
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import MemorySource, PiecesSource
from s3dlio.net.message import Request
from s3dlio.net.resident import Submission
from s3dlio.stores.cloud.part_sender import PartSender
from s3dlio.stores.s3 import S3Store
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
