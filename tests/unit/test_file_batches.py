"""Batches of files: the caller's thread alone while they are short, as many as there are CPUs where they copy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.errors import BatchError, InvalidURIError, ObjectNotFoundError
from s3dlio.stores.local import file as file_module
from s3dlio.stores.local.file import FileStore
from s3dlio.transfer import many

COUNTS = [0, 1, 2, 3, 4, 5, 10, 100]


@pytest.fixture
def client() -> Client:
    return Client()


def files(folder: Path, count: int, size: int = 100) -> list[str]:
    for number in range(count):
        (folder / f"{number:03}").write_bytes(bytes([number % 256]) * size)
    return [f"file://{folder}/{number:03}" for number in range(count)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", [0, 100, 40_000])
def test_every_verb_does_all_in_order(client: Client, tmp_path: Path, count: int, size: int) -> None:
    uris = files(tmp_path, count, size)
    assert client.get_many(uris) == [(uri, client.get(uri)) for uri in uris]
    assert client.get_many_stats(uris) == (count, count * size)
    assert client.stat_many(uris) == [client.stat(uri) for uri in uris]
    client.put_many([(uri, b"new") for uri in uris])
    assert all(client.get(uri) == b"new" for uri in uris)
    client.delete_many(uris)
    assert not any(client.exists(uri) for uri in uris)


def test_a_batch_of_one_is_what_the_verb_for_one_does(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(many, "Outcomes")
    (uri,) = files(tmp_path, 1)
    assert client.get_many([uri]) == [(uri, client.get(uri))]
    assert client.stat_many([uri]) == [client.stat(uri)]
    assert isinstance(client.get_many_outcomes([f"{uri}x"])[0][1], ObjectNotFoundError)


@pytest.mark.parametrize("count", [2, 10, 100])
def test_uris_that_are_named_twice_share_a_view(client: Client, tmp_path: Path, count: int) -> None:
    uris = files(tmp_path, count)
    found = client.get_many([*uris, *uris])
    assert [uri for uri, _ in found] == [*uris, *uris]
    assert all(found[index][1] is found[index + count][1] for index in range(count))
    assert client.get_many_stats([*uris, uris[0]])[0] == count + 1


@pytest.mark.parametrize("count", [1, 3, 10, 100])
@pytest.mark.parametrize("verb", [Client.get_many, Client.get_many_stats, Client.stat_many])
def test_the_first_failure_stops_the_rest(
    client: Client, tmp_path: Path, count: int, verb: Callable[[Client, list[str]], Any]
) -> None:
    uris = files(tmp_path, count)
    (tmp_path / f"{count // 2:03}").unlink()
    with pytest.raises(BatchError) as caught:
        verb(client, uris)
    (failure,) = caught.value.failures
    assert (failure.index, failure.uri) == (count // 2, uris[count // 2])
    assert isinstance(failure.error, ObjectNotFoundError)
    assert failure.error.uri == uris[count // 2]
    assert (caught.value.attempted, caught.value.succeeded) == (count // 2 + 1, count // 2)


@pytest.mark.parametrize("count", [1, 3, 10, 100])
def test_a_failure_takes_its_place_where_the_rest_is_wanted(client: Client, tmp_path: Path, count: int) -> None:
    uris = files(tmp_path, count)
    for number in range(0, count, 3):
        (tmp_path / f"{number:03}").unlink()
    found = client.get_many_outcomes(uris)
    assert [uri for uri, _ in found] == uris
    for number, (_, outcome) in enumerate(found):
        assert isinstance(outcome, ObjectNotFoundError) if number % 3 == 0 else outcome == client.get(uris[number])


@pytest.mark.parametrize("wrong", ["file://", "file:///a\0b", "nothing://x", "file:///\udcff\ud800"])
def test_all_uris_are_looked_at_before_the_first_is_read(client: Client, tmp_path: Path, wrong: str) -> None:
    uris = files(tmp_path, 3)
    target = f"file://{tmp_path}/written"
    for batch in ([*uris, wrong], [wrong, *uris], [wrong]):
        with pytest.raises(InvalidURIError):
            client.get_many(batch)
        with pytest.raises(InvalidURIError):
            client.put_many([(target, b"x"), *((uri, b"x") for uri in batch)])
        with pytest.raises(InvalidURIError):
            client.delete_many(batch)
    assert not client.exists(target)
    assert all(client.exists(uri) for uri in uris)


def test_names_of_all_kinds_find_their_containers(client: Client, tmp_path: Path) -> None:
    plain, odd = tmp_path / "plain", tmp_path / "é ?#%41 \udcff"
    for path in (plain, odd):
        path.write_bytes(path.name.encode(errors="surrogateescape"))
    client.put_bytes("memory://one/file://", b"one")
    client.put_bytes("memory://one-more/key", b"two")
    uris = [f"file://{plain}", f"file://{odd}", "memory://one/file://", "memory://one-more/key", f"direct://{plain}"]
    for order in (uris, uris[::-1], uris[2:4], uris[:2], uris[1:2]):
        assert client.get_many(order) == [(uri, client.get(uri)) for uri in order]


def test_small_files_need_no_other_thread(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    read = file_module._read_small

    def noted(path: str) -> bytes | None:
        threads.add(threading.get_ident())
        return read(path)

    monkeypatch.setattr(file_module, "_read_small", noted)
    before = threading.active_count()
    client.get_many(files(tmp_path, many._FEW))
    assert (threads, threading.active_count()) == ({threading.get_ident()}, before)


@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_large_files_are_read_by_as_many_threads_as_there_are_cpus_from_the_first_on(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Three reads that can only end together; a fourth thread would break them."""
    monkeypatch.setattr(many, "usable_cpus", lambda: 3)
    monkeypatch.setattr("s3dlio.engine.blocking_calls.usable_cpus", lambda: 3)
    monkeypatch.setattr("s3dlio.engine.watchdog.TICK", 1000.0)
    monkeypatch.setattr(many, "BULKY", 100)
    store, _ = client.store_for(f"{scheme}:///x")
    together = threading.Barrier(3)
    get = store.get

    def meet(key: str) -> Any:
        together.wait(30)
        return get(key)

    monkeypatch.setattr(store, "get", meet)
    uris = [f"{scheme}{uri.removeprefix('file')}" for uri in files(tmp_path, 3)]
    assert [bytes(data) for _, data in client.get_many(uris)] == [bytes([number]) * 100 for number in range(3)]


