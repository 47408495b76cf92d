"""What goes wrong while files are on their way: nothing is lost, nothing partial is left, everything is said."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import InlineExecutor
from s3dlio.errors import (
    AlreadyExistsError,
    BatchError,
    ConfigError,
    CorruptDataError,
    IntegrityError,
    LengthMismatchError,
    LocalIOError,
    NetworkError,
    ObjectChangedError,
    ObjectNotFoundError,
    PermissionDeniedError,
    ProtocolError,
    S3dlioError,
    ServiceError,
    StorageFullError,
    TransferCancelledError,
)
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import FileSource, Source
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.memory import MemoryStore
from s3dlio.transfer import file_routes, store_routes
from s3dlio.transfer.delete import delete
from s3dlio.transfer.destination_directory import DestinationDirectory
from s3dlio.transfer.journal import Journal
from s3dlio.transfer.plan import Item
from s3dlio.transfer.runner import service_name
from s3dlio.types import Conditions, ListPage, ObjectMetadata, Observation, PutOptions, PutResult

_numbers = itertools.count()


class Scripted(MemoryStore):
    """A memory store on which a test hangs what goes wrong."""

    on_read: Callable[[str], None] = staticmethod(lambda key: None)
    on_write: Callable[[str], None] = staticmethod(lambda key: None)
    on_page: Callable[[int], None] = staticmethod(lambda number: None)
    on_delete: Callable[[Any], list[tuple[str, S3dlioError]]] = staticmethod(lambda keys: [])
    spoil: Callable[[bytes], bytes] = staticmethod(lambda data: data)
    tells_checksums = True
    delete_batch_size = 10
    pages = 0

    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> ObjectMetadata:
        self.on_read(key)
        return self._told(super()._read(key, sink, offset, length, conditions))

    def _head(self, key: str, conditions: Conditions) -> ObjectMetadata:
        return self._told(super()._head(key, conditions))

    def _told(self, about: ObjectMetadata) -> ObjectMetadata:
        if self.tells_checksums:
            return about
        return ObjectMetadata(about.size, about.etag, last_modified=about.last_modified, metadata=about.metadata)

    def _write(self, key: str, source: Source, options: PutOptions) -> PutResult:
        self.on_write(key)
        data = b"".join(bytes(source.read(at, 1000)) for at in range(0, source.size, 1000))
        return self._store(key, self.spoil(data), options)

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> tuple[ListPage, str | None]:
        self.pages += 1
        self.on_page(self.pages)
        return super()._list_page(prefix, recursive, token, start_after)

    def _delete_many(self, keys: Any) -> list[tuple[str, S3dlioError]]:
        failed = self.on_delete(keys)
        super()._delete_many([key for key in keys if key not in dict(failed)])
        return failed


@pytest.fixture
def store() -> Scripted:
    return Scripted(f"memory://faults-{next(_numbers)}")


@pytest.fixture
def client(store: Scripted) -> Iterator[Client]:
    with Client() as made:
        made.executor = InlineExecutor()  # type: ignore[assignment]
        find = made.store_for

        def found(uri: str) -> tuple[ObjectStore, str]:
            other, key = find(uri)
            return (store, key) if other.root == store.root else (other, key)

        made.store_for = found  # type: ignore[assignment]
        yield made


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    root.mkdir()
    for name in "abcdef":
        (root / name).write_bytes(name.encode() * 5000)
    return root


def open_below(folder: Path) -> int:
    """How many descriptors are open on files in a folder: all others may come and go, with the collector's whim."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{folder}/")
    return count


@pytest.fixture(autouse=True)
def no_descriptor_is_lost(tmp_path: Path) -> Iterator[None]:
    yield
    assert open_below(tmp_path) == 0


def fill(store: MemoryStore, *keys: str) -> None:
    for key in keys:
        store.put(key, key.encode() * 100)


