"""What a MultipartUploadWriter does apart from any store."""

from __future__ import annotations

import gc
import inspect

import numpy as np
import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.memory.pool import default_pool


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
    assert default_pool().stats().leased == before
    assert s3dlio.get("memory://multipart-unit/reserved") == b"\7" * 100_000
