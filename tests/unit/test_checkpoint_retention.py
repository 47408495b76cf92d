"""Which checkpoints a prune keeps, and what it does when the latest is damaged."""

from __future__ import annotations

import itertools

import pytest

from s3dlio import Client
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.errors import ConfigError, S3dlioError

_numbers = itertools.count()


@pytest.fixture
def base() -> str:
    return f"memory://retention-{next(_numbers)}/run"


@pytest.fixture
def store(base: str) -> CheckpointStore:
    """Steps 10, 20, ... 70; the last one twice."""
    store = CheckpointStore(base, client=Client())
    for step in (10, 20, 30, 40, 50, 60, 70, 70):
        store.save(step, 0, "torch", b"%d" % step, None)
    return store


def steps(store: CheckpointStore) -> list[int]:
    return [each.step for each in store.list_checkpoints()]


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "kept"),
    [(1, None, [70, 70]), (3, None, [50, 60, 70, 70]), (100, None, [10, 20, 30, 40, 50, 60, 70, 70]),
     (None, 30, [30, 60, 70]), (2, 20, [20, 40, 60, 70, 70]), (0, 1000, [70])],
)  # fmt: skip
def test_the_last_every_kth_and_the_latest_stay(
    store: CheckpointStore, keep_last: int | None, keep_every: int | None, kept: list[int]
) -> None:
    before = store.list_checkpoints()
    dry = store.prune(keep_last=keep_last, keep_every=keep_every, dry_run=True)
    assert store.list_checkpoints() == before
    assert store.prune(keep_last=keep_last, keep_every=keep_every) == dry
    assert steps(store) == [each.step for each in dry.kept] == kept
    assert {each.manifest_key for each in (*dry.kept, *dry.deleted)} == {each.manifest_key for each in before}
    assert bytes(store.load_latest()) == b"70"


def test_nothing_is_left_of_what_was_deleted(base: str, store: CheckpointStore) -> None:
    store.prune(keep_last=1)
    left = [uri for uri in Client().list(base, recursive=True) if "ckpt-70-" not in uri]
    assert left == [f"{base}/latest.json"]


def test_an_older_latest_stays(store: CheckpointStore) -> None:
    store.save(5, 0, "torch", b"5", None, make_latest=True)
    assert [each.step for each in store.prune(keep_last=1).kept] == [5, 70, 70]
    assert bytes(store.load_latest()) == b"5"


@pytest.mark.parametrize(("keep_last", "keep_every"), [(None, None), (0, None), (-1, None), (1, 0), (None, -3)])
def test_what_would_keep_nothing_is_refused(
    store: CheckpointStore, keep_last: int | None, keep_every: int | None
) -> None:
    before = steps(store)
    with pytest.raises(ConfigError):
        store.prune(keep_last=keep_last, keep_every=keep_every)
    assert steps(store) == before


@pytest.mark.parametrize("what", ["shard", "manifest", "pointer"])
def test_nothing_is_deleted_while_the_latest_is_damaged(base: str, store: CheckpointStore, what: str) -> None:
    latest = store.latest()
    assert latest is not None
    keys = {"shard": store.manifest().shards[0].key, "manifest": latest.manifest_key, "pointer": "latest.json"}
    Client().put_bytes(f"{base}/{keys[what]}", b"")
    before = steps(store)
    with pytest.raises(S3dlioError):
        store.prune(keep_last=1)
    assert steps(store) == before


def test_what_cannot_be_read_stays_and_does_not_count(base: str, store: CheckpointStore) -> None:
    Client().put_bytes(f"{base}/manifests/ckpt-80-20300101-000000.json", b'{"format_version": 2}')
    pruned = store.prune(keep_last=1)
    assert [each.status for each in pruned.kept] == ["complete", "complete", "damaged"]
    assert steps(store) == [70, 70, 80]
