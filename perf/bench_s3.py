"""s3:// verb by verb, on a local nginx. Run: pytest perf/bench_s3.py --benchmark-only.

Batches are of a fixed number of operations, which ``extra_info`` tells: divide by it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import urllib3

from perf.rows import KEYS, LARGE, MEDIUM, SMALL
from s3dlio.aio import get_async
from s3dlio.client import Client

BATCH = 1000
VERSIONING = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
NAMES = {LARGE: "large", SMALL: "small"}

sizes = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["4KiB", "64MiB"])


def uris(size: int, count: int) -> list[str]:
    return [f"s3://bucket/{NAMES[size]}/{number}" for number in range(count)]


def batch(size: int) -> list[str]:
    return uris(size, BATCH if size == SMALL else 8)


# -- reading


@sizes
@pytest.mark.benchmark(group="get one")
def test_get(benchmark: Any, nginx: Client, size: int) -> None:
    uri = uris(size, 1)[0]
    assert len(benchmark(nginx.get, uri)) == size


@pytest.mark.benchmark(group="get one")
def test_get_range(benchmark: Any, nginx: Client) -> None:
    uri = uris(LARGE, 1)[0]
    assert len(benchmark(nginx.get_range, uri, 1 << 20, SMALL)) == SMALL


@sizes
@pytest.mark.benchmark(group="get one")
def test_get_into(benchmark: Any, nginx: Client, size: int) -> None:
    buffer = bytearray(size)
    assert benchmark(nginx.get_into, uris(size, 1)[0], buffer) == size


@sizes
@pytest.mark.benchmark(group="get one")
def test_get_to_file(benchmark: Any, nginx: Client, tmp_path: Path, size: int) -> None:
    assert benchmark(nginx.get_to_file, uris(size, 1)[0], tmp_path / "object") == size


@sizes
@pytest.mark.benchmark(group="get one")
def test_get_over_tls(benchmark: Any, nginx_tls: Client, size: int) -> None:
    assert len(benchmark(nginx_tls.get, uris(size, 1)[0])) == size


@pytest.mark.parametrize("scheme", ["az://perf", "gs:/"])
@sizes
@pytest.mark.benchmark(group="get one")
def test_get_of_other_clouds(benchmark: Any, nginx: Client, scheme: str, size: int) -> None:
    assert len(benchmark(nginx.get, f"{scheme}/bucket/{NAMES[size]}/0")) == size


@sizes
@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.benchmark(group="get many")
def test_get_many(benchmark: Any, nginx: Client, size: int, width: int) -> None:
    wanted = batch(size)
    benchmark.extra_info["operations"] = len(wanted)
    assert len(benchmark(nginx.get_many, wanted, width)) == len(wanted)


@sizes
@pytest.mark.benchmark(group="get many")
def test_iter_many(benchmark: Any, nginx: Client, size: int) -> None:
    wanted = batch(size)
    benchmark.extra_info["operations"] = len(wanted)
    assert benchmark(lambda: sum(len(data) for _, data in nginx.iter_many(wanted, max_in_flight=32))) == (
        len(wanted) * size
    )


@pytest.mark.benchmark(group="get many")
def test_get_many_outcomes(benchmark: Any, nginx: Client) -> None:
    wanted = batch(SMALL)
    benchmark.extra_info["operations"] = len(wanted)
    assert len(benchmark(nginx.get_many_outcomes, wanted, 32)) == len(wanted)


@sizes
@pytest.mark.benchmark(group="get many")
def test_get_many_stats(benchmark: Any, nginx: Client, size: int) -> None:
    wanted = batch(size)
    benchmark.extra_info["operations"] = len(wanted)
    assert benchmark(nginx.get_many_stats, wanted, 32) == (len(wanted), len(wanted) * size)


@sizes
@pytest.mark.benchmark(group="get many")
def test_get_many_over_tls(benchmark: Any, nginx_tls: Client, size: int) -> None:
    wanted = batch(size)
    benchmark.extra_info["operations"] = len(wanted)
    assert len(benchmark(nginx_tls.get_many, wanted, 32)) == len(wanted)


@pytest.mark.benchmark(group="get one")
def test_open_and_read(benchmark: Any, nginx: Client) -> None:
    def read() -> int:
        with nginx.open(uris(LARGE, 1)[0], "rb") as file:
            return sum(len(piece) for piece in iter(lambda: file.read(1 << 20), b""))

    assert benchmark(read) == LARGE


# -- writing


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=["4KiB", "8MiB"])
@pytest.mark.benchmark(group="put one")
def test_put_bytes(benchmark: Any, nginx: Client, size: int) -> None:
    benchmark(nginx.put_bytes, "s3://bucket/put/0", os.urandom(size))


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=["4KiB", "8MiB"])
@pytest.mark.benchmark(group="put many")
def test_put_many(benchmark: Any, nginx: Client, size: int) -> None:
    data = os.urandom(size)
    items = [(f"s3://bucket/put/{number}", data) for number in range(BATCH if size == SMALL else 16)]
    benchmark.extra_info["operations"] = len(items)
    benchmark(nginx.put_many, items, 32)


@pytest.mark.benchmark(group="put many")
def test_put_generated(benchmark: Any, nginx: Client) -> None:
    benchmark.extra_info["operations"] = 16
    benchmark(nginx.put, "s3://bucket/put/", num=16, size=MEDIUM, max_in_flight=8)


@pytest.mark.benchmark(group="put one")
def test_put_in_parts(benchmark: Any, moto: Client) -> None:
    benchmark.pedantic(moto.put_bytes, ("s3://bucket/parts", os.urandom(LARGE)), rounds=3)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.benchmark(group="put one")
def test_stream_writer(benchmark: Any, nginx: Client, compression: str) -> None:
    pieces = [os.urandom(64 << 10)] * 100

    def write() -> None:
        with nginx.create_stream_writer("s3://bucket/put/stream", {"compression": compression}) as writer:
            for piece in pieces:
                writer.write(piece)

    benchmark(write)


# -- asking


@pytest.mark.benchmark(group="ask")
def test_stat(benchmark: Any, nginx: Client) -> None:
    assert benchmark(nginx.stat, uris(SMALL, 1)[0])["size"] == SMALL


@pytest.mark.benchmark(group="ask")
def test_stat_many(benchmark: Any, nginx: Client) -> None:
    benchmark.extra_info["operations"] = BATCH
    assert len(benchmark(nginx.stat_many, batch(SMALL))) == BATCH


@pytest.mark.benchmark(group="ask")
def test_head(benchmark: Any, nginx: Client) -> None:
    assert benchmark(nginx.head, uris(SMALL, 1)[0]).size == SMALL


@pytest.mark.benchmark(group="ask")
def test_pre_stat_and_cache(benchmark: Any, nginx: Client) -> None:
    benchmark.extra_info["operations"] = BATCH
    assert benchmark(nginx.pre_stat_and_cache, batch(SMALL)) == BATCH


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.benchmark(group="ask")
def test_exists(benchmark: Any, nginx: Client, there: bool) -> None:
    assert benchmark(nginx.exists, "s3://bucket/small/" + ("0" if there else "none")) is there


@pytest.mark.benchmark(group="list 100,000 keys")
def test_list(benchmark: Any, nginx: Client) -> None:
    assert len(benchmark(nginx.list, "s3://listed/", recursive=True)) == KEYS


@pytest.mark.benchmark(group="list 100,000 keys")
def test_iterate(benchmark: Any, nginx: Client) -> None:
    assert sum(1 for _ in benchmark(lambda: [*nginx.iterate("s3://listed/", recursive=True)])) == KEYS


@pytest.mark.parametrize("verb", ["list_keys", "list_full_uris"])
@pytest.mark.benchmark(group="list 100,000 keys")
def test_other_lists(benchmark: Any, nginx: Client, verb: str) -> None:
    assert len(benchmark(getattr(nginx, verb), "s3://listed/", recursive=True)) == KEYS


@pytest.mark.benchmark(group="list 1,000 keys of 20 directories")
@pytest.mark.parametrize("fan_out", [1, 8])
def test_fan_out(benchmark: Any, moto: Client, fan_out: int) -> None:
    moto.put_many([(f"s3://bucket/wide/{number % 20}/{number}", b"x") for number in range(BATCH)], 8)
    assert len(benchmark(moto.list, "s3://bucket/wide/", recursive=True, fan_out=fan_out)) == BATCH


@pytest.mark.benchmark(group="containers")
def test_list_containers(benchmark: Any, moto: Client) -> None:
    assert "bucket" in [found["name"] for found in benchmark(moto.list_containers)]


@pytest.mark.benchmark(group="containers")
def test_create_and_delete_bucket(benchmark: Any, moto: Client) -> None:
    def both() -> None:
        moto.create_bucket("s3://short-lived")
        moto.delete_bucket("s3://short-lived")

    benchmark(both)


# -- links and tags


@pytest.mark.benchmark(group="links and tags")
def test_presign(benchmark: Any, nginx: Client) -> None:
    assert "X-Amz-Signature" in benchmark(nginx.presign, "s3://bucket/small/0")


@pytest.mark.benchmark(group="links and tags")
def test_tags(benchmark: Any, moto: Client) -> None:
    moto.put_bytes("s3://bucket/tagged", b"x")

    def both() -> dict[str, str]:
        moto.put_tags("s3://bucket/tagged", {"a": "b"})
        return moto.get_tags("s3://bucket/tagged")

    assert benchmark(both) == {"a": "b"}


# -- deleting, copying, trees


@pytest.mark.benchmark(group="delete")
def test_delete(benchmark: Any, nginx: Client) -> None:
    def fresh() -> tuple[tuple[str], dict[str, Any]]:
        nginx.put_bytes("s3://bucket/put/gone", b"x")
        return ("s3://bucket/put/gone",), {}

    benchmark.pedantic(nginx.delete, setup=fresh, rounds=200)


@pytest.mark.benchmark(group="delete")
def test_delete_many(benchmark: Any, moto: Client) -> None:
    gone = [f"s3://bucket/gone/{number}" for number in range(BATCH)]

    def fresh() -> tuple[tuple[list[str]], dict[str, Any]]:
        moto.put_many([(uri, b"x") for uri in gone], 8)
        return (gone,), {}

    benchmark.extra_info["operations"] = BATCH
    benchmark.pedantic(moto.delete_many, setup=fresh, rounds=3)


@pytest.mark.benchmark(group="delete")
def test_rmdir(benchmark: Any, moto: Client) -> None:
    def fresh() -> tuple[tuple[str, bool], dict[str, Any]]:
        moto.mkdir("s3://bucket/gone/")
        moto.put_many([(f"s3://bucket/gone/{number}", b"x") for number in range(BATCH)], 8)
        return ("s3://bucket/gone/", True), {}

    benchmark.extra_info["operations"] = BATCH
    benchmark.pedantic(moto.rmdir, setup=fresh, rounds=3)


@pytest.mark.benchmark(group="copy")
def test_move(benchmark: Any, moto: Client) -> None:
    def fresh() -> tuple[tuple[str, str], dict[str, Any]]:
        moto.put_bytes("s3://bucket/here", bytes(SMALL))
        return ("s3://bucket/here", "s3://bucket/there"), {}

    benchmark.pedantic(moto.move, setup=fresh, rounds=20)


@pytest.mark.benchmark(group="copy")
def test_copy_of_a_tree(benchmark: Any, moto: Client, files: Path) -> None:
    moto.upload(str(files), "s3://bucket/whole/")
    benchmark.extra_info["operations"] = 200
    summary = benchmark.pedantic(
        moto.copy, ("s3://bucket/whole/", "s3://bucket/again/"), {"recursive": True}, rounds=3
    )
    assert summary.succeeded == 200


@pytest.mark.benchmark(group="copy")
def test_copy(benchmark: Any, moto: Client) -> None:
    moto.put_bytes("s3://bucket/copied", os.urandom(SMALL))
    benchmark(moto.copy, "s3://bucket/copied", "s3://bucket/copy")


@pytest.mark.benchmark(group="trees of 200 files of 4 KiB")
def test_upload(benchmark: Any, nginx: Client, files: Path) -> None:
    benchmark.extra_info["operations"] = 200
    assert benchmark(nginx.upload, str(files), "s3://bucket/put/").succeeded == 200


@pytest.mark.benchmark(group="trees of 200 files of 4 KiB")
def test_download(benchmark: Any, moto: Client, files: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    moto.upload(str(files), "s3://bucket/tree/")
    target = tmp_path_factory.mktemp("download")
    benchmark.extra_info["operations"] = 200
    summary = benchmark.pedantic(moto.download, ("s3://bucket/tree/", target), rounds=3)
    assert summary.succeeded == 200


@pytest.mark.benchmark(group="trees of 200 files of 4 KiB")
def test_check(benchmark: Any, moto: Client, files: Path) -> None:
    moto.upload(str(files), "s3://bucket/checked/")
    benchmark.extra_info["operations"] = 200
    summary = benchmark.pedantic(moto.check, (str(files), "s3://bucket/checked/"), rounds=3)
    assert summary.identical


@pytest.mark.benchmark(group="trees of 200 files of 4 KiB")
def test_find(benchmark: Any, moto: Client, files: Path) -> None:
    moto.upload(str(files), "s3://bucket/found/")
    benchmark.extra_info["operations"] = 200
    found = benchmark.pedantic(lambda: list(moto.find("s3://bucket/found/", max_size=1 << 20)), rounds=3)
    assert len(found) == 200


# -- versions and open uploads


@pytest.mark.benchmark(group="versions and uploads")
def test_versions(benchmark: Any, moto: Client) -> None:
    bucket = f"{moto.settings.s3.endpoint_url}/versions"
    assert urllib3.request("PUT", bucket).status == 200
    assert urllib3.request("PUT", bucket + "?versioning", body=VERSIONING).status == 200
    uri = "s3://versions/object"

    def fresh() -> tuple[tuple[()], dict[str, Any]]:
        for number in range(2):
            moto.put_bytes(uri, bytes(number))
        return (), {}

    def all_three() -> int:
        moto.restore_version(uri, moto.list_versions(uri)[-1].version_id)
        return moto.delete_versions(uri).succeeded

    assert benchmark.pedantic(all_three, setup=fresh, rounds=20) >= 1


@pytest.mark.benchmark(group="versions and uploads")
def test_uploads(benchmark: Any, moto: Client) -> None:
    def both() -> int:
        return len(moto.list_uploads("s3://bucket/")) + len(moto.abort_uploads("s3://bucket/"))

    assert benchmark(both) == 0


@pytest.mark.parametrize("changed", [0, 200])
@pytest.mark.benchmark(group="trees of 200 files of 4 KiB")
def test_sync(benchmark: Any, moto: Client, files: Path, changed: int) -> None:
    target = f"s3://bucket/synced-{changed}/"
    if not changed:
        moto.sync(str(files), target)

    def fresh() -> tuple[tuple[str, str], dict[str, Any]]:
        if changed:
            moto.rmdir(target, recursive=True)
        return (str(files), target), {}

    benchmark.extra_info["operations"] = 200
    assert benchmark.pedantic(moto.sync, setup=fresh, rounds=3).succeeded == changed


# -- awaitable


@pytest.mark.benchmark(group="get many")
def test_get_async(benchmark: Any, nginx: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dlio.api._default", nginx)
    wanted = batch(SMALL)

    async def gather() -> int:
        return len(await asyncio.gather(*(get_async(uri) for uri in wanted)))

    benchmark.extra_info["operations"] = len(wanted)
    assert benchmark(lambda: asyncio.run(gather())) == len(wanted)


@pytest.mark.benchmark(group="get many")
def test_iter_many_async(benchmark: Any, nginx: Client) -> None:
    wanted = batch(SMALL)

    async def read() -> int:
        return sum([len(data) async for _, data in nginx.iter_many_async(wanted, max_in_flight=32)])

    benchmark.extra_info["operations"] = len(wanted)
    assert benchmark(lambda: asyncio.run(read())) == len(wanted) * SMALL
