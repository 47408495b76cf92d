"""Whatever a client does is spread over the endpoints that it has, by what two real servers were asked for."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3dlio
from s3dlio import Client
from s3dlio.errors import NetworkError
from s3dlio.net import system
from tests.e2e.conftest import Cli
from tests.servers.memory_s3 import MemoryS3

MIB = 1 << 20


@pytest.fixture(scope="module")
def doors() -> Iterator[list[MemoryS3]]:
    """Two servers that serve the same objects."""
    with MemoryS3() as one, MemoryS3(beside=one) as other:
        yield [one, other]


@pytest.fixture
def counts(doors: list[MemoryS3], monkeypatch: pytest.MonkeyPatch, fresh_settings: None) -> Counts:
    for name, value in doors[0].env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("S3_ENDPOINT_URIS", ",".join(door.endpoint for door in doors))
    monkeypatch.setattr(system, "uniform", lambda low, high: low)  # one after the other, always in the same order
    s3dlio.configure_s3()
    doors[0].clear()
    counts = Counts(doors)
    counts.take()
    return counts


class Counts:
    """What the servers were asked for since the last time."""

    def __init__(self, doors: list[MemoryS3]) -> None:
        self._doors = doors

    def take(self) -> list[Counter[str]]:
        return [Counter(door.counts()) for door in self._doors]

    def check(self, *methods: str) -> None:
        """All doors had some of these requests; those of a method differ by what a few requests in turn may."""
        found = self.take()
        for method in methods:
            asked = [each[method] for each in found]
            assert min(asked) > 0, (method, found)
            assert max(asked) - min(asked) <= 0.5 * sum(asked) + 1, (method, found)


def test_single_calls(counts: Counts) -> None:
    for number in range(20):
        s3dlio.put_bytes(f"s3://bucket/{number}", b"x" * number)
    for number in range(20):
        assert s3dlio.get(f"s3://bucket/{number}") == b"x" * number
    for number in range(20):
        assert s3dlio.stat(f"s3://bucket/{number}")["size"] == number
    for number in range(20):
        s3dlio.delete(f"s3://bucket/{number}")
    counts.check("PUT", "GET", "HEAD", "DELETE")


def test_batches(counts: Counts) -> None:
    items = [(f"s3://bucket/d/{number:03}", b"%d" % number) for number in range(200)]
    s3dlio.put_many(items)
    counts.check("PUT")
    uris = s3dlio.list("s3://bucket/d/")
    assert uris == [uri for uri, _ in items]
    assert dict(s3dlio.get_many(uris)) == dict(items)
    assert sum(1 for _ in s3dlio.iter_many(uris)) == 200
    assert len(s3dlio.get_many_stats(uris, procs=2)) > 0
    counts.check("GET")
    seen = s3dlio.get_endpoint_stats()
    assert [each["uri"] for each in seen] == [door.endpoint for door in counts._doors]
    assert all(each["requests"] == each["total_requests"] > 200 for each in seen)


def test_awaited_calls(counts: Counts) -> None:
    async def many() -> None:
        await asyncio.gather(*(s3dlio.put_bytes_async(f"s3://bucket/{number}", b"1") for number in range(40)))
        await asyncio.gather(*(s3dlio.get_async(f"s3://bucket/{number}") for number in range(40)))

    asyncio.run(many())
    counts.check("PUT", "GET")


def test_one_large_object_goes_and_comes_through_both(counts: Counts, tmp_path: Path) -> None:
    data = os.urandom(48 * MIB)
    with Client(multipart={"threshold": "8MiB", "part_size": "5MiB"}, range={"chunk": "5MiB"}) as client:
        client.put_bytes("s3://bucket/large", data)
        counts.check("PUT")
        assert client.get("s3://bucket/large") == data
        counts.check("GET")
        client.download("s3://bucket/large", str(tmp_path))
        assert (tmp_path / "large").read_bytes() == data
        counts.check("GET")
        with client.open("s3://bucket/written", "wb") as file:
            for start in range(0, len(data), MIB):
                file.write(data[start : start + MIB])
        counts.check("PUT")
        writer = client.create_stream_writer("s3://bucket/streamed")
        writer.write(data)
        writer.finalize()
        counts.check("PUT")
        with client.open("s3://bucket/written", "rb") as file:
            assert file.read() == data
        assert client.get("s3://bucket/streamed") == data
        counts.check("GET")


def test_a_writer_of_parts(counts: Counts) -> None:
    data = os.urandom(24 * MIB)
    with s3dlio.MultipartUploadWriter.from_uri("s3://bucket/parts", part_size=5 * MIB) as writer:
        writer.write(data)
    counts.check("PUT")
    assert s3dlio.get("s3://bucket/parts") == data


def test_transfers(counts: Counts, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    for number in range(40):
        (source / f"{number}").write_bytes(b"x" * (1000 + number))
    s3dlio.upload(f"{source}/", "s3://bucket/up/")
    counts.check("PUT")
    s3dlio.copy("s3://bucket/up/", "s3://bucket/copied/", recursive=True)
    counts.check("PUT")
    s3dlio.download("s3://bucket/copied/", f"{back}/", recursive=True)
    counts.check("GET")
    assert sorted(path.name for path in back.iterdir()) == sorted(path.name for path in source.iterdir())
    (source / "more").write_bytes(b"1")
    s3dlio.sync(f"{source}/", "s3://bucket/up/")
    assert len(s3dlio.list("s3://bucket/up/")) == 41


def test_loaders_and_checkpoints(counts: Counts) -> None:
    s3dlio.put_many([(f"s3://bucket/samples/{number:03}", b"s%03d" % number) for number in range(64)])
    counts.take()
    loader = s3dlio.PyBytesAsyncDataLoader(s3dlio.PyDataset("s3://bucket/samples/"), {"batch_size": 8})
    assert sorted(bytes(item) for batch in loader for item in batch) == [b"s%03d" % number for number in range(64)]
    counts.check("GET")
    data = os.urandom(20 * MIB)
    store = s3dlio.CheckpointStore("s3://bucket/checkpoints/")
    store.save("run", data)
    counts.check("PUT")
    assert store.load("run") == data


def test_distributed_checkpoints(counts: Counts) -> None:
    torch = pytest.importorskip("torch")
    from torch.distributed import checkpoint as dcp

    from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter

    state = {f"layer{number}": torch.rand(1 << 19) for number in range(16)}
    dcp.save(state, storage_writer=S3dlioStorageWriter("s3://bucket/run/step-1"), no_dist=True)
    counts.check("PUT")
    loaded = {name: torch.zeros_like(value) for name, value in state.items()}
    dcp.load(loaded, storage_reader=S3dlioStorageReader("s3://bucket/run/step-1"), no_dist=True)
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert min(each["GET"] for each in counts.take()) > 0


def test_file_systems(counts: Counts) -> None:
    pytest.importorskip("fsspec")
    from s3dlio.fsspec.schemes import S3FileSystem

    s3dlio.put_many([(f"s3://bucket/files/{number}", b"f") for number in range(20)])
    counts.take()
    urls = [door.endpoint for door in counts._doors]
    files = S3FileSystem(endpoints=urls, load_balance_strategy="least_connections")
    assert len(files.cat([f"bucket/files/{number}" for number in range(20)])) == 20
    counts.check("GET")


def test_the_command_line(counts: Counts, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3_ENDPOINT_URIS")
    urls = ",".join(door.endpoint.removeprefix("http://") for door in counts._doors)
    words = ("--endpoints", urls, "--load-balance", "least_connections")
    cli(*words, "put", "s3://bucket/cli/", "-n", "40", "-s", "1000")
    counts.check("PUT")
    cli("get", "s3://bucket/cli/", *words)
    counts.check("GET")
    cli("cp", "-r", "s3://bucket/cli/", tmp_path, *words)
    assert len(list(tmp_path.rglob("*.dat"))) == 40
    counts.check("GET")
    cli("rm", "-r", "s3://bucket/cli/", *words)
    refused = cli("ls", "s3://bucket/", "--endpoints", "http://h{1...40}:9000", code=1)
    assert "Too many endpoints: 40" in refused.err
    cli("ls", "s3://bucket/", *words, "--endpoint", "http://h", code=2)
    shown = {line["name"]: line for line in cli("config", "--json", *words).records if "name" in line}
    assert shown["s3.endpoints"]["value"] == ",".join(f"s3://{url}" for url in urls.split(","))


def test_a_rank_has_its_own_endpoint(counts: Counts) -> None:
    s3dlio.put_bytes("s3://bucket/k", b"1")
    program = "import s3dlio; [s3dlio.get('s3://bucket/k') for _ in range(10)]"
    counts.take()
    for rank, variable in enumerate(("SLURM_PROCID", "OMPI_COMM_WORLD_RANK")):
        env = {**os.environ, variable: str(rank), "S3_LOAD_BALANCE_STRATEGY": "rank"}
        subprocess.run([sys.executable, "-c", program], env=env, check=True)
        assert [each["GET"] for each in counts.take()] == [10 * (rank == 0), 10 * (rank == 1)]


def test_a_server_that_dies_is_routed_around_and_used_again() -> None:
    with MemoryS3() as one, MemoryS3(beside=one) as other:
        env = one.env
        keys = {"access_key_id": env["AWS_ACCESS_KEY_ID"], "secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
        with Client(endpoints=[one.endpoint, other.endpoint], **keys) as client:
            client.put_many([(f"s3://bucket/{number}", b"1") for number in range(50)])
            other.stop()
            uris = [f"s3://bucket/{number}" for number in range(50)]
            assert len(client.get_many(uris)) == 50
            client.put_many([(f"s3://bucket/new/{number}", b"2") for number in range(50)])
            for uri in uris:
                client.get(uri)
            stats = client.get_endpoint_stats()
            assert [each["healthy"] for each in stats] == [True, False]
            assert stats[0]["error_count"] == 0 < stats[1]["error_count"]
            assert client.get_total_stats()["active_requests"] == 0
            one.stop()
            with pytest.raises(NetworkError, match="none of 2 endpoints answers"):
                client.get(uris[0])


def test_awaited_calls_wait_for_room_and_may_be_given_up(counts: Counts) -> None:
    s3dlio.put_many([(f"s3://bucket/{number}", b"1") for number in range(20)])
    s3dlio.configure("s3", endpoint_max_in_flight=2)

    async def some() -> None:
        calls = [asyncio.create_task(s3dlio.get_async(f"s3://bucket/{number % 20}")) for number in range(100)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in ended[::2]] == [asyncio.CancelledError] * 50
        assert ended[1::2] == [b"1"] * 50
        assert await asyncio.gather(*(s3dlio.get_async(f"s3://bucket/{number}") for number in range(20)))

    asyncio.run(some())
    assert [each["active_requests"] for each in s3dlio.get_endpoint_stats()] == [0, 0]


def test_a_client_travels_with_its_endpoints(counts: Counts) -> None:
    with Client(endpoints=[door.endpoint for door in counts._doors]) as client:
        other = pickle.loads(pickle.dumps(client))
        assert other.settings.s3.endpoints == client.settings.s3.endpoints
        other.put_many([(f"s3://bucket/{number}", b"1") for number in range(20)])
        counts.check("PUT")
        if (child := os.fork()) == 0:
            done = [other.get(f"s3://bucket/{number}") for number in range(20)]
            os._exit(0 if done == [b"1"] * 20 else 1)
        assert os.waitpid(child, 0)[1] == 0
        counts.check("GET")


def test_a_process_pool_spreads_too(counts: Counts) -> None:
    program = (
        "import s3dlio, json\n"
        "if __name__ == '__main__':\n"
        "    s3dlio.put_many([(f's3://bucket/{n}', b'x') for n in range(100)])\n"
        "    found = s3dlio.get_many_stats([f's3://bucket/{n}' for n in range(100)], procs=2)\n"
        "    print(json.dumps(str(found)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)
    counts.check("PUT", "GET")
