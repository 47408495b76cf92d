"""What the cloud stores share, without a service: known sizes are forgotten in time, bad part sizes refused at once."""

from __future__ import annotations

import time
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import ConfigError
from s3dlio.net import system
from s3dlio.stores.cloud import store as cloud
from s3dlio.stores.local.file import FileStore
from s3dlio.types import ObjectMetadata
from tests.wire.s3_harness import store_of

NOWHERE = "http://127.0.0.1:9"
ABOUT = ObjectMetadata(size=5, etag='"e"')


def test_known_sizes_are_dropped_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(system, "monotonic", lambda: now)
    store = store_of(NOWHERE, range={"size_cache_seconds": 60})
    for number in range(10 * cloud._TIDY_KNOWN):
        store.remember(f"k{number}", ABOUT)
        now += 1.0
    assert len(store._known) <= cloud._TIDY_KNOWN + 60
    assert store._known[f"k{10 * cloud._TIDY_KNOWN - 1}"].size == 5


def test_known_sizes_are_kept_until_then() -> None:
    store = store_of(NOWHERE, range={"size_cache_seconds": 60})
    count = 5 * cloud._TIDY_KNOWN
    begun = time.process_time()
    for number in range(count):
        store.remember(f"k{number}", ABOUT)
    assert len(store._known) == count
    assert store._tidy_at > count
    assert time.process_time() - begun < 5  # looked through a few times, not with every new one


ROOTS = ["s3://b", "az://account/container", "gs://bucket"]


@pytest.mark.parametrize("part_size", [0, -1, 1.5, True, "many", (5 << 20) - 1, (4000 << 20) + 1])
@pytest.mark.parametrize("root", ROOTS)
def test_a_part_size_that_no_service_takes_is_refused_before_anything_is_sent(root: str, part_size: Any) -> None:
    azure = {"endpoint_url": NOWHERE, "anonymous": True}
    with Client(
        endpoint_url=NOWHERE, anonymous=True, azure=azure, gcs={"endpoint_url": NOWHERE, "anonymous": True}
    ) as client:
        store, key = client.store_for(f"{root}/key")
        with pytest.raises(ConfigError, match="part_size"):
            store.writer(key, part_size=part_size)


@pytest.mark.parametrize("part_size", [0, -1, 1.5, True, "many"])
def test_files_refuse_what_is_no_size(part_size: Any, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="part_size"):
        FileStore().writer(f"{tmp_path}/f", part_size=part_size)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part_size", [None, 5 << 20, "8MiB"])
def test_a_part_size_that_serves(part_size: Any) -> None:
    writer = store_of(NOWHERE).writer("k", part_size=part_size)
    writer.write(b"some")
    writer.abort()
