"""A writer that is open while the process forks stays the parent's; one that is open when it ends leaves no parts."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from s3dlio.engine.lanes import Lanes
from s3dlio.errors import S3dlioError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.cloud.spooled import SpooledWriter
from s3dlio.stores.local.direct import DirectStore
from s3dlio.stores.local.file import FileStore
from s3dlio.stores.memory import MemoryStore
from s3dlio.stores.writer import StoreWriter
from s3dlio.types import PutOptions
from tests.servers.moto_server import MotoServer
from tests.wire.s3_harness import store_of

PART = 5 << 20


def in_child(store: ObjectStore, writer: StoreWriter) -> int:
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
    lanes = Lanes(16)
    store.spare = lanes.spare
    writer = store.writer("k", part_size=PART)
    writer.write(b"a" * (2 * PART + 1))
    assert in_child(store, writer) == 0
    writer.write(b"b")
    assert writer.close().size == 2 * PART + 2
    assert bytes(store.get("k")) == b"a" * (2 * PART + 1) + b"b"
    lanes.close()


@pytest.mark.parametrize("kind", ["file", "direct", "spooled"])
def test_a_child_leaves_the_file_to_its_parent(kind: str, tmp_path: Path) -> None:
    """It has the same descriptor: what it writes would be in the parent's file, at the parent's position."""
    store: ObjectStore = MemoryStore() if kind == "spooled" else DirectStore() if kind == "direct" else FileStore()
    key = f"{tmp_path}/k"
    writer = SpooledWriter(store, key, PutOptions()) if kind == "spooled" else store.writer(key, part_size=1000)
    writer.write(b"a" * 10_001)
    assert in_child(store, writer) == 0
    writer.write(b"b")
    assert writer.close().size == 10_002
    assert bytes(store.get(key)) == b"a" * 10_001 + b"b"


_FORGOTTEN = """
import sys
from s3dlio.client import Client
client = Client(endpoint_url=sys.argv[1], region="us-east-1", access_key_id="a", secret_access_key="b")
store, key = client.store_for("s3://forgotten/k")
writer = store.writer(key, part_size=5 << 20)
writer.write(bytes(11 << 20))
"""


def test_a_program_that_ends_without_close_leaves_no_parts(moto_server: MotoServer) -> None:
    store_of(moto_server.endpoint, "forgotten").create_container()
    moto_server.reset_requests()
    subprocess.run([sys.executable, "-c", _FORGOTTEN, moto_server.endpoint], check=True, timeout=60)
    seen = [(request.method, request.target.partition("?")[2].partition("=")[0]) for request in moto_server.requests()]
    assert seen[0] == ("POST", "uploads")
    assert ("DELETE", "uploadId") in seen
    with urllib.request.urlopen(f"{moto_server.endpoint}/forgotten?uploads") as answer:
        assert b"<Upload>" not in answer.read()
