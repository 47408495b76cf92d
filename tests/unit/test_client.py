"""The client: every verb over URIs, on the memory and file stores; what a URI selects; bad input before any I/O."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dlio.client import Client
from s3dlio.config import settings
from s3dlio.errors import (
    AlreadyExistsError,
    BatchError,
    ConfigError,
    IntegrityError,
    InvalidURIError,
    IsDirectoryError,
    LengthMismatchError,
    LocalIOError,
    ObjectNotFoundError,
    PermissionDeniedError,
    RangeNotSatisfiableError,
)
from s3dlio.memory.sources import Source
from s3dlio.stores.memory import MemoryStore
from s3dlio.types import ObjectMetadata, Observation, PutOptions, PutResult
from tests.threads import run_in_threads


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as made:
        yield made


@pytest.fixture(params=["memory", "file", "direct"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A directory to work in: its URI ends in ``/``."""
    if request.param == "memory":
        return f"memory://{tmp_path.name.replace('_', '-')}-{os.getpid()}/dir/"
    return f"{request.param}://{tmp_path}/"


def fill(client: Client, base: str, *names: str) -> None:
    client.put_many([(base + name, name.encode()) for name in names])


# -- one object


def test_put_and_get(client: Client, base: str) -> None:
    assert client.put_bytes(base + "a/b", b"hello") is None
    assert client.get(base + "a/b") == b"hello"
    assert client.get_range(base + "a/b", 1, 3) == b"ell"
    assert client.get_range(base + "a/b", 3) == b"lo"
    assert client.get_range(base + "a/b", 99) == b""


@pytest.mark.parametrize(
    "payload", [b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4], type("B", (), {"__bytes__": lambda _: b"abc"})()]
)
def test_what_may_be_a_payload(client: Client, base: str, payload: Any) -> None:
    client.put_bytes(base + "x", payload)
    assert client.get(base + "x") == b"abc"


def test_arrays_of_structures_are_payloads_whatever_their_fields_are_called(client: Client, base: str) -> None:
    array = np.array([(1.5, 2), (2.5, 3)], dtype=[("Offset", "<f4"), ("Price&", ">i8")])
    client.put_bytes(base + "x", array)
    assert client.get(base + "x") == array.tobytes()


DATES = np.array(["2026-01-01"], dtype="datetime64[D]")
POINTERS = np.array([(1, "a")], dtype=[("number", "<f4"), ("object", object)])


@pytest.mark.parametrize("payload", ["text", 3, None, [1, 2], bytes, DATES, POINTERS])
def test_what_is_no_payload_is_refused_before_anything_is_written(client: Client, base: str, payload: Any) -> None:
    with pytest.raises(TypeError):
        client.put_bytes(base + "x", payload)
    assert not client.exists(base + "x")


def test_a_path_object_is_a_local_file(client: Client, tmp_path: Path) -> None:
    client.put_bytes(tmp_path / "x", b"abc")
    assert client.get(tmp_path / "x") == b"abc"
    assert client.get_many([tmp_path / "x"]) == [(f"file://{tmp_path}/x", b"abc")]


def test_get_into_a_buffer(client: Client, base: str) -> None:
    client.put_bytes(base + "x", b"hello")
    buffer = bytearray(8)
    assert client.get_into(base + "x", buffer) == 5
    assert buffer == b"hello\0\0\0"
    assert client.get_into(base + "x", memoryview(buffer)[3:], expected_len=5) == 5
    assert buffer == b"helhello"


def test_get_into_refuses_another_size_and_leaves_the_buffer(client: Client, base: str) -> None:
    client.put_bytes(base + "x", b"hello")
    buffer = bytearray(b"--------")
    for expected_len in (4, 6, 9, -1):
        with pytest.raises(LengthMismatchError):
            client.get_into(base + "x", buffer, expected_len=expected_len)
    with pytest.raises(LengthMismatchError, match="the object is 5 bytes but 4 are expected"):
        client.get_into(base + "x", buffer, expected_len=4)
    with pytest.raises(LengthMismatchError, match="the object is 5 bytes but the buffer holds 4"):
        client.get_into(base + "x", memoryview(buffer)[:4])
    with pytest.raises(BufferError):
        client.get_into(base + "x", b"read-only")
    assert buffer == b"--------"


