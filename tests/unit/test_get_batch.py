"""What a batch may be asked for, and what becomes of it when it is given up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import InvalidURIError, RangeNotSatisfiableError, S3dlioError
from s3dlio.types import Observation
from tests.conformance.test_batches import archive


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (("memory://b/x",), TypeError), (("memory://b/x", 1), TypeError), (("memory://b/x", 1, 2, 3), TypeError),
        (("memory://b/x", "1", 2), TypeError), (("memory://b/x", -1, 2), RangeNotSatisfiableError),
        (("memory://b/x", 0, -2), RangeNotSatisfiableError), (7, TypeError), ("nothing", InvalidURIError),
        (("nothing", 0, 1), InvalidURIError), (("s3:///k", "member"), InvalidURIError),
    ],
)  # fmt: skip
def test_what_is_no_entry_is_refused_before_anything_is_read(entry: Any, error: type[Exception]) -> None:
    seen: list[Observation] = []
    with s3dlio.Client() as client:
        client.add_observer(seen.append)
        with pytest.raises(error):
            s3dlio.get_batch(["memory://b/y", entry], client=client)
    assert not seen


def test_a_single_uri_is_no_batch() -> None:
    with pytest.raises(TypeError, match="several"):
        s3dlio.get_batch("memory://b/x")
    assert s3dlio.get_batch([]) == []


def test_a_stretch_that_no_memory_holds_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    uri = f"file://{tmp_path}/a"
    batch = s3dlio.get_batch([(uri, 0, 1 << 60), (uri, 0, 3), tmp_path / "a"])
    assert isinstance(batch[0][1], S3dlioError)
    assert [data for _, data in batch[1:]] == [b"abc", b"abc"]


def test_indexes_of_local_paths(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive({"1.txt": b"one"}))
    assert s3dlio.create_tar_index(str(tmp_path / "a.tar")) == 1
    assert s3dlio.read_tar_index(str(tmp_path / "a.idx")) == s3dlio.read_tar_index(tmp_path / "a.idx")
    assert s3dlio.create_tar_index(tmp_path / "a.tar", tmp_path / "other") == 1
    assert (tmp_path / "other").read_bytes() == (tmp_path / "a.idx").read_bytes()


def test_it_can_be_awaited(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive({"1.txt": b"one"}))
    batch = asyncio.run(s3dlio.get_batch_async([(f"file://{tmp_path}/a.tar", "1.txt")]))
    assert batch[0][1] == b"one"
