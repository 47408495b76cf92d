"""Many ranges at once: into the caller's memory, or to functions; near small ones by one request."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.errors import BatchError, IntegrityError, ObjectNotFoundError, PreconditionFailedError
from s3dlio.memory.pool import default_pool
from s3dlio.transfer.range_reads import GAP, RangeRead, merged, read_ranges
from s3dlio.types import Conditions, Observation
from tests.leases import assert_returned
from tests.servers import Server

MIB = 1 << 20


@pytest.fixture(params=["file", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Client, str]]:
    if request.param == "s3":
        server: Server = request.getfixturevalue("moto_server")
        with Client(Settings.resolve(server.env)) as client:
            client.create_bucket("s3://ranges")
            yield client, "s3://ranges"
    else:
        with Client() as client:
            yield client, f"file://{tmp_path}" if request.param == "file" else "memory://ranges"


def test_ranges_land_where_they_belong(root: tuple[Client, str]) -> None:
    client, base = root
    data = random.Random(1).randbytes(3 * MIB)
    client.put_bytes(f"{base}/a", data)
    client.put_bytes(f"{base}/b", data[::-1])
    chance = random.Random(2)
    wanted, reads, seen = [], [], {}
    for number in range(60):
        name, whole = chance.choice((("a", data), ("b", data[::-1])))
        offset = chance.randrange(len(data))
        length = min(chance.choice((0, 1, 100, 70_000, MIB + 1)), len(data) - offset)
        store, key = client.store_for(f"{base}/{name}")
        part = whole[offset : offset + length]
        if number % 2:
            place = memoryview(bytearray(length))
            reads.append(RangeRead(store, key, offset, length, place=place))
            wanted.append((place, part))
        else:
            def land(found: memoryview, number: int = number) -> None:
                seen[number] = bytes(found)

            reads.append(RangeRead(store, key, offset, length, land=land))
            if length:
                wanted.append((number, part))
    before = default_pool().stats().leased
    read_ranges(client, reads, width=8)
    assert all(bytes(seen[found] if isinstance(found, int) else found) == part for found, part in wanted)
    assert_returned(before)


def test_small_ranges_near_each_other_are_one_request() -> None:
    with Client() as client:
        client.put_bytes("memory://near/x", bytes(4 * MIB))
        store, key = client.store_for("memory://near/x")

        def at(offset: int, length: int = 10) -> RangeRead:
            return RangeRead(store, key, offset, length, place=memoryview(bytearray(length)))

        assert [(read.offset, read.length) for read in merged([at(20), at(0), at(30 + GAP), at(41 + 2 * GAP)])] == [
            (0, 40 + GAP), (41 + 2 * GAP, 10),
        ]  # fmt: skip
        assert len(merged([at(0), at(10, MIB), at(10 + MIB)])) == 3
        seen: list[Observation] = []
        client.add_observer(seen.append)
        read_ranges(client, [at(0), at(100), at(5000)])
        assert [one.range for one in seen] == [(0, 5010)]


def test_failures_are_named_and_leave_the_callers_buffer_free(root: tuple[Client, str]) -> None:
    client, base = root
    client.put_bytes(f"{base}/short", bytes(100))
    store, key = client.store_for(f"{base}/short")
    buffer = bytearray(200)
    with pytest.raises(BatchError) as caught:
        read_ranges(client, [RangeRead(store, key, 50, 100, place=memoryview(buffer)[:100])])
    assert isinstance(caught.value.__cause__, IntegrityError)
    assert f"{base}/short" in str(caught.value)
    buffer.append(1)  # nobody exports it
    with pytest.raises(BatchError) as caught:
        read_ranges(client, [RangeRead(store, "nowhere/else", 0, 10, land=lambda data: None)])
    assert isinstance(caught.value.__cause__, ObjectNotFoundError)
    other = Conditions(if_match='"another"')
    with pytest.raises(BatchError) as caught:
        read_ranges(client, [RangeRead(store, key, 0, 10, land=lambda data: None, conditions=other)])
    assert isinstance(caught.value.__cause__, PreconditionFailedError)
