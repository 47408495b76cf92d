"""gs:// on Google Cloud Storage itself: only with LIVE_TESTS=1, GOOGLE_CLOUD_PROJECT and credentials around.

It makes a bucket of its own and deletes it with everything in it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

import pytest

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.gcs import GcsStore, multipart
from s3dlio.stores.registry import open_store
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.live.harness import MIB, SMALL_PARTS, check_keys, new_container, put_large


@pytest.fixture(scope="module", params=["native", "resumable", "sdk"])
def store(request: pytest.FixtureRequest, user_environ: dict[str, str]) -> Iterator[ObjectStore]:
    if user_environ.get("LIVE_TESTS") != "1" or not user_environ.get("GOOGLE_CLOUD_PROJECT"):
        pytest.skip("only with LIVE_TESTS=1, GOOGLE_CLOUD_PROJECT and credentials in the environment")
    settings = Settings.resolve(
        user_environ,
        gcs={
            "backend": "sdk" if request.param == "sdk" else "native",
            "composite_upload": request.param != "resumable",
        },
        **SMALL_PARTS,
    )
    made = open_store(parse(f"gs://s3dlio-live-{uuid.uuid4().hex[:12]}/"), settings)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in user_environ.items():  # google-auth reads HOME, CLOUDSDK_CONFIG and more by itself
            patch.setenv(name, value)
        patch.delenv("NO_GCE_CHECK", raising=False)
        yield from new_container(made)


def test_keys(store: ObjectStore) -> None:
    check_keys(store, "a/../b", "end/")


def test_large(store: ObjectStore) -> None:
    data, result = put_large(store, "large")
    about = store.head("large")
    assert (about.size, about.etag, about.version_id) == (len(data), result.etag, result.version_id)
    assert [key for page in store.list(multipart.PARTS) for key in page.keys] == []
    store.copy(store, "large", "copy")
    assert store.head("copy").crc32c == about.crc32c


def test_a_stream(store: ObjectStore) -> None:
    data = random.Random(2).randbytes(3 * MIB)
    with store.writer("stream", part_size=256 << 10, options=PutOptions(metadata={"a": "b"})) as writer:
        writer.write(data)
    assert store.get("stream") == data
    assert dict(store.head("stream").metadata) == {"a": "b"}


def test_conditions(store: ObjectStore) -> None:
    first = store.put("k", b"1", options=PutOptions(conditions=Conditions(if_none_match="*")))
    with pytest.raises(errors.AlreadyExistsError):
        store.put("k", b"2", options=PutOptions(conditions=Conditions(if_none_match="*")))
    store.put("k", b"2", options=PutOptions(conditions=Conditions(if_match=first.etag)))
    with pytest.raises(errors.PreconditionFailedError):
        store.put("k", b"3", options=PutOptions(conditions=Conditions(generation=int(first.version_id or 0))))
    with pytest.raises(errors.PreconditionFailedError):
        store.get("k", conditions=Conditions(if_match=first.etag))
    with pytest.raises(errors.ObjectNotFoundError):
        store.get("k", conditions=Conditions(version_id=first.version_id))


def test_ranges(store: ObjectStore) -> None:
    store.put("k", b"0123456789")
    store.put("empty", b"")
    assert store.get_range("k", 10, 5) == b""
    assert store.get_range("k", 8) == b"89"
    assert store.get("empty") == b""
    assert store.get_range("empty", 0, 5) == b""


def test_batches(store: ObjectStore) -> None:
    keys = [f"many/{number}" for number in range(120)]
    for key in keys:
        store.put(key, b"")
    assert [key for page in store.list("many/") for key in page.keys] == sorted(keys)
    assert store.delete_many([*keys, "many/missing"]) == []
    assert [key for page in store.list("many/") for key in page.keys] == []


def test_compose(store: ObjectStore) -> None:
    if not isinstance(store, GcsStore):
        pytest.skip("compose is the native store's")
    for key in "ab":
        store.put(key, key.encode())
    store.compose(["b", "a"], "both")
    assert store.get("both") == b"ba"