def test_files_that_take_long_are_joined_by_others(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four that can only end together, when the first few have taken long."""
    together = threading.Barrier(4)
    monkeypatch.setattr(many, "_A_WHILE", -1.0)
    get = FileStore.get

    def meet(store: FileStore, key: str) -> Any:
        together.wait(30)
        return get(store, key)

    monkeypatch.setattr(FileStore, "get", meet)
    monkeypatch.setattr(file_module, "_read_small", lambda path: None)
    assert len(client.get_many(files(tmp_path, 4))) == 4


def test_what_is_not_small_among_small_files_is_read_all_the_same(client: Client, tmp_path: Path) -> None:
    uris = files(tmp_path, 5)
    large = b"x" * (2 << 20)
    Path(uris[3].removeprefix("file://")).write_bytes(large)
    Path(uris[4].removeprefix("file://")).write_bytes(b"")
    found = client.get_many([*uris, uris[0]])
    assert [uri for uri, _ in found] == [*uris, uris[0]]
    assert [len(data) for _, data in found] == [100, 100, 100, len(large), 0, 100]
    assert found[3][1] == large
    assert client.get_many_stats(uris) == (5, 300 + len(large))
    with pytest.raises(s3dlio.BatchError) as failed:
        client.get_many([uris[0], f"file://{tmp_path}/missing", uris[1]])
    assert [failure.index for failure in failed.value.failures] == [1]


@pytest.mark.parametrize("count", [1, 3])
def test_a_deletion_that_fails_as_a_whole_fails_for_every_file(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    def fails(store: FileStore, keys: object) -> Any:
        raise PermissionError("no")

    uris = files(tmp_path, count)
    monkeypatch.setattr(FileStore, "_delete_many", fails)
    with pytest.raises(BatchError) as caught:
        client.delete_many(uris)
    assert [(failure.index, failure.uri) for failure in caught.value.failures] == list(enumerate(uris))


def test_a_batch_that_is_to_stop_begins_nothing(client: Client, tmp_path: Path) -> None:
    outcomes = many.Outcomes(["a", "b"], "GET")
    outcomes.cancel.cancel("enough")
    with pytest.raises(Exception, match="enough"):
        outcomes.run_each(pytest.fail, ["a", "b"], client, 8)


def test_observers_see_what_a_batch_does(tmp_path: Path) -> None:
    seen: list[Any] = []
    client = Client()
    client.stores.add_observer(seen.append)
    uris = files(tmp_path, 20)
    client.get_many(uris)
    client.get_many_stats(uris)
    assert [(one.operation, one.uri, one.bytes) for one in seen] == [("GET", uri, 100) for uri in [*uris, *uris]]
