"""Streaming writers in parts: how many are on their way, how large they are, how much memory that takes."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest

from s3dlio.memory.pool import default_pool
from s3dlio.streams.writer import open_writer
from s3dlio.streams.writer_options import WriterOptions
from tests.servers.moto_server import MotoServer
from tests.wire.s3_harness import store_of

MIB = 1 << 20
PART = 5 * MIB


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"expected_size": 50 * MIB}], ids=str)
@pytest.mark.parametrize("verb", ["write", "write_owned_bytes"])
def test_memory_is_that_of_the_parts_in_flight(moto_server: MotoServer, options: dict[str, Any], verb: str) -> None:
    store = store_of(moto_server.endpoint, "stream-parts")
    store.create_container()
    moto_server.reset_requests()
    before = default_pool().stats().leased_bytes
    most, digest, pieces = 0, hashlib.sha256(), random.Random(0)
    with open_writer(store, "k", WriterOptions(part_size=PART, max_in_flight=2, **options)) as writer:
        for _ in range(21):
            piece = pieces.randbytes(MIB)
            digest.update(piece)
            getattr(writer, verb)(piece)
            most = max(most, default_pool().stats().leased_bytes - before)
    assert most <= 4 * PART  # two on their way, one that is filled, and what is being compressed
    uploads = [request for request in moto_server.requests() if "partNumber=" in request.target]
    assert len(uploads) == -(-writer.compressed_bytes() // PART)
    numbers = sorted(int(request.target.partition("partNumber=")[2].partition("&")[0]) for request in uploads)
    assert numbers == list(range(1, len(uploads) + 1))
    if not options.get("compression"):
        assert hashlib.sha256(store.get("k")).digest() == digest.digest()
    assert default_pool().stats().leased_bytes <= before


def test_an_aborted_stream_leaves_no_upload(moto_server: MotoServer) -> None:
    store = store_of(moto_server.endpoint, "stream-parts")
    store.create_container()
    moto_server.reset_requests()
    writer = open_writer(store, "aborted", WriterOptions(part_size=PART, compression="zstd"))
    writer.write(random.Random(1).randbytes(3 * PART))
    writer.flush()
    writer.abort()
    requests = [(request.method, request.target) for request in moto_server.requests()]
    begun = [target for method, target in requests if method == "POST" and target.endswith("?uploads=")]
    given_up = [target for method, target in requests if method == "DELETE" and "uploadId=" in target]
    assert len(begun) <= 1
    assert len(given_up) == 1
    assert not next(iter(store.list("aborted"))).keys
