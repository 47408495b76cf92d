"""s3:// on Amazon S3 itself (or a service that AWS_ENDPOINT_URL names): only with LIVE_TESTS=1, LIVE_S3_BUCKET
and credentials around.

It writes below a prefix of its own into that bucket, and deletes what it wrote: versions and open uploads too, where
the bucket keeps them. The bucket itself stays as it is.
"""

from __future__ import annotations

import random
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from s3dlio import errors
from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import S3Account
from s3dlio.stores.sdk.boto_client import boto_client
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.live.harness import MIB, ODD_KEYS, SMALL_PARTS, check_key, put_large

KEYS = [*ODD_KEYS, "a/../b", "end/"]


class Place:
    """A prefix in the bucket, and the store that holds it."""

    def __init__(self, store: ObjectStore, settings: Settings, bucket: str) -> None:
        self.store = store
        self.settings = settings
        self.bucket = bucket
        self.prefix = f"s3dlio-live-{uuid.uuid4().hex[:12]}/"

    def key(self, name: str) -> str:
        return self.prefix + name

    def clean(self) -> None:
        """Delete what is below the prefix, with boto3: what is tested does not clean up after itself."""
        client = boto_client(S3Account(self.settings))
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self.prefix):
            for upload in page.get("Uploads", ()):
                client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        found = []  # all, before the first is deleted: not every service goes on where it was
        for page in client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=self.prefix):
            found += [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        for start in range(0, len(found), 1000):
            objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found[start : start + 1000]]
            answer = client.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})
            assert not answer.get("Errors"), answer["Errors"]


@pytest.fixture(scope="module", params=["native", "boto3", "arrow"])
def place(request: pytest.FixtureRequest, user_environ: dict[str, str]) -> Iterator[Place]:
    bucket = user_environ.get("LIVE_S3_BUCKET")
    if user_environ.get("LIVE_TESTS") != "1" or not bucket:
        pytest.skip("only with LIVE_TESTS=1, LIVE_S3_BUCKET and credentials in the environment")
    settings = Settings.resolve(
        user_environ,
        s3={"backend": request.param},
        **SMALL_PARTS,
    )
    if request.param == "arrow":
        pytest.importorskip("obstore")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.delenv(name, raising=False)
        for name, value in user_environ.items():  # botocore reads HOME, AWS_ROLE_ARN and more by itself
            patch.setenv(name, value)
        made = Place(open_store(parse(f"s3://{bucket}/"), settings), settings, bucket)
        try:
            yield made
        finally:
            made.clean()


@pytest.mark.parametrize("name", KEYS)
def test_keys(place: Place, name: str) -> None:
    check_key(place.store, place.key(name))


def test_large(place: Place) -> None:
    store, key = place.store, place.key("large")
    data, result = put_large(store, key)
    about = store.head(key)
    assert (about.size, about.etag) == (len(data), result.etag)
    store.remember(key, about)
    assert store.get(key) == data
    store.copy(store, key, place.key("copy"))
    assert store.get(place.key("copy")) == data


def test_a_stream(place: Place) -> None:
    data = random.Random(2).randbytes(11 * MIB)
    options = PutOptions(metadata={"a": "b"}, content_type="text/x-test")
    with place.store.writer(place.key("stream"), part_size=5 * MIB, options=options) as writer:
        writer.write(data)
    assert place.store.get(place.key("stream")) == data
    about = place.store.head(place.key("stream"))
    assert (dict(about.metadata), about.content_type) == ({"a": "b"}, "text/x-test")


def test_a_stream_that_is_given_up_leaves_nothing(place: Place) -> None:
    writer = place.store.writer(place.key("broken"), part_size=5 * MIB)
    writer.write(bytes(6 * MIB))
    writer.abort()
    client = boto_client(S3Account(place.settings))
    found = client.list_multipart_uploads(Bucket=place.bucket, Prefix=place.key("broken"))
    assert not found.get("Uploads")
    with pytest.raises(errors.ObjectNotFoundError):
        place.store.head(place.key("broken"))


def test_conditions(place: Place) -> None:
    store, key = place.store, place.key("conditions")
    first = store.put(key, b"1", options=PutOptions(conditions=Conditions(if_none_match="*")))
    with pytest.raises(errors.AlreadyExistsError):
        store.put(key, b"2", options=PutOptions(conditions=Conditions(if_none_match="*")))
    store.put(key, b"2", options=PutOptions(conditions=Conditions(if_match=first.etag)))
    with pytest.raises(errors.PreconditionFailedError):
        store.put(key, b"3", options=PutOptions(conditions=Conditions(if_match=first.etag)))
    with pytest.raises(errors.PreconditionFailedError):
        store.get(key, conditions=Conditions(if_match=first.etag))


def test_ranges(place: Place) -> None:
    store = place.store
    store.put(place.key("k"), b"0123456789")
    store.put(place.key("empty"), b"")
    assert store.get_range(place.key("k"), 10, 5) == b""
    assert store.get_range(place.key("k"), 8) == b"89"
    assert store.get(place.key("empty")) == b""
    assert store.get_range(place.key("empty"), 0, 5) == b""


def test_listing_and_batch_delete(place: Place) -> None:
    store = place.store
    keys = [place.key(f"batch/{number:04}/x") for number in range(1100)]  # more than a page and a batch hold
    with Client(settings=place.settings) as client:
        client.put_many([(f"s3://{place.bucket}/{key}", b"") for key in keys])
    assert [key for page in store.list(place.key("batch/")) for key in page.keys] == keys
    folders = [name for page in store.list(place.key("batch/"), recursive=False) for name in page.prefixes]
    assert folders == [key[:-1] for key in keys]
    after = [key for page in store.list(place.key("batch/"), start_after=keys[1050]) for key in page.keys]
    assert after == keys[1051:]
    assert store.delete_many([*keys[:999], place.key("batch/missing")]) == []
    assert store.delete_many(keys[999:]) == []
    assert [key for page in store.list(place.key("batch/")) for key in page.keys] == []


def test_a_link(place: Place) -> None:
    store: Any = place.store
    store.put(place.key("linked"), b"linked")
    with urllib.request.urlopen(store.presign(place.key("linked"), expires=60)) as response:
        assert response.read() == b"linked"


def test_a_customer_key(place: Place) -> None:
    if place.settings.s3.endpoint_url:
        pytest.skip("wants TLS")
    secret = bytes(range(32))
    place.store.put(place.key("sealed"), b"sealed", options=PutOptions(sse_customer_key=secret))
    assert place.store.get(place.key("sealed"), conditions=Conditions(sse_customer_key=secret)) == b"sealed"
    with pytest.raises(errors.S3dlioError):
        place.store.get(place.key("sealed"))
