"""The functions on S3: batches on lanes, listings, buckets, clients side by side, forked children."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3dlio
from s3dlio import api
from s3dlio.config import settings
from s3dlio.errors import BatchError, ObjectNotFoundError
from tests.servers import Server

BUCKET = "api-tests"


@pytest.fixture(scope="module")
def _bucket(moto_server: Server) -> None:
    with s3dlio.Client(settings.Settings.resolve(moto_server.env)) as client:
        client.create_bucket(BUCKET)


@pytest.fixture
def base(moto_server: Server, _bucket: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket; the default client reaches it as a script would, by the environment."""
    settings.reset_configured()
    monkeypatch.setattr(api, "_default", None)
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    yield f"s3://{BUCKET}/"
    s3dlio.delete(f"s3://{BUCKET}/", recursive=True)
    settings.reset_configured()


def test_many_objects(base: str) -> None:
    items = [(f"{base}many/{i:03}", b"x" * i) for i in range(150)]
    s3dlio.put_many(items, max_in_flight=16)
    uris = [uri for uri, _ in items]
    assert s3dlio.list(f"{base}many/") == uris
    assert s3dlio.get_many([*reversed(uris), uris[7]], 32) == [*reversed(items), items[7]]
    assert s3dlio.get_many_stats(uris) == (150, sum(range(150)))
    assert [about["size"] for about in s3dlio.stat_many(uris[:5])] == [0, 1, 2, 3, 4]
    s3dlio.delete_many(uris[1:])
    assert s3dlio.list(f"{base}many/") == uris[:1]


def test_what_a_uri_selects(base: str) -> None:
    names = ["a", "a/b", "a/c/d", "ab", "odd/a b+c%41?#ä", "odd//x", "odd/../y"]
    s3dlio.put_many([(base + name, name.encode()) for name in names])
    assert s3dlio.list_keys(base, recursive=True) == sorted(names)
    assert s3dlio.list(f"s3://{BUCKET}") == [base + name for name in ("a", "a/", "ab", "odd/")]
    assert s3dlio.list(base + "a") == [base + "a", base + "a/"]
    assert s3dlio.list(base + "a", recursive=True) == [base + name for name in ("a", "a/b", "a/c/d")]
    assert s3dlio.list(base + "a*") == [base + "a", base + "ab"]
    assert s3dlio.list(base, recursive=True, pattern=r"[cd]$") == [base + "a/c/d"]
    for name in names:
        assert s3dlio.get(base + name) == name.encode()
    s3dlio.delete(base + "a", recursive=True)
    assert s3dlio.list_keys(base) == ["ab", "odd/"]


def test_what_is_not_there(base: str) -> None:
    assert not s3dlio.exists(base + "nope")
    assert s3dlio.list(base + "nope/") == []
    s3dlio.delete(base + "nope")
    with pytest.raises(ObjectNotFoundError):
        s3dlio.get(base + "nope")
    with pytest.raises(ObjectNotFoundError):
        s3dlio.list("s3://no-such-bucket-here/")
    s3dlio.put_bytes(base + "there", b"x")
    with pytest.raises(BatchError) as caught:
        s3dlio.get_many([base + "there", base + "nope"])
    assert [failure.uri for failure in caught.value.failures] == [base + "nope"]
    outcomes = s3dlio.get_many_outcomes([base + "nope", base + "there"])
    assert isinstance(outcomes[0][1], ObjectNotFoundError)
    assert outcomes[1][1] == b"x"


def test_buckets(base: str, moto_server: Server) -> None:
    s3dlio.create_bucket("api-tests-other")
    assert "api-tests-other" in [bucket["name"] for bucket in s3dlio.list_containers()]
    host = moto_server.endpoint.partition("://")[2]
    assert f"s3://{host}/api-tests-other" in [bucket["uri"] for bucket in s3dlio.list_containers(f"s3://{host}")]
    assert "s3://api-tests-other" in [bucket["uri"] for bucket in s3dlio.list_containers("s3://api-tests-other")]
    s3dlio.delete_bucket("s3://api-tests-other/")
    assert "api-tests-other" not in [bucket["name"] for bucket in s3dlio.list_containers("s3://")]


