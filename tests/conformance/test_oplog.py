"""Every operation of every store, batch, writer, loader and checkpoint is one row of the op-log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio import errors
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.client import Client
from s3dlio.loader.dataset import Dataset
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.uri import LOCAL_SCHEMES
from tests.conformance.stores import Case

Rows = list[dict[str, Any]]
Record = Callable[[Callable[[], object]], Rows]
NAMES = ("tree/a", "tree/b c", "tree/sub/d")


@pytest.fixture(autouse=True)
def _one_of_slow_servers(request: pytest.FixtureRequest) -> None:
    """The same server over TLS says nothing new here, and takes half a second a test."""
    if request.node.callspec.params["case"] == "s3-swift-tls":
        pytest.skip("s3-swift has been asked")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    path = tmp_path.parent / f"{tmp_path.name}.oplog"  # not beside what is listed

    def recorded(work: Callable[[], object], form: str = "tsv") -> Rows:
        s3dlio.init_op_log(path, format=form)
        try:
            work()
        finally:
            s3dlio.finalize_op_log()
        return list(s3dlio.read_op_log(path))

    return recorded


def of(case: Case, rows: Rows, *operations: str) -> Counter[tuple[str, str, int]]:
    """The rows of these operations: what each was, of what, and its bytes."""
    before = case.store.uri(case.base).partition("://")[2]
    return Counter(
        (row["op"], row["file"].removeprefix(before), row["bytes"]) for row in rows if row["op"] in operations
    )


def names_in(rows: Counter[tuple[str, str, int]]) -> Counter[str]:
    return Counter(name for _, name, _ in rows.elements())


def uris(case: Case) -> list[str]:
    return [case.store.uri(case.key(name)) for name in NAMES]


@pytest.mark.parametrize("form", ["tsv", "jsonl"])
def test_every_operation_is_one_row(case: Case, store: ObjectStore, record: Any, form: str) -> None:
    key = case.key("object")

    def work() -> None:
        store.put(key, b"0123456789")
        store.get(key)
        store.get_range(key, 2, 3)
        store.head(key)
        with store.writer(key) as writer:
            writer.write(b"abc")
        with pytest.raises(errors.ObjectNotFoundError):
            store.get(case.key("missing"))
        list(store.list(case.key("")))
        store.delete(key)

    rows = record(work, form)
    uri = store.uri(key)
    name = uri if form == "jsonl" else uri.partition("://")[2]
    assert [(row["op"], row["bytes"], row["n_objects"]) for row in rows] == [
        ("PUT", 10, 1), ("GET", 10, 1), ("GET_RANGE", 3, 1), ("HEAD", 10, 1), ("PUT", 3, 1), ("GET", 0, 1),
        ("LIST", 0, 1), ("DELETE", 0, 1),
    ]  # fmt: skip
    assert [row["file"] for row in rows[:5]] == [name] * 5
    assert [bool(row["error"]) for row in rows] == [False] * 5 + [True] + [False] * 2
    assert all(row["start"] <= row["first_byte"] <= row["end"] for row in rows[1:3])
    assert store.observers == ()
    if form == "tsv":
        assert all(store.root.startswith(row["endpoint"]) for row in rows)
        return
    assert (rows[1]["range"], rows[2]["range"]) == ("", "2-4")
    assert {row["attempts"] for row in rows[:5]} == {1}
    is_local = store.scheme in (*LOCAL_SCHEMES, "memory")
    assert all(bool(row["endpoint"]) is not is_local for row in rows[:5])
    if store.is_cloud:
        assert [row["status"] for row in rows[1:4]] == [200, 206, 200]


def test_batches_and_trees(case: Case, record: Record) -> None:
    bodies = {name: b"x" * (number + 1) for number, name in enumerate(NAMES)}
    each = [(name, len(body)) for name, body in bodies.items()]
    with Client() as client:
        rows = record(lambda: client.put_many(list(zip(uris(case), bodies.values(), strict=True))))
        assert of(case, rows, "PUT") == Counter(("PUT", *one) for one in each)
        rows = record(lambda: client.get_many(uris(case)))
        assert of(case, rows, "GET", "GET_RANGE") == Counter(("GET", *one) for one in each)
        rows = record(lambda: list(client.iter_many(uris(case))))
        assert of(case, rows, "GET", "GET_RANGE") == Counter(("GET", *one) for one in each)
        rows = record(lambda: client.stat_many(uris(case)))
        assert of(case, rows, "HEAD") == Counter(("HEAD", *one) for one in each)
        rows = record(lambda: client.list(case.store.uri(case.base), recursive=True))
        assert sum(row["n_objects"] for row in rows if row["op"] == "LIST") >= len(NAMES)
        tree, new = (case.store.uri(case.key(name)) for name in ("tree/", "new/"))
        rows = record(lambda: client.copy(tree, new, recursive=True))
        if case.is_local:  # the system copies what is read
            assert of(case, rows, "GET") == Counter(("GET", *one) for one in each)
        else:
            written = of(case, rows, "COPY") if "COPY" in {row["op"] for row in rows} else of(case, rows, "PUT")
            assert names_in(written) == Counter(name.replace("tree", "new") for name in NAMES)
        rows = record(lambda: client.delete_many(uris(case)))
    assert sum(row["n_objects"] for row in rows if row["op"].startswith("DELETE")) == len(NAMES)


def test_ranges_of_one_large_object_are_one_read(case: Case, store: ObjectStore, record: Record) -> None:
    if not isinstance(store, CloudStore):
        pytest.skip("reads whole objects at once")
    key, settings = case.key("large"), store.settings
    store.put(key, bytes(300_001))
    store.settings = settings.replace(range={"chunk": 65536, "threshold": 65536})
    try:
        rows = record(lambda: store.get(key))
    finally:
        store.settings = settings
        store.forget()
    assert of(case, rows, "GET", "GET_RANGE") == {("GET", "large", 300_001): 1}


def test_writers(case: Case, record: Record) -> None:
    size = (5 << 20) + 100

    def work() -> None:
        with Client() as client:
            uri = case.store.uri(case.key("stream"))
            with client.create_stream_writer(uri) as writer:
                writer.write(b"abc")
                writer.write(b"def")
            uri = case.store.uri(case.key("parts"))
            with s3dlio.MultipartUploadWriter.from_uri(uri, client=client, part_size=5 << 20) as parts:
                parts.write(bytes(size))

    rows = record(work)
    assert of(case, rows, "PUT", "COPY") == {("PUT", "stream", 6): 1, ("PUT", "parts", size): 1}
    assert not any(row["error"] for row in rows if row["op"] == "PUT")


def test_checkpoints_and_data_sets(case: Case, record: Record) -> None:
    with Client() as client:
        checkpoints = CheckpointStore(case.store.uri(case.key("run")), client=client)
        written = of(case, record(lambda: checkpoints.save(1, 0, "torch", bytes(5000))), "PUT")
        # Services are asked to write what commits it again, which they must refuse.
        assert names_in(written).keys() == set(case.names("run/"))
        assert {count for name, count in names_in(written).items() if "manifest" not in name} == {1}
        read = of(case, record(checkpoints.load_latest), "GET", "GET_RANGE")
        assert sum(size for _, name, size in read.elements() if "shard" in name) == 5000
        for name in NAMES:
            case.store.put(case.key(f"data/{name}"), name.encode())
        dataset = Dataset(case.store.uri(case.key("data/")), client=client)
        rows = record(lambda: list(dataset))
    assert of(case, rows, "GET", "GET_RANGE") == Counter(("GET", f"data/{name}", len(name)) for name in NAMES)


def test_distributed_checkpoints(case: Case, record: Record) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")
    import torch.distributed.checkpoint as dcp

    from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter

    place = case.store.uri(case.key("run"))
    with Client() as client:
        state = {"a": torch.zeros(700, 300)}
        rows = record(lambda: dcp.save(state, storage_writer=S3dlioStorageWriter(place, client=client)))
        written = of(case, rows, "PUT", "COPY")
        assert names_in(written).keys() == set(case.names("run/"))
        assert {count for name, count in names_in(written).items() if name.endswith(".distcp")} == {1}
        rows = record(lambda: dcp.load(state, storage_reader=S3dlioStorageReader(place, client=client)))
    read = Counter(row["file"] for row in rows if row["op"] in ("GET", "GET_RANGE"))
    assert max(read.values()) == 1
    assert sum(row["bytes"] for row in rows if row["op"].startswith("GET")) >= 700 * 300 * 4