def names_in(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def failing(*keys: str, error: type[S3dlioError] = NetworkError) -> Callable[[str], None]:
    def check(key: str) -> None:
        if key in keys:
            raise error(f"no luck with {key}")

    return check


# -- failures of single objects


@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_first_failure_stops_the_rest_and_says_so(
    client: Client, store: Scripted, files: Path, tmp_path: Path, direction: str
) -> None:
    if direction == "up":
        store.on_write = failing("p/c")
        with pytest.raises(BatchError) as caught:
            client.upload(files, f"{store.root}/p", max_in_flight=1)
        done = [key for page in store.list("p/") for key in page.keys]
    else:
        fill(store, *(f"p/{name}" for name in "abcdef"))
        store.on_read = failing("p/c")
        with pytest.raises(BatchError) as caught:
            client.download(f"{store.root}/p/", tmp_path / "out", max_in_flight=1)
        done = [f"p/{name}" for name in names_in(tmp_path / "out")]
    assert done == ["p/a", "p/b"]
    error = caught.value
    assert (error.attempted, error.succeeded, error.cancelled) == (3, 2, 0)
    assert isinstance(error.__cause__, NetworkError)
    assert "no more were started" in str(error)
    assert "continue_on_error=True" in str(error)
    assert error.failures[0].uri.endswith("/c")


@pytest.mark.parametrize("direction", ["up", "down"])
def test_continue_on_error_gives_every_failure(
    client: Client, store: Scripted, files: Path, tmp_path: Path, direction: str
) -> None:
    if direction == "up":
        store.on_write = failing("p/b", "p/e")
        with pytest.raises(BatchError) as caught:
            client.upload(files, f"{store.root}/p", continue_on_error=True)
    else:
        fill(store, *(f"p/{name}" for name in "abcdef"))
        store.on_read = failing("p/b", "p/e")
        with pytest.raises(BatchError) as caught:
            client.download(f"{store.root}/p/", tmp_path / "out", continue_on_error=True)
        assert names_in(tmp_path / "out") == ["a", "c", "d", "f"]
    assert (caught.value.attempted, caught.value.succeeded) == (6, 4)
    assert [failure.uri[-1] for failure in caught.value.failures] == ["b", "e"]


ARCHIVED = {"status": 403, "code": "InvalidObjectState"}


@pytest.mark.parametrize("direction", ["up", "down", "across"])
@pytest.mark.parametrize(
    "error",
    [
        PermissionDeniedError("archived", **ARCHIVED),
        PermissionDeniedError("denied", status=403, code="AccessDenied"),
        ServiceError("the key is too long", status=400, code="KeyTooLongError"),
        ObjectNotFoundError("gone", status=404),
        IntegrityError("damaged"),
        ProtocolError("no answer that could be understood"),
    ],
    ids=lambda error: str(getattr(error, "code", None) or type(error).__name__),
)
def test_what_lies_in_one_object_stops_nobody(
    client: Client, store: Scripted, files: Path, tmp_path: Path, direction: str, error: Exception
) -> None:
    fill(store, *(f"s/{name}" for name in "abcdef"))

    def check(key: str) -> None:
        if key in ("s/b", "p/b"):
            raise error

    store.on_read = store.on_write = check
    source, target = {
        "up": (files, f"{store.root}/p"),
        "down": (f"{store.root}/s/", tmp_path / "out"),
        "across": (f"{store.root}/s/", f"direct://{tmp_path}/out"),
    }[direction]
    with pytest.raises(BatchError) as caught:
        client.copy(source, target, recursive=True, max_in_flight=1)
    assert (caught.value.attempted, caught.value.succeeded) == (6, 5)
    [failure] = caught.value.failures
    assert failure.error is error


@pytest.mark.parametrize(
    "error",
    [
        PermissionDeniedError("no such key", status=403, code="InvalidAccessKeyId"),
        PermissionDeniedError("no credentials"),
        PermissionDeniedError("who are you", status=401),
        ObjectNotFoundError("no such bucket", status=404, code="NoSuchBucket"),
        StorageFullError("no space left"),
        ServiceError("out of order", status=500),
        ConfigError("a setting"),
        MemoryError(),
    ],
    ids=lambda error: str(getattr(error, "code", None) or type(error).__name__),
)
def test_what_every_object_would_meet_stops_them(
    client: Client, store: Scripted, files: Path, error: Exception
) -> None:
    def check(key: str) -> None:
        if key == "p/b":
            raise error

    store.on_write = check
    with pytest.raises(BatchError, match="no more were started") as caught:
        client.upload(files, f"{store.root}/p", max_in_flight=1)
    assert (caught.value.attempted, caught.value.succeeded) == (2, 1)


def test_many_denied_objects_and_not_one_transferred_are_no_matter_of_the_objects(
    client: Client, store: Scripted, tmp_path: Path
) -> None:
    keys = [f"p/{number:04}" for number in range(500)]
    fill(store, *keys)

    def denied(key: str) -> None:
        raise PermissionDeniedError("denied", status=403, code="AccessDenied")

    store.on_read = denied
    with pytest.raises(BatchError, match="no more were started") as caught:
        client.download(f"{store.root}/p/", tmp_path / "out", max_in_flight=1)
    assert caught.value.attempted == 100
    store.on_read = lambda key: denied(key) if key != keys[50] else None
    with pytest.raises(BatchError) as caught:
        client.download(f"{store.root}/p/", tmp_path / "out", max_in_flight=1)
    assert (caught.value.attempted, caught.value.succeeded) == (500, 1)


@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_a_name_that_the_file_system_cannot_have_stops_nobody(
    client: Client, store: Scripted, tmp_path: Path, scheme: str
) -> None:
    fill(store, "p/a", "p/" + "n" * 300, "p/" + "m" * 300 + "/x", "p/z")
    with pytest.raises(BatchError) as caught:
        client.download(f"{store.root}/p/", f"{scheme}://{tmp_path}/out", max_in_flight=1)
    assert caught.value.succeeded == 2
    assert {getattr(failure.error, "errno", 0) for failure in caught.value.failures} == {errno.ENAMETOOLONG}


@pytest.mark.parametrize("kept", ["9" * 26, "1e400", "nan", "-99999999999999", "253402300800", "x", "", "\uff11"])
@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_a_time_that_is_none_costs_nothing_but_the_time(
    client: Client, store: Scripted, tmp_path: Path, scheme: str, kept: str
) -> None:
    store.put("p/a", b"x", options=PutOptions(metadata={"mtime": kept}))
    assert client.download(f"{store.root}/p/", f"{scheme}://{tmp_path}/out", preserve_mtime=True).succeeded == 1
    assert (tmp_path / "out" / "a").stat().st_mtime > 1_600_000_000


def test_files_that_vanish_or_may_not_be_read_stop_nobody(
    client: Client, store: Scripted, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refused(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if str(path) == str(files / "d"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *args, **more)

    def on_write(key: str) -> None:
        if key == "p/a":
            (files / "b").unlink()

    monkeypatch.setattr(os, "open", refused)
    store.on_write = on_write
    with pytest.raises(BatchError) as caught:
        client.upload(files, f"{store.root}/p")
    assert {failure.uri[-1]: type(failure.error) for failure in caught.value.failures} == {
        "b": ObjectNotFoundError,
        "d": PermissionDeniedError,
    }
    assert caught.value.succeeded == 4


def test_an_object_that_was_deleted_since_it_was_listed(client: Client, store: Scripted, tmp_path: Path) -> None:
    fill(store, "p/a", "p/b", "p/c")
    store.on_read = lambda key: store.delete("p/b")
    with pytest.raises(BatchError) as caught:
        client.download(f"{store.root}/p/", tmp_path)
    assert [type(failure.error) for failure in caught.value.failures] == [ObjectNotFoundError]
    assert names_in(tmp_path) == ["a", "c"]


def rewrite(path: Path, data: bytes | None = None) -> None:
    """Other bytes in place, and another time: two writes at once may have one time of the clock."""
    path.write_bytes(path.read_bytes().swapcase() if data is None else data)
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", ["rewritten", "grown"])
@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_a_file_that_changes_while_it_is_sent_is_not_stored(
    client: Client, store: Scripted, files: Path, scheme: str, change: str
) -> None:
    for large in "bc":  # a relay takes these in pieces
        (files / large).write_bytes(bytes(9 << 20))

    def on_write(key: str) -> None:
        if key == "p/c":
            rewrite(files / "c", None if change == "rewritten" else bytes(10 << 20))

    store.on_write = on_write
    if scheme == "direct":  # its bytes are in memory when the store is asked to write
        client.add_observer(lambda seen: on_write("p/c") if seen.uri.startswith(f"direct://{files}/c") else None)
    with pytest.raises(BatchError) as caught:
        client.copy(f"{scheme}://{files}", f"{store.root}/p", recursive=True, continue_on_error=True, verify=True)
    [failure] = caught.value.failures
    assert isinstance(failure.error, ObjectChangedError)
    assert failure.uri == f"{scheme}://{files}/c"
    assert sorted(key for page in store.list("p/") for key in page.keys) == [f"p/{name}" for name in "abdef"]


@pytest.mark.parametrize("size", [100, 40_000, 9 << 20])
@pytest.mark.parametrize("target", ["file", "direct"])
@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_a_file_that_changes_while_it_is_copied_is_not_stored(
    client: Client, tmp_path: Path, scheme: str, target: str, size: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"a" * size)
    client.add_observer(lambda seen: rewrite(source) if seen.operation.startswith("GET") else None)
    with pytest.raises(BatchError) as caught:
        client.copy(f"{scheme}://{source}", f"{target}://{tmp_path}/there/")
    assert isinstance(caught.value.failures[0].error, ObjectChangedError)
    assert list((tmp_path / "there").iterdir()) == []


def test_a_move_keeps_an_object_that_was_replaced_meanwhile(client: Client, store: Scripted, tmp_path: Path) -> None:
    fill(store, "s/a", "s/b")

    def replaced(seen: Observation) -> None:
        if seen.operation == "GET" and seen.uri.endswith("/a"):
            store.put("s/a", b"newer")

    client.add_observer(replaced)
    store.observers = (replaced,)
    with pytest.raises(BatchError) as caught:
        client.move(f"{store.root}/s/", tmp_path, recursive=True)
    [failure] = caught.value.failures
    assert isinstance(failure.error, ObjectChangedError)
    assert "was kept" in str(failure.error)
    assert [key for page in store.list("s/") for key in page.keys] == ["s/a"]
    assert store.get("s/a") == b"newer"


def test_a_move_of_objects_without_an_etag_is_refused(client: Client, store: Scripted, tmp_path: Path) -> None:
    fill(store, "s/a")
    told = store._told
    store._told = lambda about: dataclasses.replace(told(about), etag=None)  # type: ignore[method-assign]
    pages = store._pages
    store._pages = lambda *asked: map(_without_etags, pages(*asked))  # type: ignore[method-assign,assignment]
    with pytest.raises(BatchError, match="no ETag"):
        client.move(f"{store.root}/s/", tmp_path, recursive=True)
    assert store.head("s/a").size == 300


def _without_etags(page: ListPage) -> ListPage:
    entries = [entry._replace(etag=None) for entry in page.entries]
    return ListPage(page.keys, page.prefixes, lambda: entries)


def test_a_file_that_shrinks_is_an_error(client: Client, store: Scripted, files: Path) -> None:
    store.on_write = lambda key: os.truncate(files / "c", 100) if key == "p/c" else None
    with pytest.raises(BatchError) as caught:
        client.upload(files, f"{store.root}/p", continue_on_error=True)
    [failure] = caught.value.failures
    assert isinstance(failure.error, LengthMismatchError)
    assert str(files / "c") in str(failure.error)
    assert not [key for page in store.list("p/c") for key in page.keys]


def test_a_file_replaced_by_a_fifo_does_not_hang(client: Client, store: Scripted, files: Path) -> None:
    def on_write(key: str) -> None:
        if key == "p/a":
            (files / "b").unlink()
            os.mkfifo(files / "b")

    store.on_write = on_write
    with pytest.raises(BatchError, match="fifo") as caught:
        client.upload(files, f"{store.root}/p")
    assert len(caught.value.failures) == 1


# -- damage


@pytest.mark.parametrize("tells", [True, False])
def test_verify_finds_what_the_store_spoiled(client: Client, store: Scripted, files: Path, tells: bool) -> None:
    store.tells_checksums = tells
    store.spoil = lambda data: data[:-1] + b"!"
    client.upload(files / "a", f"{store.root}/p")
    with pytest.raises(BatchError) as caught:
        client.upload(files / "a", f"{store.root}/p", verify=True)
    assert isinstance(caught.value.__cause__, IntegrityError)
    assert "CRC32C" in str(caught.value)


def test_the_length_is_compared_always(client: Client, store: Scripted, files: Path) -> None:
    store.spoil = lambda data: data[:-1]
    with pytest.raises(BatchError) as caught:
        client.upload(files / "a", f"{store.root}/p")
    assert isinstance(caught.value.__cause__, IntegrityError)


@pytest.mark.parametrize("tells", [True, False])
def test_verify_finds_what_was_spoiled_on_the_way_down(
    client: Client, store: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    fill(store, "p/a", "p/b")
    store.tells_checksums = tells
    find = MemoryStore._find
    reads = itertools.count()

    def damaged(self: MemoryStore, key: str, conditions: Conditions) -> Any:
        found = find(self, key, conditions)
        if key == "p/a" and next(reads) == 0:
            return type(found)(b"!" + found.data[1:], found.metadata)
        return found

    monkeypatch.setattr(MemoryStore, "_find", damaged)
    with pytest.raises(BatchError) as caught:
        client.download(f"{store.root}/p/", tmp_path / "out", verify=True, continue_on_error=True)
    assert isinstance(caught.value.__cause__, IntegrityError)
    assert names_in(tmp_path / "out") == ["b"]


def test_an_object_replaced_during_a_relay_is_never_a_mixture(
    client: Client, store: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_routes, "PIECE", 1000)
    store.put("k", b"1" * 5000)
    reads = itertools.count()
    store.on_read = lambda key: store.put("k", b"2" * 5000) and None if next(reads) == 2 else None
    target = f"{store.root}-2"
    with pytest.raises(BatchError) as caught:
        client.copy(f"{store.root}/k", f"direct://{tmp_path}/k")
    assert isinstance(caught.value.__cause__, ObjectChangedError)
    assert names_in(tmp_path) == []
    client.copy(f"{store.root}/k", f"{target}/k")
    assert client.get(f"{target}/k") == b"2" * 5000


def test_a_relay_in_pieces_carries_the_checksum(
    client: Client, store: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_routes, "PIECE", 1000)
    data = os.urandom(12_345)
    store.put("k", data)
    client.copy(f"{store.root}/k", f"direct://{tmp_path}/k", verify=True)
    assert (tmp_path / "k").read_bytes() == data


def test_a_full_disk_leaves_nothing_partial(client: Client, store: Scripted, tmp_path: Path) -> None:
    store.put("p/large", bytes(3_000_000))
    store.put("p/small", b"fits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(BatchError) as caught:
            client.download(f"{store.root}/p/", tmp_path / "out", continue_on_error=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(caught.value.__cause__, StorageFullError)
    assert os.listdir(tmp_path / "out") == ["small"]


# -- listings


def test_a_listing_that_fails_is_never_short(client: Client, store: Scripted, tmp_path: Path) -> None:
    fill(store, *(f"p/{number:05}" for number in range(2500)))

    def on_page(number: int) -> None:
        if number == 3:
            raise NetworkError("the listing broke off")

    store.on_page = on_page
    with pytest.raises(NetworkError, match="broke off"):
        client.download(f"{store.root}/p/", tmp_path / "out")
    store.pages = 0
    with pytest.raises(NetworkError, match="broke off"):
        delete(client, f"{store.root}/p/", recursive=True)
    store.pages = 0
    store.on_page = lambda number: None
    fill(store, *(f"p/{number:05}" for number in range(2500)))
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "extra").write_bytes(b"")
    store.on_page = on_page
    store.pages = 0
    with pytest.raises(NetworkError, match="broke off"):
        client.sync(f"{store.root}/p/", tmp_path / "mirror", delete=True)
    assert (tmp_path / "mirror" / "extra").exists()


def test_a_listing_out_of_order_is_not_compared(client: Client, store: Scripted, tmp_path: Path) -> None:
    fill(store, "p/a", "p/b")
    page, _ = MemoryStore._list_page(store, "p/", True, None, None)
    backwards = ListPage(["p/b", "p/a"], (), lambda: [*reversed(page.entries)])
    store._list_page = lambda *args: (backwards, None)  # type: ignore[method-assign]
    with pytest.raises(S3dlioError, match="not sorted"):
        client.sync(f"{store.root}/p/", tmp_path / "out")


# -- deletes


def test_keys_that_cannot_be_deleted_are_named_one_by_one(client: Client, store: Scripted) -> None:
    fill(store, *(f"p/{number:02}" for number in range(35)))
    store.on_delete = lambda keys: [(key, PermissionDeniedError("locked")) for key in keys if key.endswith("7")]
    with pytest.raises(BatchError) as caught:
        delete(client, f"{store.root}/p/", recursive=True)
    assert [failure.uri[-2:] for failure in caught.value.failures] == ["07", "17", "27"]
    assert [failure.index for failure in caught.value.failures] == [7, 17, 27]
    assert (caught.value.attempted, caught.value.succeeded) == (35, 32)
    assert f"{store.root}/p/07" in str(caught.value)


def test_a_batch_that_fails_whole_stops_the_deletion(client: Client, store: Scripted) -> None:
    fill(store, *(f"p/{number:02}" for number in range(35)))

    def on_delete(keys: list[str]) -> list[tuple[str, S3dlioError]]:
        if "p/15" in keys:
            raise NetworkError("gone")
        return []

    store.on_delete = on_delete
    with pytest.raises(BatchError) as caught:
        delete(client, f"{store.root}/p/", recursive=True, max_in_flight=1)
    assert (caught.value.attempted, caught.value.succeeded, len(caught.value.failures)) == (20, 10, 10)


# -- stopping and going on


def test_a_token_stops_a_transfer(client: Client, store: Scripted, files: Path) -> None:
    token = CancelToken()
    store.on_write = lambda key: token.cancel("enough") if key == "p/c" else None
    with pytest.raises(TransferCancelledError, match="3 objects done"):
        client.upload(files, f"{store.root}/p", max_in_flight=1, cancel=token)
    fill(store, *(f"q/{number:02}" for number in range(35)))
    with pytest.raises(TransferCancelledError):
        delete(client, f"{store.root}/q/", recursive=True, cancel=token)
    assert len(next(iter(store.list("q/"))).keys) == 35


def test_ctrl_c_leaves_nothing_partial_and_no_thread(client: Client, store: Scripted, tmp_path: Path) -> None:
    fill(store, *(f"p/{name}" for name in "abcdef"))
    threads = threading.active_count()

    def on_read(key: str) -> None:
        if key == "p/c":
            raise KeyboardInterrupt

    store.on_read = on_read
    with pytest.raises(KeyboardInterrupt):
        client.download(f"{store.root}/p/", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["a", "b"]
    assert threading.active_count() == threads


@pytest.mark.parametrize("direction", ["up", "down", "across"])
def test_an_interrupted_transfer_goes_on_where_it_stopped(
    client: Client, store: Scripted, files: Path, tmp_path: Path, direction: str
) -> None:
    fill(store, *(f"s/{name}" for name in "abcdef"))
    journal = str(tmp_path / "journal")
    touched: list[str] = []

    def run() -> Any:
        if direction == "up":
            return client.upload(files, f"{store.root}/p", journal=journal)
        if direction == "down":
            return client.download(f"{store.root}/s/", tmp_path / "out", journal=journal)
        return client.copy(f"{store.root}/s/", f"direct://{tmp_path}/out", recursive=True, journal=journal)

    def interrupted(key: str) -> None:
        touched.append(key)
        if key.endswith("/d"):
            raise KeyboardInterrupt

    store.on_read = store.on_write = interrupted
    with pytest.raises(KeyboardInterrupt):
        run()
    assert os.path.exists(journal)
    store.on_read = store.on_write = touched.append
    if direction == "up":
        (files / "b").write_bytes(b"changed since")
    else:
        store.put("s/b", b"changed since")
    touched.clear()
    done = run()
    assert [key[-1] for key in touched if key != "s/b" or direction != "up"] == ["b", "d", "e", "f"]
    assert (done.succeeded, done.skipped) == (4, 2)
    assert not os.path.exists(journal)
    touched.clear()
    assert run().succeeded == 6


def test_a_failed_transfer_keeps_its_journal(client: Client, store: Scripted, files: Path, tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    store.on_write = failing("p/b")
    with pytest.raises(BatchError):
        client.upload(files, f"{store.root}/p", journal=journal, continue_on_error=True)
    store.on_write = lambda key: None
    assert client.upload(files, f"{store.root}/p", journal=journal).succeeded == 1


def test_a_torn_journal_loses_only_its_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    items = [Item(f"name \n{number}", "k", number, None, number) for number in range(300)]
    journal = Journal(path, "upload", "a", "b")
    for item in items:
        journal.add(item)
    journal.close(finished=False)
    whole = path.read_bytes()
    assert whole.count(b"\n") == 301
    for cut in (len(whole) - 1, len(whole) - 10):
        path.write_bytes(whole[:cut])
        journal = Journal(path, "upload", "a", "b")
        assert [item for item in items if not journal.has(item)] == items[-1:]
        journal.add(items[-1])
        journal.close(finished=False)
        journal = Journal(path, "upload", "a", "b")
        assert all(journal.has(item) for item in items)
        assert not journal.has(items[5]._replace(size=7))
        assert not journal.has(items[5]._replace(modified=7))
        journal.close(finished=False)
    for header in (b"", b'["s3dlio-jour'):
        path.write_bytes(header)
        journal = Journal(path, "upload", "a", "b")
        assert not journal.has(items[0])
        journal.close(finished=True)
        assert not path.exists()


def test_journals_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, "upload", "a", "b")
    with pytest.raises(AlreadyExistsError, match="another transfer"):
        Journal(path, "upload", "a", "b")
    journal.add(Item("x", "x", 1))
    journal.close(finished=False)
    with pytest.raises(ConfigError, match="belongs to another transfer: upload a b"):
        Journal(path, "upload", "a", "c")
    path.write_bytes(path.read_bytes() + b"garbage\n" + b'["y","1 None"]\n')
    with pytest.raises(CorruptDataError, match="line 3"):
        Journal(path, "upload", "a", "b")
    path.write_text("my diary\n")
    with pytest.raises(ConfigError, match="no journal"):
        Journal(path, "upload", "a", "b")
    assert path.read_text() == "my diary\n"
    with pytest.raises(ObjectNotFoundError):
        Journal(tmp_path / "missing" / "journal", "upload", "a", "b")


def test_the_data_is_on_the_disk_before_the_journal_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bytes]] = []
    path, synced = tmp_path / "journal", os.fsync

    def fsync(fd: int) -> None:
        seen.append(("journal", path.read_bytes()))
        synced(fd)

    monkeypatch.setattr("s3dlio.transfer.journal.sync_file_system", lambda at: seen.append((at, path.read_bytes())))
    monkeypatch.setattr("os.fsync", fsync)
    journal = Journal(path, "download", "a", "b", str(tmp_path))
    journal.add(Item("one", "k", 1))
    journal.sync()
    journal.sync()  # there is nothing new
    journal.add(Item("two", "k", 1))
    journal.close(finished=False)
    assert [(where, b"one" in text, b"two" in text) for where, text in seen] == [
        (str(tmp_path), False, False), ("journal", True, False), (str(tmp_path), True, False), ("journal", True, True)
    ]  # fmt: skip


def test_files_that_the_journal_has_and_a_crash_has_emptied_come_again(
    client: Client, store: Scripted, tmp_path: Path
) -> None:
    fill(store, "s/a", "s/b", "s/c")
    journal = str(tmp_path / "journal")
    store.on_read = failing("s/c")
    with pytest.raises(BatchError):
        client.download(f"{store.root}/s/", tmp_path / "out", journal=journal, continue_on_error=True)
    os.truncate(tmp_path / "out" / "a", 0)
    store.on_read = lambda key: None
    done = client.download(f"{store.root}/s/", tmp_path / "out", journal=journal)
    assert (done.succeeded, done.skipped) == (2, 1)
    assert (tmp_path / "out" / "a").read_bytes() == store.get("s/a")


@pytest.mark.parametrize("content", [b"my thesis", b"[1, 2]", os.urandom(100_000).replace(b"\n", b".")])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    before = path.stat()
    with pytest.raises(ConfigError, match="no journal"):
        Journal(path, "upload", "a", "b")
    assert path.read_bytes() == content
    assert path.stat().st_mode == before.st_mode


def test_a_journal_is_a_file_of_one_s_own_for_nobody_else(tmp_path: Path) -> None:
    victim, link, fifo = tmp_path / "victim", tmp_path / "link", tmp_path / "fifo"
    victim.write_bytes(b"")
    link.symlink_to(victim)
    os.mkfifo(fifo)
    for path, reason in ((link, "symbolic link"), (fifo, "no regular file"), (Path("/dev/full"), "no regular file")):
        with pytest.raises(ConfigError, match=reason):
            Journal(path, "upload", "a", "b")
    path = tmp_path / "journal"
    for _ in range(2):
        Journal(path, "upload", "a", "b").close(finished=False)
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
    path.rename(tmp_path / "elsewhere")
    journal = Journal(tmp_path / "elsewhere", "upload", "a", "b")
    (tmp_path / "elsewhere").rename(path)
    (tmp_path / "elsewhere").write_bytes(b"of somebody else")
    journal.close(finished=True)
    assert (tmp_path / "elsewhere").read_bytes() == b"of somebody else"


def test_a_journal_of_the_first_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'["s3dlio-journal-1","upload","a","b"]\n["x","1 None"]\n')
    journal = Journal(path, "upload", "a", "b")
    assert journal.has(Item("x", "k", 1))
    journal.close(finished=True)


def test_a_journal_that_cannot_be_written_says_so_and_holds_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "journal", os.write
    journal = Journal(path, "upload", "a", "b")
    journal.add(Item("one", "k", 1))
    journal.sync()
    before = path.read_bytes()

    def full(fd: int, data: memoryview) -> int:
        if len(data) < 5:
            raise OSError(28, "No space left on device")
        return write(fd, data[:5])

    monkeypatch.setattr("os.write", full)
    journal.add(Item("two", "k", 1))
    with pytest.raises(StorageFullError, match="journal"):
        journal.sync()
    monkeypatch.undo()
    assert path.read_bytes() == before
    journal.close(finished=False)


def test_descriptors_are_opened_when_a_file_s_turn_comes(
    client: Client, store: Scripted, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    class Counting(FileSource):
        def __init__(self, *args: Any) -> None:
            opened.append(open_below(files))
            super().__init__(*args)

    monkeypatch.setattr(file_routes, "FileSource", Counting)
    client.upload(files, f"{store.root}/p", max_in_flight=4)
    assert len(set(opened)) == 1  # on one thread, never more than one file at a time


def test_local_errors_keep_their_number(client: Client, store: Scripted, tmp_path: Path) -> None:
    fill(store, "p/a")
    with pytest.raises(LocalIOError) as caught:
        client.download(f"{store.root}/p/", tmp_path / ("n" * 300))
    assert caught.value.errno == 36


def test_a_journal_is_of_the_services_it_was_made_with(tmp_path: Path) -> None:
    """A bucket of one name may be in two."""
    path = tmp_path / "journal"
    Journal(path, "upload", "a", "b", services=["", "one:80"]).close(finished=False)
    with pytest.raises(ConfigError, match="belongs to another transfer: upload a b  one:80"):
        Journal(path, "upload", "a", "b", services=["", "two:80"])
    Journal(path, "upload", "a", "b", services=["", "one:80"]).close(finished=True)
    path.write_text('["s3dlio-journal-2","upload","a","b"]\n')  # of an earlier release
    Journal(path, "upload", "a", "b", services=["", "one:80"]).close(finished=True)


def test_a_journal_names_the_service_of_a_bucket() -> None:
    def named(**s3: Any) -> str:
        with Client(region="us-east-1", access_key_id="a", secret_access_key="b", **s3) as client:
            return service_name(client.store_for("s3://bucket/k")[0])

    assert named(endpoint_url="http://Store.example") == "store.example:80"
    assert named() == ""
    assert service_name(MemoryStore("memory://m")) == ""


def test_a_straggler_closes_no_descriptor_that_is_another_s(tmp_path: Path) -> None:
    directory = DestinationDirectory(str(tmp_path))
    with directory.parent(["name"], "s3://b/name") as root:
        directory.close()
        other = os.open(tmp_path, os.O_RDONLY)
        assert other == root
    os.close(other)  # and not before