def test_stat_has_all_its_keys(client: Client, base: str) -> None:
    client.put_bytes(base + "x", b"hello")
    about = client.stat(base + "x")
    assert about["size"] == 5
    assert set(about) == {
        "size", "last_modified", "etag", "content_type", "content_language", "content_encoding", "cache_control",
        "content_disposition", "expires", "storage_class", "server_side_encryption", "ssekms_key_id",
        "sse_customer_algorithm", "version_id", "replication_status", "metadata",
    }  # fmt: skip


def test_what_is_kept_with_an_object(client: Client) -> None:
    uri = "memory://kept/x"
    client.put_bytes(uri, b"x", content_type="text/plain", metadata={"a": "b"})
    assert client.stat(uri)["content_type"] == "text/plain"
    assert client.stat(uri)["metadata"] == {"a": "b"}
    client.put_bytes(uri, b"x", options=PutOptions(cache_control="no-store"))
    assert client.stat(uri)["cache_control"] == "no-store"
    with pytest.raises(AlreadyExistsError):
        client.put_bytes(uri, b"y", if_none_match="*")


def test_exists_is_false_only_for_what_is_not_there(client: Client, base: str, tmp_path: Path) -> None:
    client.put_bytes(base + "d/x", b"")
    assert client.exists(base + "d/x")
    assert not client.exists(base + "d/y")
    assert not client.exists(base + "d")
    with pytest.raises(InvalidURIError):
        client.exists("bogus://x")


def test_exists_does_not_guess(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionDeniedError("no")

    monkeypatch.setattr(MemoryStore, "_head", refuse)
    with pytest.raises(PermissionDeniedError):
        client.exists("memory://guess/x")


def test_missing_objects(client: Client, base: str) -> None:
    for missing in (client.get, client.stat, client.head, lambda uri: client.get_range(uri, 0, 1)):
        with pytest.raises(ObjectNotFoundError) as caught:
            missing(base + "nope")
        assert (base + "nope") in str(caught.value)


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1), (1 << 63, None), (0, 1 << 64)])
def test_absurd_ranges(client: Client, base: str, offset: int, length: int | None) -> None:
    client.put_bytes(base + "x", b"hello")
    with pytest.raises(RangeNotSatisfiableError):
        client.get_range(base + "x", offset, length)


@pytest.mark.parametrize("uri", ["memory://bucket", "memory://bucket/"])
def test_a_container_is_no_object(client: Client, uri: str) -> None:
    for verb in (client.get, client.stat, client.delete, lambda uri: client.put_bytes(uri, b"")):
        with pytest.raises(InvalidURIError):
            verb(uri)


def test_put_verify_compares_what_the_store_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DLIO_PUT_VERIFY", "1")
    with Client(transfer={"verify_delay": 0.0}) as client:
        client.put_bytes("memory://verify/x", b"abc")
        monkeypatch.setattr(MemoryStore, "_head", lambda *_: ObjectMetadata(2))
        with pytest.raises(IntegrityError, match=r"3 bytes were written but the store has 2.*after 3 attempts"):
            client.put_bytes("memory://verify/x", b"abc")
        with pytest.raises(IntegrityError) as caught:
            client.put_bytes("memory://verify/y", b"abc", if_none_match="*")  # would meet itself
        assert caught.value.attempts == 1


def test_an_object_that_was_stored_short_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([2, 3])
    monkeypatch.setattr(MemoryStore, "_head", lambda *_: ObjectMetadata(next(sizes)))
    puts: list[str] = []
    in_parts = {"put_verify": True, "threshold": 2, "verify_delay": 0.0}
    with Client(multipart=in_parts) as client:
        client.add_observer(lambda seen: puts.append(seen.operation))
        client.put_bytes("memory://verify/small", b"ab")
        assert puts == ["PUT"]
        client.put_bytes("memory://verify/large", b"abc")
    assert puts[1:] == ["PUT", "HEAD", "PUT", "HEAD"]


