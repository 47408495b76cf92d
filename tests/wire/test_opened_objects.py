"""The requests that an opened object of a cloud costs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from s3dlio.client import Client
from s3dlio.errors import ObjectChangedError
from s3dlio.types import Observation
from tests.servers.moto_server import MotoServer

MIB = 1 << 20
BUCKET = "s3://opened-objects"


@pytest.fixture
def asked(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, list[Observation]]]:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    with Client() as client:
        client.create_bucket(BUCKET + "/")
        seen: list[Observation] = []
        client.add_observer(seen.append)
        yield client, seen


def _ranges(seen: list[Observation]) -> list[tuple[int, int | None] | None]:
    return sorted(one.range or (-1, None) for one in seen if one.operation == "GET_RANGE")


def test_a_small_object_is_one_request(asked: tuple[Client, list[Observation]]) -> None:
    client, seen = asked
    for name, size in (("small", 100_000), ("empty", 0)):
        client.put_bytes(f"{BUCKET}/{name}", bytes(size))
        seen.clear()
        with client.open(f"{BUCKET}/{name}", "rb") as file:
            assert file.read() == bytes(size)
            file.seek(-min(size, 5), os.SEEK_END)
            assert file.read() == bytes(min(size, 5))
        assert [one.operation for one in seen] == ["GET_RANGE"]


def test_an_object_of_just_as_many_bytes_as_are_asked_for_at_first(asked: tuple[Client, list[Observation]]) -> None:
    client, seen = asked
    client.put_bytes(f"{BUCKET}/even", bytes(MIB))
    seen.clear()
    with client.open(f"{BUCKET}/even", "rb") as file:
        assert len(file.read()) == MIB
    assert [one.operation for one in seen] == ["GET_RANGE", "HEAD"]


def test_a_long_stretch_is_ranges_that_go_to_their_places(asked: tuple[Client, list[Observation]]) -> None:
    client, seen = asked
    data = os.urandom(20 * MIB)
    client.put_bytes(f"{BUCKET}/long", data)
    seen.clear()
    into = bytearray(20 * MIB)
    with client.open(f"{BUCKET}/long", "rb", buffering=0) as file:
        assert file.readinto(into) == 20 * MIB  # type: ignore[attr-defined]
    assert into == data
    assert _ranges(seen) == [(0, MIB), (MIB, 8 * MIB), (9 * MIB, 8 * MIB), (17 * MIB, 3 * MIB)]


def test_an_object_that_is_replaced_in_mid_read_is_noticed_by_every_range(
    asked: tuple[Client, list[Observation]]
) -> None:
    client, _ = asked
    client.put_bytes(f"{BUCKET}/replaced", bytes(20 * MIB))
    with client.open(f"{BUCKET}/replaced", "rb", buffering=0) as file:
        client.put_bytes(f"{BUCKET}/replaced", b"\1" * (20 * MIB))
        into = bytearray(20 * MIB)
        with pytest.raises(ObjectChangedError) as caught:
            file.readinto(into)  # type: ignore[attr-defined]
        assert caught.value.uri == f"{BUCKET}/replaced"
        into.append(0)  # nothing exports it, though the error is kept
