"""Samples that follow each other in one object are read by one request, and come apart as they were asked for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import s3dlio
from s3dlio.client import Client
from s3dlio.errors import CorruptDataError, PreconditionFailedError
from s3dlio.loader.runs import Runs
from s3dlio.memory.view import BytesView

_entries = st.lists(
    st.one_of(
        st.sampled_from(["memory://a/x", "memory://a/y"]),
        st.tuples(st.sampled_from(["memory://a/x", "memory://a/y"]), st.integers(0, 40_000), st.integers(0, 9000)),
        st.integers(1, 30).map(lambda count: ("run", count)),
    ),
    max_size=12,
)


@given(_entries, st.integers(1, 40), st.randoms())
@settings(max_examples=80, deadline=None)
def test_each_sample_comes_once_with_its_own_bytes(drawn: list[Any], most: int, chance: random.Random) -> None:
    body = random.Random(1).randbytes(60_000)
    entries: list[Any] = []
    for entry in drawn:
        if entry[0] == "run":
            entries += [("memory://a/x", 500 * i, 490) for i in range(entry[1])]
        else:
            entries.append(entry)
    runs = Runs(iter(entries), most)
    asked = list(enumerate(runs))
    assert len(asked) <= len(entries)
    chance.shuffle(asked)
    found = {}
    for number, entry in asked:
        data = BytesView(body if isinstance(entry, str) else body[entry[1] : entry[1] + entry[2]])
        parts = runs.apart(number, (entry, data))
        assert len(parts) <= most
        found.update(parts)
    assert sorted(found) == list(range(len(entries)))
    for position, (entry, part) in found.items():
        assert entry == entries[position]
        assert part == (body if isinstance(entry, str) else body[entry[1] : entry[1] + entry[2]])


@pytest.fixture
def records(tmp_path: Path) -> tuple[str, list[bytes]]:
    made = [bytes([number % 256]) * (number % 50) for number in range(2000)]
    data = s3dlio.build_tfrecord(made)
    (tmp_path / "r.tfrecord").write_bytes(data)
    return f"file://{tmp_path}/r.tfrecord", made


def test_records_in_order_take_few_requests(records: tuple[str, list[bytes]]) -> None:
    uri, expected = records
    with Client() as client:
        dataset = s3dlio.PyDataset.from_uris([uri], {"format": "tfrecord"}, client=client)
        asked: list[int] = []
        client.add_observer(lambda seen: asked.append(seen.bytes or 0))
        loader = s3dlio.PyBytesAsyncDataLoader(dataset, {"batch_size": 64})

        async def awaited() -> list[bytes]:
            return [bytes(sample) async for batch in loader for sample in batch]

        ways: list[Callable[[], list[bytes]]] = [
            lambda: [bytes(sample) for sample in dataset],
            lambda: [bytes(sample) for batch in loader for sample in batch],
            lambda: asyncio.run(awaited()),
        ]
        for read in ways:
            asked.clear()
            assert read() == expected
            assert len(asked) <= len(expected) // 100
        assert [bytes(sample) for sample in reversed(dataset)] == expected[::-1]
        few = s3dlio.PyBytesAsyncDataLoader(dataset, {"prefetch": 8})
        asked.clear()
        assert [bytes(sample) for sample in few] == expected
        assert len(asked) == len(expected) // 2


def test_an_object_that_became_shorter_is_an_error_where_it_ends(
    records: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    uri, expected = records
    dataset = s3dlio.PyDataset.from_uris([uri], {"format": "tfrecord"})
    path = tmp_path / "r.tfrecord"
    path.write_bytes(path.read_bytes()[: dataset.entry(1000)[1] + 5])
    with pytest.raises(PreconditionFailedError) as refused:
        next(iter(s3dlio.PyBytesAsyncDataLoader(dataset)))
    assert refused.value.uri == uri
    dataset.pins.clear()  # as of a store that tells no versions
    seen = []
    with pytest.raises(CorruptDataError) as caught:
        seen.extend(bytes(sample) for sample in s3dlio.PyBytesAsyncDataLoader(dataset))
    assert caught.value.uri == uri
    assert seen == expected[:1000]
