"""az:// on a real storage account: only with LIVE_TESTS=1 and the account's credentials in the environment.

It makes a container of its own and deletes it with everything in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.stores.azure import AzureStore
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.registry import open_store
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.live.harness import MIB, SMALL_PARTS, check_keys, new_container, put_large


@pytest.fixture(scope="module", params=["native", "sdk"])
def store(request: pytest.FixtureRequest, user_environ: dict[str, str]) -> Iterator[ObjectStore]:
    settings = Settings.resolve(
        user_environ,
        azure={"backend": request.param},
        **SMALL_PARTS,
    )
    account = settings.azure.default_account
    if user_environ.get("LIVE_TESTS") != "1" or account is None:
        pytest.skip("only with LIVE_TESTS=1, AZURE_STORAGE_ACCOUNT and credentials in the environment")
    made = open_store(parse(f"az://{account}/s3dlio-live-{uuid.uuid4().hex[:12]}/"), settings)
    yield from new_container(made)


def test_keys(store: ObjectStore) -> None:
    check_keys(store, "trailing/", "[x]{y}")


def test_large(store: ObjectStore) -> None:
    data, result = put_large(store, "large")
    assert store.head("large").etag == result.etag
    assert store.copy(store, "large", "copy") is not None
    assert store.get("copy") == data
    with store.writer("stream", part_size=5 * MIB) as writer:
        writer.write(data)
    assert store.get("stream") == data


def test_empty(store: ObjectStore) -> None:
    store.put("empty", b"")
    assert store.get("empty") == b""
    assert store.get_range("empty", 0, 1) == b""


def test_what_belongs_to_a_blob(store: ObjectStore) -> None:
    options = PutOptions(content_type="text/x-test", metadata={"colour": "blue"}, storage_class="Cool")
    store.put("about", b"data", options=options)
    about = store.head("about")
    assert about.content_type == "text/x-test"
    assert dict(about.metadata) == {"colour": "blue"}
    assert about.storage_class == "Cool"


def test_conditions(store: ObjectStore) -> None:
    first = store.put("conditions", b"1")
    with pytest.raises(errors.AlreadyExistsError):
        store.put("conditions", b"2", options=PutOptions(conditions=Conditions(if_none_match="*")))
    store.put("conditions", b"2", options=PutOptions(conditions=Conditions(if_match=first.etag)))
    with pytest.raises(errors.PreconditionFailedError):
        store.get("conditions", conditions=Conditions(if_match=first.etag))


def test_listing_and_batch_delete(store: ObjectStore) -> None:
    keys = [f"batch/{number:03}/x" for number in range(300)]
    for key in keys:
        store.put(key, b"")
    assert [key for page in store.list("batch/") for key in page.keys] == keys
    (page,) = store.list("batch/", recursive=False)
    assert page.prefixes == [key[:-1] for key in keys]
    assert [key for page in store.list("batch/", start_after=keys[250]) for key in page.keys] == keys[251:]
    assert store.delete_many([*keys, "batch/missing"]) == []
    if isinstance(store, AzureStore):
        assert store._batches.available
