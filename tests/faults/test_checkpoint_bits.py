"""Any one bit of what a checkpoint consists of is flipped: the load says so, and never gives other bytes."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.errors import S3dlioError
from tests.faults.checkpoint_child import WAYS, data_of

pytestmark = pytest.mark.timeout(600)  # for the long form

#: ``CRASH_BITS=all`` flips each of them; else every one of small files, and some of the others.
MOST = 10**9 if os.environ.get("CRASH_BITS") == "all" else 400


def outcome(store: CheckpointStore) -> bytes | str:
    """What a load gives, or the URI that its error names."""
    try:
        found: Any = store.load_latest()
    except S3dlioError as error:
        return str(error.uri)
    return bytes(found) if not isinstance(found, list) else b"".join(map(bytes, found))


@pytest.mark.parametrize("level", [None, 3])
@pytest.mark.parametrize("kind", ["latest.json", "manifests/*.json", "shards/*/rank-0.*", "shards/*/rank-1.*"])
def test_a_flipped_bit_is_found(tmp_path: Path, level: int | None, kind: str) -> None:
    store = CheckpointStore(f"file://{tmp_path}", compression_level=level)
    WAYS["ranks"](store, 7)
    WAYS["ranks"](store, 8)
    whole = data_of(8) * 2
    assert outcome(store) == whole
    path = max(tmp_path.glob(kind))
    content = path.read_bytes()
    bits = range(8 * len(content))
    missed = []
    blamed = set()
    for bit in bits if len(bits) <= MOST else sorted(random.Random(1).sample(bits, MOST)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        found = outcome(store)
        if isinstance(found, str):
            blamed.add(found)
        else:
            assert found == whole, f"bit {bit}: other bytes"
            missed.append(bit)
    path.write_bytes(content)
    assert not missed
    assert blamed == {f"file://{path}"}


def test_a_byte_that_is_lost_or_added_is_found(tmp_path: Path) -> None:
    store = CheckpointStore(f"file://{tmp_path}", compression_level=3)
    WAYS["ranks"](store, 8)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        for changed in (content[:-1], content + b"\0", content[1:], b"", content[: len(content) // 2], content * 2):
            path.write_bytes(changed)
            assert isinstance(outcome(store), str), (path, len(changed), len(content))
        path.write_bytes(content)
    assert outcome(store) == data_of(8) * 2
