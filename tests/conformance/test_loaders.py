"""Data sets and loaders on every store: each sample once, in the order asked for, and errors with their URI."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import ObjectChangedError, ObjectNotFoundError, PreconditionFailedError
from s3dlio.formats.tfrecord import build_tfrecord
from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.dataset import Dataset
from s3dlio.loader.key_listing import create_key_manifest
from s3dlio.uri import LOCAL_SCHEMES
from tests.conformance.stores import Case

BODIES = {f"{number:02d}": bytes([number]) * (number * 1000) for number in range(7)} | {"sub/7": b"seven"}


@pytest.fixture(autouse=True)
def _one_of_slow_servers(request: pytest.FixtureRequest) -> None:
    """The same server over TLS says nothing new here, and takes half a second a test."""
    if request.node.callspec.params["case"] == "s3-swift-tls":
        pytest.skip("s3-swift has been asked")


@pytest.fixture
def dataset(case: Case) -> Dataset:
    for name, body in BODIES.items():
        case.store.put(case.key(f"data/{name}"), body)
    case.store.put(case.key("database"), b"no sample")
    return Dataset(case.store.uri(case.key("data/")), client=Client())


def test_a_data_set_has_every_object_below_its_uri(case: Case, dataset: Dataset) -> None:
    base = case.store.uri(case.key("data/"))
    assert dataset.uris() == [base + name for name in sorted(BODIES)]
    assert len(dataset) == len(dataset.keys()) == len(BODIES)
    assert all(uri.endswith(key) for uri, key in zip(dataset.uris(), dataset.keys(), strict=True))
    assert dataset[2] == BODIES["02"]
    assert dataset[-1] == b"seven"
    assert list(dataset) == [BODIES[name] for name in sorted(BODIES)]
    assert asyncio.run(_item(dataset, 3)) == BODIES["03"]
    with pytest.raises(IndexError, match="Index 99 out of range"):
        dataset[99]
    with pytest.raises(ObjectNotFoundError) as caught:
        Dataset(case.store.uri(case.key("nothing/")), client=Client())
    assert caught.value.uri == case.store.uri(case.key("nothing/"))


async def _item(dataset: Dataset, index: int) -> Any:
    return await dataset.get_item(index)


def test_batches_come_in_order_from_a_loop_and_an_event_loop(dataset: Dataset) -> None:
    loader = BytesLoader(dataset, {"batch_size": 3})
    expected = [BODIES[name] for name in sorted(BODIES)]
    batches = [[bytes(data) for data in batch] for batch in loader]
    assert [len(batch) for batch in batches] == [3, 3, 2]
    assert len(loader) == 3
    assert [data for batch in batches for data in batch] == expected

    async def awaited() -> list[list[bytes]]:
        return [[bytes(data) for data in batch] async for batch in loader]

    assert asyncio.run(awaited()) == batches
    assert [len(batch) for batch in BytesLoader(dataset, {"batch_size": 3, "drop_last": True})] == [3, 3]
    assert [bytes(data) for data in BytesLoader(dataset)] == expected


def test_items_tell_their_uris(dataset: Dataset) -> None:
    items = BytesLoader(dataset, {"prefetch": 3, "skip_head": True}).items()
    found = {}
    while batch := items.collect_batch(3):
        assert len(batch) <= 3
        for item in batch:
            assert bytes(item["data"]) == bytes(item) == bytes(memoryview(item))
            assert item.byte_count == len(item)
            found[item.uri] = bytes(item)
    assert found == dict(zip(dataset.uris(), (BODIES[name] for name in sorted(BODIES)), strict=True))
    assert items.collect_batch(3) == []


def test_an_object_that_has_gone_is_an_error_with_its_uri(case: Case, dataset: Dataset) -> None:
    case.store.delete(case.key("data/04"))
    loader = BytesLoader(dataset, {"batch_size": 1})
    seen: list[Any] = []
    with pytest.raises(ObjectNotFoundError) as caught:
        seen.extend(loader)
    assert caught.value.uri == dataset.uri(4)
    assert len(seen) == 4
    with pytest.raises(ObjectNotFoundError) as caught:
        list(loader.items())
    assert caught.value.uri == dataset.uri(4)


def test_a_data_set_pickles(dataset: Dataset) -> None:
    again = pickle.loads(pickle.dumps(dataset))
    assert again.uris() == dataset.uris()


def test_a_manifest_of_keys_spares_listing(case: Case, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made once, and read in blocks where it is large."""
    data, manifest = case.store.uri(case.key("data/")), case.store.uri(case.key("manifest/"))
    assert create_key_manifest(data, manifest, client=Client()) == len(BODIES)
    options = {"manifest": manifest, "shuffle": True}
    assert Dataset(data, options, client=Client()).uris() == dataset.uris()
    monkeypatch.setattr("s3dlio.loader.key_manifest._SMALL", 0)
    stored = Dataset.from_manifest(manifest, options, client=Client())
    assert (stored.keys(), stored.uris()) == (dataset.keys(), dataset.uris())
    assert sorted(map(bytes, BytesLoader(stored))) == sorted(BODIES.values())


