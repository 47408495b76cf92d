"""A writer that is open while the process forks stays the parent's."""

from __future__ import annotations

import os

import pytest

from s3dlio.errors import S3dlioError
from s3dlio.stores.base import ObjectStore, ObjectWriter
from tests.servers.moto_server import MotoServer
from tests.wire.s3_harness import store_of

PART = 5 << 20


def in_child(store: ObjectStore, writer: ObjectWriter) -> int:
    """What a forked worker does with the copy it has: tries to go on, then drops it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        with pytest.raises(S3dlioError, match="belongs to the process that opened it"):
            writer.write(b"x")
        writer.abort()
        code = 0
    finally:
        os._exit(code)


def test_a_child_that_drops_a_writer_does_not_abort_its_upload(moto_server: MotoServer) -> None:
    store = store_of(moto_server.endpoint, "forked")
    store.create_container()
    writer = store.writer("k", part_size=PART)
    writer.write(b"a" * (2 * PART + 1))
    assert in_child(store, writer) == 0
    writer.write(b"b")
    assert writer.close().size == 2 * PART + 2
    assert bytes(store.get("k")) == b"a" * (2 * PART + 1) + b"b"