# -- many objects


def test_get_many_keeps_the_order_and_reads_twins_once(client: Client, base: str) -> None:
    fill(client, base, "a", "b", "c")
    seen: list[str] = []
    client.add_observer(lambda observation: seen.append(observation.operation))
    uris = [base + name for name in ("c", "a", "b", "a")]
    found = client.get_many(uris, 2)
    assert found == [(uri, uri[-1:].encode()) for uri in uris]
    assert found[1][1] is found[3][1]
    assert seen == ["GET"] * 3


def test_get_many_over_several_schemes(client: Client, tmp_path: Path) -> None:
    uris = [f"file://{tmp_path}/x", "memory://several/x", f"direct://{tmp_path}/x"]
    client.put_bytes(uris[0], b"1")
    client.put_bytes(uris[1], b"2")
    assert client.get_many(uris) == [(uris[0], b"1"), (uris[1], b"2"), (uris[2], b"1")]


def test_batches_of_nothing(client: Client) -> None:
    assert client.get_many([]) == []
    assert client.get_many_stats(()) == (0, 0)
    assert client.stat_many([]) == []
    client.put_many([])
    client.delete_many([])


def test_get_many_raises_with_every_failure(client: Client, base: str) -> None:
    fill(client, base, "a")
    with pytest.raises(BatchError) as caught:
        client.get_many([base + "a", base + "nope"])
    assert [failure.index for failure in caught.value.failures] == [1]
    assert caught.value.failures[0].uri == base + "nope"
    assert isinstance(caught.value.__cause__, ObjectNotFoundError)


def test_outcomes_put_the_error_in_the_place_of_the_data(client: Client, base: str) -> None:
    fill(client, base, "a", "b")
    outcomes = client.get_many_outcomes([base + "a", base + "nope", base + "b"])
    assert [outcomes[0][1], outcomes[2][1]] == [b"a", b"b"]
    assert isinstance(outcomes[1][1], ObjectNotFoundError)


def test_get_many_stats_counts_every_uri(client: Client, base: str) -> None:
    fill(client, base, "a", "bcd")
    assert client.get_many_stats([base + "a", base + "bcd", base + "a"]) == (3, 5)
    with pytest.raises(BatchError):
        client.get_many_stats([base + "a", base + "nope"])


def test_stat_many(client: Client, base: str) -> None:
    fill(client, base, "a", "bcd")
    assert [about["size"] for about in client.stat_many([base + "bcd", base + "a"])] == [3, 1]
    with pytest.raises(BatchError):
        client.stat_many([base + "nope"])


def test_one_bad_uri_stops_a_batch_before_it_starts(client: Client, base: str) -> None:
    seen: list[Observation] = []
    client.add_observer(seen.append)
    for verb in (client.get_many, client.get_many_stats, client.stat_many, client.delete_many):
        with pytest.raises(InvalidURIError):
            verb([base + "a", "bogus://x"])
    with pytest.raises(InvalidURIError):
        client.put_many([(base + "a", b""), ("bogus://x", b"")])
    assert not seen


@pytest.mark.parametrize("item", ["x", ("only-one",), (1, b""), ("memory://m/x", "text"), ("memory://m/x", b"", 3)])
def test_put_many_checks_every_item_first(client: Client, base: str, item: Any) -> None:
    with pytest.raises(TypeError, match="item 1"):
        client.put_many([(base + "a", b""), item])
    assert not client.exists(base + "a")


def test_put_many_takes_lists_too(client: Client, base: str) -> None:
    client.put_many([[base + "a", b"1"], (base + "b", b"2")], max_in_flight=1)
    assert client.get_many_stats([base + "a", base + "b"]) == (2, 2)


def test_put_many_keeps_to_the_bytes_in_flight() -> None:
    with Client(transfer={"max_in_flight_bytes": 10}) as client:
        client.put_many([(f"memory://bounded/{i}", b"x" * 8) for i in range(20)])
        assert client.get_many_stats(client.list("memory://bounded/")) == (20, 160)


