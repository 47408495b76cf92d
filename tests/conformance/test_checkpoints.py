"""Checkpoints on every store: what was saved is found again, whole, and nothing else is."""

from __future__ import annotations

import pytest

from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.client import Client
from s3dlio.errors import ObjectNotFoundError
from tests.conformance.stores import Case


@pytest.fixture(autouse=True)
def _one_of_slow_servers(request: pytest.FixtureRequest) -> None:
    """The same server over TLS says nothing new here, and takes half a second a test."""
    if request.node.callspec.params["case"] == "s3-swift-tls":
        pytest.skip("s3-swift has been asked")


@pytest.fixture
def checkpoints(case: Case) -> CheckpointStore:
    return CheckpointStore(case.store.uri(case.key("run")), client=Client())


@pytest.mark.parametrize("level", [None, 3])
def test_what_was_saved_is_loaded(case: Case, level: int | None) -> None:
    checkpoints = CheckpointStore(case.store.uri(case.key("run")), compression_level=level, client=Client())
    assert checkpoints.load_latest() is None
    assert checkpoints.list() == []
    first, second = b"a" * 100_000, bytes(range(256)) * 500
    checkpoints.save(1, 0, "torch", first, {"loss": [0.5, "é"]})
    assert checkpoints.load_latest() == first
    checkpoints.save(2, 0, "torch", second)
    assert checkpoints.load_latest() == second
    assert checkpoints.load(1) == first
    assert checkpoints.manifest(1).user_meta == {"loss": [0.5, "é"]}
    assert [(info.step, info.is_complete) for info in checkpoints.list()] == [(1, True), (2, True)]
    with pytest.raises(ObjectNotFoundError):
        checkpoints.load(3)


def test_a_step_that_is_saved_twice_is_there_twice(checkpoints: CheckpointStore) -> None:
    keys = [checkpoints.save(7, 0, "jax", bytes([number]) * 10) for number in range(3)]
    assert len(set(keys)) == 3
    assert [info.manifest_key for info in checkpoints.list()] == keys
    assert checkpoints.load_latest() == b"\2" * 10
    assert [checkpoints.reader().read_shard_by_rank(checkpoints.manifest(info), 0) for info in checkpoints.list()] == [
        b"\0" * 10, b"\1" * 10, b"\2" * 10
    ]  # fmt: skip


def test_a_lower_step_is_latest_only_if_that_is_asked_for(checkpoints: CheckpointStore) -> None:
    checkpoints.save(10, 0, "torch", b"ten")
    checkpoints.save(5, 0, "torch", b"five")
    assert checkpoints.load_latest() == b"ten"
    checkpoints.save(6, 0, "torch", b"six", make_latest=True)
    assert checkpoints.load_latest() == b"six"
    assert checkpoints.load(5) == b"five"


def test_the_shards_of_all_ranks_are_one_checkpoint(checkpoints: CheckpointStore) -> None:
    writers = [checkpoints.writer(3, rank) for rank in range(3)]
    metas = [writer.save_distributed_shard(4, 1, "jax", bytes([writer.rank]) * 5000) for writer in writers[:2]]
    with writers[2].get_distributed_shard_stream(4, 1, "jax") as stream:
        for _ in range(5):
            stream.write_chunk(b"\2" * 1000)
        metas.append(stream.finalize())
    assert checkpoints.load_latest() is None
    assert len({meta["key"].rpartition("/")[0] for meta in metas}) == 1
    writers[0].finalize_distributed_checkpoint(4, 1, "jax", metas, {"a": 1})
    assert checkpoints.load_latest() == [bytes([rank]) * 5000 for rank in range(3)]
    assert checkpoints.list()[0].world_size == 3


def test_what_is_deleted_is_gone_and_the_rest_stays(checkpoints: CheckpointStore, case: Case) -> None:
    for step in (1, 2, 3):
        checkpoints.save(step, 0, "torch", b"%d" % step)
    assert checkpoints.delete_checkpoint(3)
    assert not checkpoints.delete_checkpoint(3)
    assert checkpoints.load_latest() == b"2"
    assert checkpoints.delete_checkpoint(1)
    assert checkpoints.load_latest() == b"2"
    assert checkpoints.delete_checkpoint(2)
    assert checkpoints.load_latest() is None
    assert case.names() == []


def test_named_checkpoints_are_apart(checkpoints: CheckpointStore) -> None:
    checkpoints.save("model", b"one")
    checkpoints.save(epoch=1, step=100, name="model", data=b"two", metadata={"a": 1})
    checkpoints.save("model", b"three")
    checkpoints.put_shard("weights", 1, b"first")
    checkpoints.put_shard("weights", 1, b"second")
    assert checkpoints.load("model") == b"three"
    assert checkpoints.load("model", step=100) == b"two"
    assert checkpoints.get_shard("weights", 1) == b"second"
    with pytest.raises(ObjectNotFoundError):
        checkpoints.get_shard("weights", 0)
    assert checkpoints.load_latest() is None
    assert checkpoints.list() == []


def test_a_shard_is_read_in_pieces(checkpoints: CheckpointStore) -> None:
    data = bytes(range(256)) * (20 << 10)
    checkpoints.save(1, 0, "torch", data)
    reader = checkpoints.reader()
    pieces = list(reader.iter_shard(checkpoints.manifest(), 0))
    assert len(pieces) > 1
    assert b"".join(pieces) == data
