"""Any call may happen in the middle of any other one on the same thread: a signal handler that saves a checkpoint, a
finaliser that the garbage collector runs, a sink or an observer that reads and writes elsewhere.

A profiler's hook strikes between any two steps of the outer call, in this library and in the standard one below it.
"""

from __future__ import annotations

import gc
import itertools
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.config.settings import Settings
from tests.sinks import WriterSink

KIB, MIB = 1 << 10, 1 << 20
Verb = Callable[[], None]
_number = itertools.count()


def fresh(size: int) -> bytes:
    """Bytes that no other object has."""
    mark = b"<%d>" % next(_number)
    return (mark * (size // len(mark) + 1))[:size]


class Verbs:
    """Each method makes one call on objects of its own and looks whether the result is right."""

    def __init__(self, client: Client, base: str, folder: Path) -> None:
        self.client, self.base, self.folder = client, base, folder
        self.small, self.middle, self.large = fresh(4 * KIB), fresh(200 * KIB), fresh(700 * KIB)
        self.client.put_bytes(f"{base}/fixed/small", self.small)
        self.client.put_bytes(f"{base}/fixed/middle", self.middle)
        self.client.put_bytes(f"{base}/fixed/large", self.large)

    def new(self) -> str:
        return f"{self.base}/new/{next(_number)}"

    def get(self) -> None:
        assert self.client.get(f"{self.base}/fixed/small") == self.small

    def get_large(self) -> None:
        assert self.client.get(f"{self.base}/fixed/large") == self.large

    def get_range(self) -> None:
        assert self.client.get_range(f"{self.base}/fixed/large", 5000, 9000) == self.large[5000:14000]

    def get_into(self) -> None:
        buffer = bytearray(len(self.small))
        assert self.client.get_into(f"{self.base}/fixed/small", buffer) == len(self.small)
        assert buffer == self.small

    def get_many(self) -> None:
        uris = [f"{self.base}/fixed/small", f"{self.base}/fixed/large"] * 2
        got = {uri: bytes(data) for uri, data in self.client.get_many(uris)}
        assert got == {uris[0]: self.small, uris[1]: self.large}

    def get_through_a_function(self) -> None:
        store, key = self.client.store_for(f"{self.base}/fixed/middle")
        got = bytearray()

        def take(data: memoryview) -> None:
            self.get()
            got.extend(data)

        store.execute(store.read_call(key, WriterSink(take)))
        assert got == self.middle

    def put(self) -> None:
        uri, data = self.new(), fresh(3 * KIB)
        self.client.put_bytes(uri, data)
        assert self.client.get(uri) == data

    def put_many(self) -> None:
        items = [(self.new(), fresh(2 * KIB)) for _ in range(5)]
        self.client.put_many(items)
        assert [self.client.get(uri) for uri, _ in items] == [data for _, data in items]

    def write(self) -> None:
        uri, data = self.new(), fresh(9 * KIB)
        store, key = self.client.store_for(uri)
        with store.writer(key) as writer:
            for start in range(0, len(data), KIB):
                writer.write(data[start : start + KIB])
        assert self.client.get(uri) == data

    def drop_a_writer(self) -> None:
        store, key = self.client.store_for(self.new())
        cycle: list[Any] = [store.writer(key)]
        cycle[0].write(fresh(KIB))
        cycle.append(cycle)
        del cycle
        gc.collect()

    def stat(self) -> None:
        assert self.client.stat(f"{self.base}/fixed/large")["size"] == len(self.large)
        assert not self.client.exists(f"{self.base}/fixed/none")

    def list(self) -> None:
        found = self.client.list(f"{self.base}/fixed/")
        assert sorted(uri.rpartition("/")[2] for uri in found) == ["large", "middle", "small"]

    def copy(self) -> None:
        uri = self.new()
        self.client.copy(f"{self.base}/fixed/small", uri)
        assert self.client.get(uri) == self.small

    def delete(self) -> None:
        uri = self.new()
        self.client.put_bytes(uri, b"x")
        self.client.delete(uri)
        assert not self.client.exists(uri)

    def delete_many(self) -> None:
        uris = [self.new() for _ in range(3)]
        self.client.put_many([(uri, b"x") for uri in uris])
        self.client.delete_many(uris)
        assert not any(map(self.client.exists, uris))

    def upload_and_download(self) -> None:
        place, uri, data = self.folder / str(next(_number)), self.new(), fresh(5 * KIB)
        (place / "up").mkdir(parents=True)
        (place / "up" / "file").write_bytes(data)
        self.client.upload(str(place / "up"), f"{uri}/", recursive=True)
        self.client.download(f"{uri}/", str(place / "down"), recursive=True)
        assert [path.read_bytes() for path in (place / "down").rglob("file")] == [data]


NAMES = [name for name, found in vars(Verbs).items() if callable(found) and name not in ("__init__", "new")]


@pytest.fixture(scope="module", params=["s3", "file", "direct"])
def verbs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    folder = tmp_path_factory.mktemp("nested")
    environ: dict[str, str] = {}
    base = f"{request.param}://{folder}/store"
    if request.param == "s3":
        environ, base = request.getfixturevalue("moto_server").env, "s3://calls-within-calls"
    ranges = {"chunk": 256 * KIB, "threshold": 256 * KIB}
    with Client(Settings.resolve(environ, range=ranges)) as client:
        if request.param == "s3":
            client.create_bucket(base)
        yield Verbs(client, base, folder)


def steps_of(verb: Verb) -> int:
    """How many function calls and returns a verb takes."""
    count = 0

    def hook(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(hook)
    try:
        verb()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("outer", NAMES)
def test_a_signal_handler_makes_any_call_within_any_other(verbs: Verbs, outer: str) -> None:
    turn = NAMES.index(outer)  # so that each strikes at another place of each
    inner = itertools.cycle(getattr(verbs, name) for name in NAMES[turn:] + NAMES[:turn])
    verb: Verb = getattr(verbs, outer)
    verb()
    stride = max(1, steps_of(verb) // (len(NAMES) + 1))
    failed: list[BaseException] = []
    count = struck = 0

    def handler(*_: object) -> None:
        try:
            next(inner)()
        except BaseException as error:
            failed.append(error)

    def hook(*_: object) -> None:
        nonlocal count, struck
        count += 1
        if count % stride == 0 and struck < len(NAMES):
            struck += 1
            signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        while struck < len(NAMES):  # other threads may have done a part of it
            sys.setprofile(hook)
            verb()
            sys.setprofile(None)
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGUSR1, before)
    assert not failed, failed[0]


@pytest.mark.parametrize("outer", ["get", "get_many", "put_many", "write", "list", "upload_and_download"])
def test_an_observer_makes_any_call_within_any_other(verbs: Verbs, outer: str) -> None:
    inner = itertools.cycle(getattr(verbs, name) for name in NAMES)
    failed: list[BaseException] = []
    within = False

    def observer(_: object) -> None:
        nonlocal within
        if within:
            return
        within = True
        try:
            next(inner)()
        except BaseException as error:
            failed.append(error)
        finally:
            within = False

    verbs.client.add_observer(observer)
    try:
        for _ in range(4):
            getattr(verbs, outer)()
    finally:
        verbs.client.remove_observer(observer)
    assert not failed, failed[0]
