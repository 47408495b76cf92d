"""URIs round-trip whatever the key; listings, deletes and batches agree with a plain model."""

from __future__ import annotations

import itertools
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from s3dlio.client import Client
from s3dlio.config.sizes import format_size, parse_size
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import Executor, InlineExecutor
from s3dlio.errors import ObjectNotFoundError
from s3dlio.stores.call import Call
from s3dlio.stores.memory import MemoryStore
from s3dlio.uri import parse

KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
BUCKETS = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]", fullmatch=True)
NAMES = st.lists(st.sampled_from(["a", "b", "ab", "a.b", "-"]), min_size=1, max_size=3).map("/".join)

NUMBER = itertools.count()
EXECUTORS = [Executor(3), InlineExecutor()]


@given(st.sampled_from(["s3", "gs", "gcs", "memory"]), BUCKETS, KEYS)
def test_a_key_stays_as_it_was_written(scheme: str, bucket: str, key: str) -> None:
    location = parse(f"{scheme}://{bucket}/{key}")
    assert (location.container, location.key) == (bucket, key)
    assert parse(str(location)) == location


@given(st.sampled_from(["file", "direct"]), KEYS)
def test_a_path_stays_as_it_was_written(scheme: str, path: str) -> None:
    location = parse(f"{scheme}:///{path}")
    assert location.key == f"/{path}"
    assert str(location) == f"{scheme}:///{path}"


@given(BUCKETS, st.lists(KEYS, max_size=4))
def test_the_quick_way_to_a_store_agrees_with_the_parser(bucket: str, keys: list[str]) -> None:
    client = Client()
    for key in keys + keys:
        store, found = client.store_for(f"memory://{bucket}/{key}")
        assert (store.root, found) == (f"memory://{bucket}", key)


@given(st.sets(NAMES, max_size=12), NAMES)
def test_listings_agree_with_a_model(keys: set[str], name: str) -> None:
    client = Client()
    base = f"memory://model-{next(NUMBER)}/"
    client.put_many([(base + key, b"") for key in keys])
    assert client.list(base, recursive=True) == [base + key for key in sorted(keys)]
    level = {key.partition("/")[0] + ("/" if "/" in key else "") for key in keys}
    assert client.list(base) == [base + entry for entry in sorted(level)]
    under = {key for key in keys if key.startswith(name + "/")}
    assert client.list(base + name, recursive=True) == [base + key for key in sorted(({name} & keys) | under)]
    assert client.list(base + name) == [base + e for e in sorted(({name} & keys) | ({name + "/"} if under else set()))]
    client.delete(base + name + "/", recursive=True)
    assert client.list_keys(base, recursive=True) == sorted(keys - under)


@given(st.lists(st.sampled_from(["ok", "fail"]), max_size=40), st.integers(1, 8), st.sampled_from(EXECUTORS))
def test_a_batch_reports_every_call_once_in_its_place(outcomes: list[str], width: int, executor: Any) -> None:
    store = MemoryStore("memory://batch-properties")

    def call(index: int, outcome: str) -> Call[int]:
        def work() -> int:
            if outcome == "fail":
                raise ObjectNotFoundError(str(index))
            return index

        return Call(store, "TEST", "key", work)

    seen: dict[int, Any] = {}

    def done(index: int, result: Any, error: BaseException | None) -> None:
        assert index not in seen
        seen[index] = "fail" if error else "ok"
        assert error is not None or result == index
        assert error is None or str(index) in str(error)

    calls = (call(index, outcome) for index, outcome in enumerate(outcomes))
    run_calls(calls, admission=Admission(width), on_done=done, cancel=CancelToken(), executor=executor)
    assert [seen[index] for index in range(len(outcomes))] == outcomes


@given(st.integers(0, 1 << 62))
def test_sizes_round_trip(size: int) -> None:
    assert parse_size(format_size(size)) == size
    assert parse_size(f"{size:_}") == size


@given(st.text(alphabet="0123456789.kKmMiIbB_, -", max_size=8))
def test_a_size_is_read_or_refused_but_never_guessed(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert size >= 0
    assert re.search(r"\d", text)