@pytest.mark.parametrize("mode", ["streaming", "single-pass"])
def test_generated_objects_keep_to_the_bytes_in_flight(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, write = threading.Lock(), MemoryStore._write
    now = most = 0

    def counted(store: MemoryStore, key: str, source: Source, options: PutOptions) -> PutResult:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        result = write(store, key, source, options)
        with lock:
            now -= 1
        return result

    monkeypatch.setattr(MemoryStore, "_write", counted)
    monkeypatch.setattr(MemoryStore, "waits", True)
    with Client(transfer={"max_in_flight_bytes": 1 << 20}) as client:
        client.put("memory://generated-in-flight/", 6, size=1 << 20, data_gen_mode=mode, max_in_flight=6)
        assert client.get_many_stats(client.list("memory://generated-in-flight/")) == (6, 6 << 20)
    assert most == 1


@pytest.mark.parametrize("width", [0, -1])
def test_a_width_is_at_least_one(client: Client, width: int) -> None:
    with pytest.raises(ConfigError, match="max_in_flight"):
        client.get_many(["memory://m/x"], width)
    with pytest.raises(TypeError, match="max_in_flight"):
        client.get_many(["memory://m/x"], 1.5)  # type: ignore[arg-type]


def test_older_names_of_the_width(client: Client, base: str) -> None:
    fill(client, base, "a")
    assert client.get_many([base + "a"], workers=1) == client.get_many([base + "a"], concurrency=2)
    with pytest.raises(ConfigError):
        client.get_many_stats([base + "a"], concurrency=0)


def test_a_single_uri_is_no_batch(client: Client) -> None:
    with pytest.raises(TypeError, match="several"):
        client.get_many("memory://m/x")


def test_delete_many(client: Client, base: str) -> None:
    fill(client, base, "a", "b", "c")
    client.delete_many([base + "a", base + "nope", base + "c"])
    assert client.list(base) == [base + "b"]


def test_delete_many_tries_all_and_names_what_failed(client: Client, tmp_path: Path) -> None:
    base = f"file://{tmp_path}/"
    fill(client, base, "a", "d/x")
    with pytest.raises(BatchError) as caught:
        client.delete_many([base + "d", base + "a"])
    assert [failure.uri for failure in caught.value.failures] == [base + "d"]
    assert not client.exists(base + "a")


# -- listings


TREE = ("a.txt", "b.npz", "dir/c.npz", "dir/deep/d.npz", "dir2/e", "x", "x/y", "xyz")


@pytest.fixture
def tree(client: Client) -> str:
    base = "memory://tree-of-keys/t/"
    fill(client, base, *TREE)
    return base


@pytest.fixture
def file_tree(client: Client, tmp_path: Path) -> str:
    base = f"file://{tmp_path}/"
    fill(client, base, *(name for name in TREE if name != "x"))
    return base


def names(base: str, uris: list[str]) -> list[str]:
    assert all(uri.startswith(base) for uri in uris)
    return [uri[len(base) :] for uri in uris]


def test_a_directory_and_its_entries(client: Client, tree: str, file_tree: str) -> None:
    assert names(tree, client.list(tree)) == ["a.txt", "b.npz", "dir/", "dir2/", "x", "x/", "xyz"]
    assert names(file_tree, client.list(file_tree)) == ["a.txt", "b.npz", "dir/", "dir2/", "x/", "xyz"]


def test_everything_under_a_directory(client: Client, tree: str, file_tree: str) -> None:
    assert names(tree, client.list(tree, recursive=True)) == sorted(TREE)
    assert names(file_tree, client.list(file_tree, recursive=True)) == sorted(set(TREE) - {"x"})
    assert names(tree, client.list(tree + "dir/", True)) == ["dir/c.npz", "dir/deep/d.npz"]


def test_a_name_selects_the_object_and_the_directory_but_never_a_prefix(client: Client, tree: str) -> None:
    assert names(tree, client.list(tree + "x")) == ["x", "x/"]
    assert names(tree, client.list(tree + "x", recursive=True)) == ["x", "x/y"]
    assert names(tree, client.list(tree + "dir")) == ["dir/"]
    assert client.list(tree + "di") == []
    assert names(tree, client.list(tree + "a.txt")) == ["a.txt"]


def test_a_local_directory_needs_no_slash(client: Client, file_tree: str) -> None:
    assert names(file_tree, client.list(file_tree + "dir")) == ["dir/c.npz", "dir/deep/"]
    assert names(file_tree, client.list(file_tree + "a.txt")) == ["a.txt"]
    assert client.list(file_tree + "di") == []


def test_wildcards_over_whole_keys(client: Client, tree: str, file_tree: str) -> None:
    for base in (tree, file_tree):
        assert names(base, client.list(base + "*.npz")) == ["b.npz"]
        assert names(base, client.list(base + "dir*/*")) == ["dir/c.npz", "dir2/e"]
        assert names(base, client.list(base + "**.npz")) == ["b.npz", "dir/c.npz", "dir/deep/d.npz"]
        assert names(base, client.list(base + "d*/**")) == ["dir/c.npz", "dir/deep/d.npz", "dir2/e"]
        assert client.list(base + "q*") == []
    assert client.list("memory://tree-of-keys/t*/a.txt") == [tree + "a.txt"]


def test_a_wildcard_and_a_slash_are_refused(client: Client, tree: str) -> None:
    with pytest.raises(InvalidURIError, match="wildcard"):
        client.list(tree + "d*/")


def test_a_file_with_a_star_in_its_name(client: Client, tmp_path: Path) -> None:
    base = f"file://{tmp_path}/"
    fill(client, base, "a*", "ab")
    assert client.list(base + "a*") == [base + "a*"]


def test_patterns_see_the_name_below_the_directory(client: Client, tree: str) -> None:
    assert names(tree, client.list(tree, True, pattern="^d")) == ["dir/c.npz", "dir/deep/d.npz", "dir2/e"]
    assert names(tree, client.list(tree + "dir", True, pattern="^c")) == ["dir/c.npz"]
    assert names(tree, client.list(tree + "dir/", True, pattern=r"\.npz$")) == ["dir/c.npz", "dir/deep/d.npz"]
    assert names(tree, client.list(tree + "a.txt", pattern="^a")) == ["a.txt"]
    assert client.list(tree, True, pattern="^t/") == []
    assert names(tree, client.list(tree, pattern="^dir/$")) == ["dir/"]


def test_a_glob_is_understood_where_it_is_no_regular_expression(client: Client, tree: str) -> None:
    assert names(tree, client.list(tree, True, pattern="*.npz")) == ["b.npz", "dir/c.npz", "dir/deep/d.npz"]


def test_a_bad_pattern_is_refused_before_any_request(client: Client, tree: str) -> None:
    seen: list[Observation] = []
    client.add_observer(seen.append)
    with pytest.raises(ConfigError, match=r"invalid regex pattern '\('"):
        client.list(tree, pattern="(")
    assert not seen


def test_a_bare_container_lists_its_contents(client: Client) -> None:
    fill(client, "memory://bare/", "a", "d/b")
    assert client.list("memory://bare") == client.list("memory://bare/") == ["memory://bare/a", "memory://bare/d/"]
    assert client.list_keys("memory://bare", recursive=True) == ["a", "d/b"]


def test_nothing_there(client: Client, tree: str, tmp_path: Path) -> None:
    assert client.list(tree + "nope") == client.list(tree + "nope/") == []
    assert client.list(f"file://{tmp_path}/nope") == client.list(f"file://{tmp_path}/nope/") == []


def test_keys_and_uris(client: Client, tree: str) -> None:
    assert client.list_keys(tree) == ["a.txt", "b.npz", "dir/", "dir2/", "x", "x/", "xyz"]
    assert client.list_full_uris(tree, recursive=True) == client.list(tree, recursive=True)


def test_iterate_lists_as_it_goes(client: Client) -> None:
    fill(client, "memory://many/", *(f"{i:05}" for i in range(2500)))
    pages: list[Observation] = []
    client.add_observer(pages.append)
    uris = client.iterate("memory://many/")
    assert next(uris) == "memory://many/00000"
    assert len(pages) == 1
    assert len([*uris]) == 2499
    assert [page.objects for page in pages] == [1000, 1000, 500]


def test_a_listing_that_fails_raises(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(client, "memory://failing/", *(f"{i:05}" for i in range(2500)))
    page = MemoryStore._list_page

    def second_fails(self: MemoryStore, prefix: str, recursive: bool, token: str | None, after: str | None) -> Any:
        if token:
            raise PermissionDeniedError("not any more")
        return page(self, prefix, recursive, token, after)

    monkeypatch.setattr(MemoryStore, "_list_page", second_fails)
    with pytest.raises(PermissionDeniedError):
        client.list("memory://failing/")


def test_the_scheme_stays_as_it_was_written(client: Client) -> None:
    client.put_bytes("MEMORY://written/a", b"")
    assert client.list("MEMORY://written/") == ["MEMORY://written/a"]


# -- deleting, directories, containers


def test_delete_is_exact_and_idempotent(client: Client, base: str) -> None:
    fill(client, base, "a", "ab")
    client.delete(base + "a")
    client.delete(base + "a")
    assert client.list(base) == [base + "ab"]


def test_delete_everything_under_a_directory(client: Client, base: str, tmp_path: Path) -> None:
    fill(client, base, "d/a", "d/e/b", "d2")
    client.delete(base + "d/", recursive=True)
    assert client.list(base, recursive=True) == [base + "d2"]
    assert not (tmp_path / "d").exists()


def test_delete_what_matches(client: Client, base: str) -> None:
    fill(client, base, "d/a.x", "d/b.y", "d/e/c.x")
    client.delete(base + "d", recursive=True, pattern=r"\.x$")
    assert client.list(base, recursive=True) == [base + "d/b.y"]


def test_sync_makes_a_directory_like_another(client: Client, base: str, tmp_path: Path) -> None:
    fill(client, base, "d/a", "d/e/b")
    mirror = f"file://{tmp_path}/mirror/"
    assert client.sync(base + "d", mirror).succeeded == 2
    fill(client, mirror, "surplus")
    again = client.sync(base + "d/", mirror, delete=True)
    assert (again.attempted, again.skipped, again.deleted) == (0, 2, 1)
    assert client.list_keys(mirror, recursive=True) == ["a", "e/b"]


def test_a_directory_is_not_deleted_by_mistake(client: Client, tmp_path: Path) -> None:
    fill(client, f"file://{tmp_path}/", "d/a")
    for uri in (f"file://{tmp_path}/d", f"file://{tmp_path}/d/"):
        with pytest.raises(IsDirectoryError, match="nothing was deleted"):
            client.delete(uri)
    with pytest.raises(ConfigError, match="recursive"):
        client.delete(f"file://{tmp_path}/d/", pattern="a")
    assert client.exists(f"file://{tmp_path}/d/a")


def test_directories(client: Client, tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/d/e"
    client.mkdir(uri)
    client.mkdir(uri)
    assert (tmp_path / "d" / "e").is_dir()
    client.put_bytes(uri + "/x", b"")
    with pytest.raises(LocalIOError, match="not empty"):
        client.rmdir(uri)
    client.rmdir(uri, recursive=True)
    client.rmdir(uri)
    assert not (tmp_path / "d" / "e").exists()
    client.mkdir("memory://no-directories/here")
    client.rmdir("memory://no-directories/here")


def test_containers(client: Client, tmp_path: Path) -> None:
    client.create_bucket("memory://made")
    client.create_bucket("memory://made/")
    assert {"name": "made", "uri": "memory://made"}.items() <= next(
        found.items() for found in client.list_containers("memory://") if found["name"] == "made"
    )
    client.delete_bucket("memory://made")
    assert not [found for found in client.list_containers("memory://") if found["name"] == "made"]
    client.create_bucket(f"file://{tmp_path}/b")
    client.create_bucket(f"file://{tmp_path}/a")
    assert client.list_containers(f"file://{tmp_path}") == [
        {"name": name, "uri": f"file://{tmp_path}/{name}", "creation_date": None} for name in ("a", "b")
    ]
    client.delete_bucket(f"file://{tmp_path}/b")
    assert not (tmp_path / "b").exists()


def test_an_object_is_no_container(client: Client) -> None:
    for verb in (client.create_bucket, client.delete_bucket):
        with pytest.raises(InvalidURIError):
            verb("memory://m/object")


# -- the client itself


def test_clients_have_settings_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "from-environment")
    one = Client(region="here", endpoint_url="http://127.0.0.1:1", retry={"max_attempts": 2}, ca_bundle="x.pem")
    other = Client()
    assert (one.settings.s3.region, other.settings.s3.region) == ("here", "from-environment")
    assert (one.settings.retry.max_attempts, other.settings.retry.max_attempts) == (2, 5)
    assert one.settings.http.ca_bundle == "x.pem"
    again = Client(one.settings, region="there")
    assert (again.settings.s3.region, again.settings.s3.endpoint_url) == ("there", "http://127.0.0.1:1")
    assert "127.0.0.1" in repr(one)
    with pytest.raises(ConfigError, match="nonsense"):
        Client(nonsense={"x": 1})


def test_executor_threads_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DLIO_RT_THREADS", "3")
    assert Client().executor.threads == 3
    assert Client(executor={"threads": 5}).executor.threads == 5


def test_a_client_pickles_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-hidden")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-hidden")
    pickled = pickle.dumps(Client(region="here"))
    assert b"hidden" not in pickled
    again = pickle.loads(pickled)
    assert (again.settings.s3.region, again.settings.s3.secret_access_key) == ("here", "very-hidden")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="secret_access_key"):
        pickle.loads(pickled)


