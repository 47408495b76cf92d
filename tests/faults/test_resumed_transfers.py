"""Large objects of an interrupted transfer resume where they stopped, and nothing is believed that was not checked."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.engine import write_behind
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import InlineExecutor
from s3dlio.engine.write_behind import WriteBehind
from s3dlio.errors import BatchError, NetworkError, ObjectChangedError, S3dlioError, TransferCancelledError
from s3dlio.memory.sinks import Sink
from s3dlio.net import blocking, lane
from s3dlio.net.blocking import drive
from s3dlio.stores.azure import AzureStore
from s3dlio.stores.azure import multipart as blocks
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.gcs import GcsAccount, GcsStore
from s3dlio.stores.gcs import multipart as composite
from s3dlio.stores.local.atomic import Replacement
from s3dlio.stores.memory import MemoryStore
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import S3Store, multipart, orphaned_uploads
from s3dlio.transfer import resuming
from s3dlio.transfer.body_monitor import BodyMonitor
from s3dlio.transfer.journal import Journal
from s3dlio.transfer.plan import Item
from s3dlio.transfer.resuming import ResumableDownload
from s3dlio.types import Conditions, ObjectMetadata
from s3dlio.uri import parse
from tests.servers import Server
from tests.servers.azurite import ACCOUNT, ACCOUNT_KEY
from tests.servers.gcs_scripted import Fault
from tests.wire.s3_harness import store_of

MIB = 1 << 20
DATA = random.Random(3).randbytes(4 * MIB + 17)


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "RESUMABLE", MIB)


def client_of(store: ObjectStore) -> Client:
    """A client that has ``store`` for its container."""
    made = Client()
    made.executor = InlineExecutor()  # type: ignore[assignment]
    find = made.store_for

    def found(uri: str) -> tuple[ObjectStore, str]:
        if uri.startswith(store.root):
            return store, uri.removeprefix(store.root).lstrip("/")
        return find(uri)

    made.store_for = found  # type: ignore[method-assign,assignment]
    return made


# -- downloads


class Breaking(MemoryStore):
    """Gives the first ``budget`` bytes of what is read, in pieces, and then breaks off."""

    budget = 1 << 40
    asked: list[tuple[int, int | None]]

    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> ObjectMetadata:
        self.asked.append((offset, length))
        about = self._head(key, conditions)
        data = memoryview(bytes(self._find(key, conditions).data))[offset : None if length is None else offset + length]
        sink.begin(len(data))
        for start in range(0, len(data), 100_000):
            piece = data[start : start + 100_000]
            self.budget -= len(piece)
            if self.budget < 0:
                raise S3dlioError("broken off")
            write = sink.at(start, len(piece))
            assert not isinstance(write, memoryview)
            write(piece)
        sink.end(len(data))
        return about


@pytest.fixture
def breaking() -> Breaking:
    store = Breaking(f"memory://resumed-{time.time_ns()}")
    store.asked = []
    store.put("s/large", DATA)
    return store


def fetch(store: Breaking, folder: Path, **more: Any) -> Any:
    store.asked.clear()
    with client_of(store) as client:
        return client.download(f"{store.root}/s/", folder / "out", journal=str(folder / "journal"), **more)


def interrupt(store: Breaking, folder: Path, budget: int = 2 * MIB) -> Path:
    """A download that breaks off; its unfinished file."""
    store.budget = budget
    with pytest.raises(BatchError, match="failed=1"):
        fetch(store, folder)
    store.budget = 1 << 40
    [partial] = [folder / "out" / name for name in os.listdir(folder / "out")]
    assert partial.name.endswith(".partial")
    return partial


def test_a_download_goes_on_with_what_is_missing(breaking: Breaking, tmp_path: Path) -> None:
    interrupt(breaking, tmp_path)
    done = fetch(breaking, tmp_path)
    assert breaking.asked == [(2_000_000, len(DATA) - 2_000_000)]
    assert (tmp_path / "out" / "large").read_bytes() == DATA
    assert os.listdir(tmp_path / "out") == ["large"]
    assert not (tmp_path / "journal").exists()
    assert (done.succeeded, done.bytes) == (1, len(DATA))


def test_a_download_that_is_interrupted_twice(breaking: Breaking, tmp_path: Path) -> None:
    first = interrupt(breaking, tmp_path)
    assert interrupt(breaking, tmp_path, MIB) == first
    fetch(breaking, tmp_path, verify=True)
    assert breaking.asked[0] == (3_000_000, len(DATA) - 3_000_000)
    assert (tmp_path / "out" / "large").read_bytes() == DATA


def test_what_the_file_has_lost_is_fetched_again(breaking: Breaking, tmp_path: Path) -> None:
    partial = interrupt(breaking, tmp_path)
    with partial.open("r+b") as file:
        file.write(bytes(10))  # a page that never reached the disk
    fetch(breaking, tmp_path)
    assert breaking.asked == [(0, None)]
    assert (tmp_path / "out" / "large").read_bytes() == DATA


@pytest.mark.parametrize("lost", ["gone", "emptied", "link", "directory"])
def test_an_unfinished_file_that_is_not_there(breaking: Breaking, tmp_path: Path, lost: str) -> None:
    partial = interrupt(breaking, tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    if lost == "emptied":
        os.truncate(partial, 0)
    else:
        partial.unlink()
    if lost == "link":
        partial.symlink_to(victim)
    elif lost == "directory":
        partial.mkdir()
    fetch(breaking, tmp_path)
    assert (tmp_path / "out" / "large").read_bytes() == DATA
    assert victim.read_bytes() == b"precious"


def test_another_version_is_fetched_from_its_beginning(breaking: Breaking, tmp_path: Path) -> None:
    interrupt(breaking, tmp_path)
    breaking.put("s/large", DATA[::-1])
    fetch(breaking, tmp_path)
    assert breaking.asked == [(0, None)]
    assert (tmp_path / "out" / "large").read_bytes() == DATA[::-1]
    assert os.listdir(tmp_path / "out") == ["large"]


def test_an_object_that_is_replaced_after_it_was_listed_is_fetched_anew(breaking: Breaking, tmp_path: Path) -> None:
    interrupt(breaking, tmp_path)
    pages = breaking._pages

    def replaced(*asked: Any) -> Iterator[Any]:
        for page in pages(*asked):
            _ = page.entries
            breaking.put("s/large", DATA[::-1])
            yield page

    breaking._pages = replaced  # type: ignore[method-assign]
    fetch(breaking, tmp_path)
    assert breaking.asked[-1] == (0, None)
    assert (tmp_path / "out" / "large").read_bytes() == DATA[::-1]


@pytest.mark.parametrize(
    "state",
    [{"partial": "../victim", "ranges": [[0, 9, 1]]}, {"partial": "x/.s3dlio-1.partial"}, {"ranges": [[5, 1, 0], "x"]}],
)
def test_a_journal_leads_nowhere(breaking: Breaking, tmp_path: Path, state: dict[str, Any]) -> None:
    interrupt(breaking, tmp_path)
    (tmp_path / "victim").write_bytes(b"precious")
    lines = (tmp_path / "journal").read_text().splitlines()
    name, stamp, _ = json.loads(lines[-1])
    (tmp_path / "journal").write_text("\n".join([*lines, json.dumps([name, stamp, state]), ""]))
    fetch(breaking, tmp_path)
    assert (tmp_path / "out" / "large").read_bytes() == DATA
    assert (tmp_path / "victim").read_bytes() == b"precious"


class CancelAfter:
    """Cancels a transfer when so many bytes have moved."""

    def __init__(self, token: CancelToken, after: int) -> None:
        self._token = token
        self._left = after
        self.done = threading.Event()

    def add(self, total_objects: int, total_bytes: int) -> None:
        return None

    def advance(self, objects: int, bytes: int) -> None:
        self._left -= bytes
        if self._left < 0:
            self._token.cancel("enough")
            self.done.set()

    def close(self) -> None:
        return None


@pytest.mark.parametrize("slow", [False, True], ids=["", "written late"])
def test_concurrent_ranges_of_a_cloud_are_kept_and_completed(
    moto_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    token = CancelToken()
    progress = CancelAfter(token, 6 * MIB)
    write = write_behind.pwrite_full

    def late(fd: int, data: memoryview, position: int) -> int:
        assert progress.done.wait(60)
        return write(fd, data, position)

    monkeypatch.setattr(write_behind, "usable_cpus", lambda: 2 if slow else 1)
    monkeypatch.setattr(write_behind, "pwrite_full", late)
    monkeypatch.setattr(lane, "_CHECK_SECONDS", 0.0)  # the cancellation is noticed before the next bytes arrive
    ranges = {"chunk": MIB, "threshold": MIB, "concurrency": 4}
    store = store_of(moto_server.endpoint, f"resumed-{time.time_ns()}", range=ranges)
    store.create_container()
    store.put("large", LARGE)
    journal = str(tmp_path / "journal")
    with client_of(store) as client:
        with pytest.raises(TransferCancelledError):  # four ranges at a time: not all of them can have arrived by then
            client.download(f"{store.root}/", tmp_path / "out", 4, journal=journal, cancel=token, progress=progress)
        kept = json.loads((tmp_path / "journal").read_text().splitlines()[-1])[2]["ranges"]
        had = sum(end - begin for begin, end, _ in kept)
        fetched: list[int] = []
        store.observers = (lambda seen: fetched.append(seen.bytes) if seen.operation == "GET_RANGE" else None,)
        client.download(f"{store.root}/", tmp_path / "out", journal=journal, verify=True)
    assert had > 3 * MIB
    assert sum(fetched) == len(LARGE) - had
    assert (tmp_path / "out" / "large").read_bytes() == LARGE
    assert os.listdir(tmp_path / "out") == ["large"]


# -- uploads

PARTS = {"threshold": 5 * MIB, "part_size": 5 * MIB, "max_in_flight": 1}
LARGE = random.Random(5).randbytes(17 * MIB + 5)


def parts_of(kind: str, request: pytest.FixtureRequest) -> tuple[ObjectStore, type]:
    """A store of this kind, and the class that makes its parts."""
    name = f"resumed-{time.time_ns()}"
    if kind == "s3":
        store = store_of(request.getfixturevalue("moto_server").endpoint, name, multipart=PARTS)
        store.create_container()
        return store, multipart.MultipartUpload
    if kind == "azure":
        server = request.getfixturevalue("azurite_server")
        azure = {"endpoint_url": server.account_url, "key": ACCOUNT_KEY}
        made = open_store(parse(f"az://{ACCOUNT}/{name}/"), Settings.resolve({}, azure=azure, multipart=PARTS))
        made.create_container()
        return made, blocks.BlockUpload
    server = request.getfixturevalue("gcs_full_server")
    server.buckets[name] = {}
    settings = Settings.resolve(
        {}, gcs={"endpoint_url": server.endpoint, "composite_upload": kind == "gcs"}, multipart=PARTS,
        retry={"base_delay": 0.001, "max_delay": 0.01, "max_attempts": 1},
    )  # fmt: skip
    return GcsStore(GcsAccount(settings), name), composite.CompositeUpload


class Uploads:
    """Uploads of one file with a journal, of which some break off at a part."""

    def __init__(self, store: ObjectStore, maker: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.folder = folder
        self.numbers: list[int] = []
        self.stop_at = 0
        self.failure: Exception = NetworkError("the cable is out")
        (folder / "large").write_bytes(LARGE)
        real = maker.part

        def part(upload: Any, number: int, *args: Any) -> Any:
            if number == self.stop_at:
                raise self.failure
            self.numbers.append(number)
            return real(upload, number, *args)

        monkeypatch.setattr(maker, "part", part)

    def run(self, stop_at: int = 0) -> None:
        self.stop_at = stop_at
        self.numbers.clear()
        with client_of(self.store) as client:
            journal = str(self.folder / "journal")
            client.upload(self.folder / "large", f"{self.store.root}/", journal=journal, max_in_flight=1)


@pytest.fixture(params=["s3", "azure", "gcs"])
def uploads(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uploads:
    return Uploads(*parts_of(request.param, request), tmp_path, monkeypatch)


def test_an_upload_goes_on_with_the_parts_that_are_missing(uploads: Uploads) -> None:
    with pytest.raises(BatchError):
        uploads.run(stop_at=4)
    assert uploads.numbers == [1, 2, 3]  # the third is given up on its way
    uploads.run()
    assert uploads.numbers in ([3, 4], [4])
    assert uploads.store.get("large") == LARGE
    assert not (uploads.folder / "journal").exists()
    assert [key for page in uploads.store.list() for key in page.keys] == ["large"]


def test_another_version_of_the_file_is_sent_from_its_beginning(uploads: Uploads) -> None:
    with pytest.raises(BatchError):
        uploads.run(stop_at=3)
    (uploads.folder / "large").write_bytes(LARGE[::-1])
    uploads.run()
    assert uploads.numbers == [1, 2, 3, 4]
    assert uploads.store.get("large") == LARGE[::-1]
    if isinstance(uploads.store, S3Store):
        assert open_uploads(uploads.store) == 0
    assert [key for page in uploads.store.list() for key in page.keys] == ["large"]


def test_parts_of_other_bytes_are_sent_again(uploads: Uploads) -> None:
    """As if the file had been changed, and its time set back."""
    if isinstance(uploads.store, AzureStore):
        pytest.skip("Azure tells no checksum of a staged block")
    about = (uploads.folder / "large").stat()
    with pytest.raises(BatchError):
        uploads.run(stop_at=4)
    other = b"x" + LARGE[1:]
    (uploads.folder / "large").write_bytes(other)
    os.utime(uploads.folder / "large", ns=(about.st_atime_ns, about.st_mtime_ns))
    uploads.run()
    assert uploads.numbers in ([1, 3, 4], [1, 4])
    assert uploads.store.get("large") == other


def test_an_upload_that_is_gone_begins_anew(uploads: Uploads) -> None:
    with pytest.raises(BatchError):
        uploads.run(stop_at=3)
    if not isinstance(uploads.store, S3Store):
        pytest.skip("there is nothing that could be gone but parts")
    lines = (uploads.folder / "journal").read_text().splitlines()
    upload_id = json.loads(lines[-1])[2]["upload"]
    blocking.drive(orphaned_uploads.abort(uploads.store.service, "large", upload_id, stragglers=False))
    uploads.run()
    assert uploads.numbers == [1, 2, 3, 4]
    assert uploads.store.get("large") == LARGE


def test_what_can_never_go_on_leaves_nothing(uploads: Uploads) -> None:
    uploads.failure = ObjectChangedError("the file was changed while it was read")
    with pytest.raises(BatchError):
        uploads.run(stop_at=3)
    if isinstance(uploads.store, S3Store):
        assert open_uploads(uploads.store) == 0
    assert [key for page in uploads.store.list() for key in page.keys] == []
    uploads.run()
    assert uploads.store.get("large") == LARGE


def test_without_a_journal_nothing_stays_of_an_upload(uploads: Uploads) -> None:
    uploads.stop_at = 3
    with client_of(uploads.store) as client, pytest.raises(BatchError):
        client.upload(uploads.folder / "large", f"{uploads.store.root}/")
    if isinstance(uploads.store, S3Store):
        assert open_uploads(uploads.store) == 0
    assert [key for page in uploads.store.list() for key in page.keys] == []


def open_uploads(store: S3Store) -> int:
    def steps() -> Any:
        return (yield from store.service.send(store.service.request("GET", "", "uploads="), ""))

    return bytes(blocking.drive(steps()).body).count(b"<UploadId>")


def test_a_session_goes_on_where_the_service_says(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, maker = parts_of("gcs-session", request)
    server = request.getfixturevalue("gcs_full_server")
    uploads = Uploads(store, maker, tmp_path, monkeypatch)
    server.faults = [Fault("PUT", "upload_id=", keep=6 * MIB), Fault("PUT", "upload_id=", status=403)]
    with pytest.raises(BatchError):
        uploads.run()
    assert server.faults == []
    server.seen.clear()
    uploads.run()
    ranges = [seen.headers.get("content-range", "") for seen in server.requests("PUT")]
    assert ranges[0] == f"bytes */{len(LARGE)}"
    assert ranges[1] == f"bytes {6 * MIB}-{len(LARGE) - 1}/{len(LARGE)}"
    assert store.get("large") == LARGE


def test_what_is_fetched_anew_is_not_kept_as_the_version_that_was_listed(breaking: Breaking, tmp_path: Path) -> None:
    """After a crash its ranges would be completed with those of the version that was listed, if that came back."""
    journal = Journal(tmp_path / "journal", "download", "a", "b")
    item = Item("large", "s/large", len(DATA), breaking.head("s/large").etag)
    breaking.put("s/large", DATA[::-1])
    breaking.budget = 2 * MIB
    seen: list[Any] = []
    save = journal.sync

    class Seen(BodyMonitor):
        def __call__(self, start: int, data: memoryview, fresh: int) -> None:
            super().__call__(start, data, fresh)
            save()
            seen.append(json.loads((tmp_path / "journal").read_text().splitlines()[-1])[-1])

    with Replacement(str(tmp_path / "large")) as new, WriteBehind().sink(new.fd) as sink:
        reading = ResumableDownload(journal, item).read(breaking, new, sink, Seen(None, True))
        with pytest.raises(S3dlioError, match="broken off"):
            drive(reading)
    assert seen
    assert all(not state for state in seen)
    journal.close(finished=False)
    assert Journal(tmp_path / "journal", "download", "a", "b").unfinished(item) is None