def test_other_ranks_go_on_with_an_epoch(case: Case, dataset: Dataset) -> None:
    options = {"shuffle": True, "seed": 3, "shard_world_size": 2}
    read, states = [], []
    for rank in range(2):
        loader = BytesLoader(dataset, options | {"shard_rank": rank})
        items = iter(loader)
        read += [bytes(next(items)) for _ in range(1 + rank)]
        states.append(loader.state_dict())
    for rank in range(3):
        loader = BytesLoader(dataset, options | {"shard_world_size": 3, "shard_rank": rank})
        loader.load_state_dict(states)
        read += map(bytes, loader)
    assert sorted(read) == sorted(BODIES.values())


def test_an_object_of_another_size_than_it_was_listed_with_is_an_error(case: Case, dataset: Dataset) -> None:
    uri = case.store.uri(case.key("data/03"))
    case.store.put(case.key("data/03"), b"cut short")
    unchecked = list(BytesLoader(dataset, {"check_sizes": False, "shuffle": True, "seed": 1}))
    assert sorted(map(len, unchecked)) == sorted(9 if name == "03" else len(BODIES[name]) for name in BODIES)
    if case.store.scheme in LOCAL_SCHEMES:  # whose listings tell no sizes
        assert dataset[3] == b"cut short"
        return
    reads: list[Callable[[], Any]] = [
        lambda: dataset[3], lambda: dataset[2:4], lambda: list(dataset), lambda: list(reversed(dataset)),
        lambda: list(BytesLoader(dataset, {"shuffle": True, "seed": 1})), lambda: list(BytesLoader(dataset).items()),
        lambda: asyncio.run(_item(dataset, 3)), lambda: list(BytesLoader(pickle.loads(pickle.dumps(dataset)))),
    ]  # fmt: skip
    for read in reads:
        with pytest.raises(ObjectChangedError, match="has 9 bytes, and had 3000 when it was listed") as caught:
            read()
        assert caught.value.uri == uri
    assert Dataset(case.store.uri(case.key("data/")), client=Client())[3] == b"cut short"


def test_samples_within_an_object_are_of_the_version_that_was_looked_into(case: Case) -> None:
    if "conditions" in case.lacks:
        pytest.skip("the server knows no conditions")
    uri = case.store.uri(case.key("records/0.tfrecord"))
    records = [bytes([number]) * 100_000 for number in range(4)]
    case.store.put(case.key("records/0.tfrecord"), build_tfrecord(records))
    options = {"format": "tfrecord", "decode": "unverified"}
    dataset = Dataset(case.store.uri(case.key("records/")), options, client=Client())
    assert list(dataset) == list(BytesLoader(dataset, {"shuffle": False})) == records
    case.store.put(case.key("records/0.tfrecord"), build_tfrecord(records[::-1]))
    if case.store.scheme in LOCAL_SCHEMES:
        os.utime(case.key("records/0.tfrecord"), (1, 1))  # files tell their versions by the second
    reads: list[Callable[[], Any]] = [
        lambda: dataset[1], lambda: dataset[1:3], lambda: list(dataset), lambda: list(BytesLoader(dataset)),
        lambda: asyncio.run(_item(dataset, 3)),
    ]  # fmt: skip
    for read in reads:
        with pytest.raises((PreconditionFailedError, ObjectNotFoundError)) as caught:
            read()
        assert caught.value.uri == uri