def test_secrets_of_arguments_do_not_turn_into_others_silently() -> None:
    pickled = pickle.dumps(Client(access_key_id="a", secret_access_key="b"))
    with pytest.raises(ConfigError, match="not pickled"):
        pickle.loads(pickled)


def test_observers_see_single_calls_and_batches(client: Client, base: str) -> None:
    seen: list[Observation] = []
    client.put_bytes(base + "early", b"1")
    client.add_observer(seen.append)
    client.put_bytes(base + "a", b"12")
    client.get_many([base + "a", base + "early"])
    client.exists(base + "nope")
    client.remove_observer(seen.append)
    client.get(base + "a")
    assert [(each.operation, each.bytes) for each in seen] == [("PUT", 2), ("GET", 2), ("GET", 1), ("HEAD", 0)]
    assert isinstance(seen[-1].error, ObjectNotFoundError)
    assert all(each.start_ns <= each.end_ns for each in seen)


def test_observers_can_be_removed_again(client: Client) -> None:
    seen: list[Observation] = []
    watch = seen.append
    client.add_observer(watch)
    client.remove_observer(watch)
    client.put_bytes("memory://unobserved/x", b"")
    assert not seen


def test_a_client_is_shared_among_threads(client: Client, base: str) -> None:
    def work(number: int) -> None:
        for i in range(20):
            client.put_bytes(f"{base}{number}/{i}", b"%d" % i)

    run_in_threads(work, range(4))
    assert len(client.list(base, recursive=True)) == 80


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_client_works_in_a_forked_child(client: Client, base: str) -> None:
    fill(client, base, "a", "b")
    uris = [base + "a", base + "b"]
    assert len(client.get_many(uris)) == 2
    pid = os.fork()
    if pid == 0:
        os._exit(0 if client.get_many_stats(uris) == (2, 2) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_closed_client_can_be_used_again(client: Client, base: str) -> None:
    client.close()
    client.put_bytes(base + "x", b"1")
    assert client.get_many_stats([base + "x"]) == (1, 1)


def test_the_store_of_a_container_is_made_once(client: Client) -> None:
    first, key = client.store_for("memory://once/a/b")
    assert (client.store_for("memory://once/c")[0], key) == (first, "a/b")
    assert client.store_for("memory://once")[1] == ""
    assert client.store_for("memory://other/a")[0] is not first


def test_durable_files_are_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), fsync(fd))[1])
    with Client() as client:
        client.put_bytes(tmp_path / "x", b"1")
        assert not synced
    with Client(file={"durable": True}) as client:
        client.put_bytes(tmp_path / "x", b"1")
        assert synced