def test_a_uri_that_names_its_server(base: str, moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3dlio.put_bytes(base + "host/x", b"1")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    s3dlio.configure_s3()
    server = f"s3://{moto_server.endpoint.partition('://')[2]}/{BUCKET}/"
    assert s3dlio.get(server + "host/x") == b"1"
    assert s3dlio.list(server + "host/") == [server + "host/x"]
    s3dlio.configure_s3(endpoint_url=moto_server.endpoint)  # works after the first call
    assert s3dlio.get(base + "host/x") == b"1"


def test_schemes_in_one_batch(base: str, tmp_path: Path) -> None:
    uris = [
        uri
        for i in range(20)
        for uri in (f"file://{tmp_path}/{i}", f"{base}mixed/{i}", f"memory://mixed-with-s3/{i}")
    ]
    s3dlio.put_many([(uri, uri.encode()) for uri in uris])
    assert s3dlio.get_many(uris) == [(uri, uri.encode()) for uri in uris]


def test_the_coroutines_side_by_side(base: str) -> None:
    async def work() -> None:
        await asyncio.gather(*(s3dlio.put_bytes_async(f"{base}aio/{i}", b"%d" % i) for i in range(20)))
        found = await asyncio.gather(*(s3dlio.get_async(f"{base}aio/{i}") for i in range(20)))
        assert found == [b"%d" % i for i in range(20)]
        assert len(await s3dlio.get_many_async(await s3dlio.list_async(f"{base}aio/"))) == 20

    asyncio.run(work())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_after_requests_of_its_parent(base: str) -> None:
    s3dlio.put_many([(f"{base}fork/{i}", b"x") for i in range(10)])
    uris = s3dlio.list(f"{base}fork/")
    assert len(s3dlio.get_many(uris)) == 10
    pid = os.fork()
    if pid == 0:
        os._exit(0 if s3dlio.get_many_stats(uris) == (10, 10) and s3dlio.get(uris[0]) == b"x" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert s3dlio.get(uris[0]) == b"x"


def test_clients_with_credentials_of_their_own(base: str, moto_server: Server) -> None:
    s3dlio.put_bytes(base + "x", b"1")
    environ = {name: value for name, value in moto_server.env.items() if "ACCESS_KEY" not in name}
    with s3dlio.Client(settings.Settings.resolve(environ), access_key_id="me", secret_access_key="mine") as client:
        assert client.get(base + "x") == b"1"
        assert "mine" not in repr(client)


def test_the_store_level(base: str) -> None:
    store = s3dlio.store_for_uri(f"{base}level/")
    store.put_multipart("big", b"x" * (6 << 20), 5 << 20)
    assert store.stat("big")["etag"].endswith('-2"')
    store.put("x", b"data", content_type="text/plain", metadata={"a": "1"})
    store.update_metadata("x", {"b": "2"})
    store.update_properties("x", cache_control="no-cache", storage_class="STANDARD_IA")
    store.update_properties("x", content_language="de")
    about = store.stat("x")
    assert (about["metadata"], about["content_type"], about["cache_control"]) == (
        {"a": "1", "b": "2"}, "text/plain", "no-cache",
    )  # fmt: skip
    assert (about["content_language"], about["storage_class"]) == ("de", "STANDARD_IA")
    store.rename("x", "y")
    assert store.list() == [f"{base}level/big", f"{base}level/y"]
    store.create_container("level-beside")
    store.delete_container("level-beside")
    store.delete_prefix("")
    assert store.list() == []


def test_any_number_of_objects_while_the_next_ones_are_on_their_way(base: str) -> None:
    uris = [f"{base}stream/{number:03}" for number in range(60)]
    s3dlio.put_many([(uri, uri.encode() * 2000) for uri in uris])
    options = {"max_in_flight": 8, "prefetch": 12, "max_bytes": 1 << 20}
    for ordered in (True, False):
        found = list(s3dlio.iter_many(s3dlio.iterate(f"{base}stream/"), ordered=ordered, **options))  # type: ignore[arg-type]
        assert [uri for uri, _ in (found if ordered else sorted(found))] == uris
        assert all(data == uri.encode() * 2000 for uri, data in found)
    with s3dlio.iter_many(itertools.cycle(uris), **options) as endless:  # type: ignore[arg-type]
        assert [uri for uri, _ in itertools.islice(endless, 130)] == [*uris, *uris, *uris[:10]]
    assert list(s3dlio.iter_many([(uris[3], 2, 5)])) == [((uris[3], 2, 5), (uris[3].encode() * 2)[2:7])]
    with pytest.raises(ObjectNotFoundError) as caught:
        list(s3dlio.iter_many([*uris, f"{base}nope"], **options))  # type: ignore[arg-type]
    assert caught.value.uri == f"{base}nope"

    async def awaited() -> list[str]:
        return [uri async for uri, _ in s3dlio.iter_many_async(uris, max_in_flight=4)]

    assert asyncio.run(awaited()) == uris
