"""Bytes of an upload count as done when the service has answered for them, not when they were sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3dlio.client import Client
from s3dlio.errors import BatchError
from tests.servers.memory_s3 import MemoryS3
from tests.servers.scripted import Close, Expect, ScriptedServer, respond
from tests.wire.s3_harness import settings_of


class Told:
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.names = 0

    def add(self, total_objects: int, total_bytes: int) -> None: ...

    def advance(self, objects: int, bytes: int) -> None:
        self.steps.append((objects, bytes))

    def look(self, names: int) -> None:
        self.names += names

    def close(self) -> None: ...


@pytest.mark.parametrize("verify", [False, True])
def test_a_whole_object_counts_once_it_is_answered(tmp_path: Path, verify: bool):
    (tmp_path / "a").write_bytes(bytes(300_000))
    told = Told()
    refused = [Expect(), respond("403 Forbidden")]
    with ScriptedServer([refused]) as server, pytest.raises(BatchError):
        Client(settings_of(server.endpoint)).upload(tmp_path / "a", "s3://b/", progress=told, verify=verify)
    assert told.steps == [(1, 0)]  # the object is through, and no byte of it is there
    told = Told()
    lost = [Expect(), Close()]
    with ScriptedServer([lost, [Expect(), respond(headers=[("etag", '"e"')])]]) as server:
        Client(settings_of(server.endpoint)).upload(tmp_path / "a", "s3://b/", progress=told)
    assert told.steps == [(0, 300_000), (1, 0)]
    assert told.names == 1


def test_parts_count_one_by_one(tmp_path: Path):
    mib = 1 << 20
    (tmp_path / "a").write_bytes(bytes(21 * mib))
    told = Told()
    with MemoryS3() as server:
        settings = settings_of(server.endpoint, multipart={"part_size": 8 * mib, "threshold": 8 * mib})
        Client(settings).upload(tmp_path / "a", "s3://b/", progress=told)
    assert sorted(told.steps[:-1]) == [(0, 5 * mib), (0, 8 * mib), (0, 8 * mib)]
    assert told.steps[-1] == (1, 0)
