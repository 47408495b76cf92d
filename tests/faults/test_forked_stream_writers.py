"""A streaming writer that is open while the process forks stays the parent's, the threads that compress for it too."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard

import s3dlio
from s3dlio.errors import S3dlioError
from s3dlio.streams import compression
from s3dlio.streams.writer import ObjectWriter

MIB = 1 << 20


def in_child(writers: list[ObjectWriter]) -> int:
    """What a forked worker does with the copies it has: tries to go on, then drops them."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        while writers:
            writer = writers.pop()
            for use in (lambda: writer.write(b"x"), writer.flush, writer.finalize):  # noqa: B023 - used at once
                with pytest.raises(S3dlioError, match="belongs to the process that opened it"):
                    use()
            writer.abort()
            del writer, use
            gc.collect()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("scheme", ["memory", "file", "direct"])
def test_a_child_that_drops_a_writer_takes_nothing_from_the_parent(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "available_cpus", lambda: 4)
    place = "forked" if scheme == "memory" else tmp_path
    data = np.random.default_rng(0).integers(0, 50, 9 * MIB, "u1").tobytes()
    plain = s3dlio.create_stream_writer(f"{scheme}://{place}/k")
    packed = s3dlio.create_stream_writer(f"{scheme}://{place}/k", {"compression": "zstd"})
    plain.write(data)
    packed.write(data)
    assert in_child([plain, packed]) == 0
    assert plain.finalize() == (len(data), len(data))
    packed.finalize()
    assert s3dlio.get(plain.uri) == data
    assert zstandard.ZstdDecompressor().decompressobj().decompress(bytes(s3dlio.get(packed.uri))) == data


_ENDS_IN_A_CHILD = """
import os, sys
import s3dlio
from s3dlio.streams import compression
compression.available_cpus = lambda: 4
writer = s3dlio.create_stream_writer("memory://ends/k", {"compression": "zstd"})
writer.write(os.urandom(9 << 20))
child = os.fork()
if child:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    writer.finalize()
    sys.exit(code)
"""


def test_a_child_ends_though_it_has_none_of_the_threads() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", _ENDS_IN_A_CHILD], check=True, timeout=30)