@pytest.fixture(autouse=True)
def _nothing_configured() -> Iterator[None]:
    settings.reset_configured()
    yield
    settings.reset_configured()


def test_a_delete_of_one_object_takes_an_asterisk_literally_and_says_so(
    client: Client, base: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(client, base, "p-1", "p-2", "q")
    client.delete(base + "p-*")
    assert len(client.list(base)) == 3
    assert "recursive=True" in caplog.text
    client.delete(base + "p-*", recursive=True)
    assert client.list(base) == [base + "q"]


def test_an_object_whose_name_has_an_asterisk_can_be_deleted(client: Client, base: str) -> None:
    fill(client, base, "p-*", "p-1")
    client.delete(base + "p-*")
    assert client.list(base) == [base + "p-1"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Client(endpoint="http://h"), "no argument 'endpoint'; did you mean endpoint_url?"),
        (lambda: Client(htpp={}), "no argument 'htpp'; did you mean http?"),
        (lambda: Client(http="x"), "write http={"),
        (lambda: Client("http://h"), "Client(endpoint_url=...)"),  # type: ignore[arg-type]
    ],
)
def test_a_client_says_which_argument_was_meant(make: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert says in str(caught.value)


@pytest.mark.parametrize("recursive", [False, True])
def test_of_a_link_to_a_directory_the_link_is_deleted(client: Client, tmp_path: Path, recursive: bool) -> None:
    (tmp_path / "target" / "sub").mkdir(parents=True)
    (tmp_path / "target" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    client.delete(f"file://{tmp_path}/link", recursive=recursive)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "sub", "target"]


def test_what_a_link_leads_to_is_deleted_when_it_is_named(client: Client, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    client.delete(f"file://{tmp_path}/link/", recursive=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link", "target"]


# -- a get to a file


def test_get_to_a_file_reads_exactly_one_object(client: Client, tmp_path: Path) -> None:
    base = f"memory://{tmp_path.name.replace('_', '-')}-{os.getpid()}/"
    fill(client, base, "a*b", "axb", "dir/f", "dir")
    assert client.get_to_file(base + "a*b", tmp_path / "new" / "out") == 3
    assert (tmp_path / "new" / "out").read_bytes() == b"a*b"
    assert client.get_to_file(base + "dir/f", tmp_path) == 5
    assert (tmp_path / "f").read_bytes() == b"dir/f"
    with pytest.raises(ObjectNotFoundError):
        client.get_to_file(base + "nope", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"dir/f"
    with pytest.raises(InvalidURIError):
        client.get_to_file(base, tmp_path / "f")
    (tmp_path / "sub" / "f").mkdir(parents=True)
    with pytest.raises(IsDirectoryError):
        client.get_to_file(base + "dir/f", tmp_path / "sub")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["f", "new", "sub"]


def test_a_name_without_an_object_stops_a_batch_before_it_starts(client: Client, base: str) -> None:
    fill(client, base, "x")
    seen: list[Observation] = []
    client.add_observer(seen.append)
    for verb in (client.get_many, client.get_many_stats, client.stat_many, client.get_many_outcomes):
        with pytest.raises(InvalidURIError):
            verb([base + "x", "memory://container"])
    assert not seen


def test_options_are_given_in_one_way_only(client: Client, base: str) -> None:
    with pytest.raises(TypeError, match="either options, or"):
        client.put_bytes(base + "x", b"1", content_type="text/plain", options=PutOptions())


def test_an_observer_that_fails_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(observation: object) -> None:
        raise ZeroDivisionError

    with Client() as client:
        client.add_observer(broken)
        client.put_bytes("memory://observed/key", b"data")
        assert client.get("memory://observed/key") == b"data"
    assert "an observer of GET memory://observed/key failed" in caplog.text
