"""What a MultipartUploadWriter does apart from any store."""

from __future__ import annotations

import gc
import inspect

import boto3
import numpy as np
import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.memory.pool import default_pool
from tests.leases import assert_returned
from tests.servers.moto_server import MotoServer


def test_it_takes_the_arguments_of_the_rust_package() -> None:
    names = ["part_size", "max_in_flight", "content_type", "abort_on_drop"]
    assert list(inspect.signature(s3dlio.MultipartUploadWriter).parameters)[:6] == ["bucket", "key", *names]
    assert list(inspect.signature(s3dlio.MultipartUploadWriter.from_uri).parameters)[:5] == ["uri", *names]


def test_bucket_and_key_name_an_object_of_s3() -> None:
    with Client(access_key_id="a", secret_access_key="b", endpoint_url="http://127.0.0.1:1") as client:
        writer = s3dlio.MultipartUploadWriter("bucket", "a/key", client=client)
        assert writer.uri == "s3://bucket/a/key"
        with pytest.raises(ValueError, match="part_size"):
            s3dlio.MultipartUploadWriter("bucket", "key", part_size=1000, client=client)
        with pytest.raises(ValueError, match="max_in_flight"):
            s3dlio.MultipartUploadWriter("bucket", "key", max_in_flight=0, client=client)
        writer.abort()


def test_reserved_memory_is_pooled_and_lives_as_long_as_a_view_of_it() -> None:
    gc.collect()
    before = default_pool().stats().leased
    with s3dlio.MultipartUploadWriter.from_uri("memory://multipart-unit/reserved") as writer:
        view = writer.reserve(100_000)
        assert isinstance(view.obj, s3dlio.ReservedBuffer)
        assert len(view.obj) == 100_000
        assert (view.format, view.readonly, view.ndim) == ("B", False, 1)
        array = np.frombuffer(view, "u1")
        array[:] = 7
        writer.commit(100_000)
    del view
    assert array.sum() == 700_000
    del array, writer
    gc.collect()
    assert_returned(before)
    assert s3dlio.get("memory://multipart-unit/reserved") == b"\7" * 100_000


def test_what_cannot_be_committed_stays_reserved() -> None:
    with s3dlio.MultipartUploadWriter.from_uri("memory://tests/reserved") as writer:
        writer.reserve(10)[:] = b"0123456789"
        for nbytes, error in ((11, s3dlio.ConfigError), (-1, s3dlio.ConfigError), (5.0, TypeError), ("5", TypeError)):
            with pytest.raises(error):
                writer.commit(nbytes)  # type: ignore[arg-type]
        writer.commit(5)
    assert s3dlio.get("memory://tests/reserved") == b"01234"


def test_an_error_that_is_kept_keeps_no_buffer() -> None:
    nobody, once = "http://127.0.0.1:1", {"max_attempts": 1}
    with Client(access_key_id="a", secret_access_key="b", endpoint_url=nobody, retry=once) as client:
        for copy in (True, False):
            writer = s3dlio.MultipartUploadWriter("bucket", "key", 5 << 20, client=client)
            buffer = bytearray(11 << 20)
            with pytest.raises(s3dlio.NetworkError) as caught:
                writer.write(buffer, copy=copy)
            writer.abort()
            buffer.append(0)
            assert caught.value.uri == "s3://bucket/key"


@pytest.mark.parametrize("abort_on_drop", [True, False])
def test_parts_of_a_dropped_writer_go_or_stay(
    moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch, abort_on_drop: bool
) -> None:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    service = boto3.client("s3", endpoint_url=moto_server.env["AWS_ENDPOINT_URL"])
    service.create_bucket(Bucket="dropped")
    with Client() as client:
        writer = s3dlio.MultipartUploadWriter("dropped", "key", 5 << 20, abort_on_drop=abort_on_drop, client=client)
        writer.write(bytes(11 << 20))
        writer.flush()
        with pytest.warns(ResourceWarning, match="s3://dropped/key was dropped without close"):
            del writer
    # The lanes of the client have ended what they had to do.
    uploads = service.list_multipart_uploads(Bucket="dropped").get("Uploads", [])
    assert len(uploads) == (0 if abort_on_drop else 1)
    for upload in uploads:
        parts = service.list_parts(Bucket="dropped", Key="key", UploadId=upload["UploadId"])["Parts"]
        assert [part["Size"] for part in parts] == [5 << 20] * 2
        service.abort_multipart_upload(Bucket="dropped", Key="key", UploadId=upload["UploadId"])
