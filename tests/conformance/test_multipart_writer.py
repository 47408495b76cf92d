"""Objects that are written in parts out of lent memory, on every store."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import s3dlio
from s3dlio.client import Client
from tests.conformance.stores import Case

Open = Callable[..., s3dlio.MultipartUploadWriter]


@pytest.fixture
def open_writer(case: Case) -> Iterator[Open]:
    with Client() as client:

        def opened(name: str, **options: object) -> s3dlio.MultipartUploadWriter:
            uri = case.store.uri(case.key(name))
            return s3dlio.MultipartUploadWriter.from_uri(uri, client=client, **options)  # type: ignore[arg-type]

        yield opened


def _stored(case: Case, name: str) -> bytes:
    return bytes(case.store.get(case.key(name)))


def test_pieces_of_every_kind_make_one_object(case: Case, open_writer: Open) -> None:
    before = time.time()
    writer = open_writer("pieces", part_size=5 << 20, max_in_flight=2)
    array = np.arange(100_000, dtype="u4")
    assert writer.write(b"head") == 4
    assert writer.write_owned(array) == array.nbytes
    view = writer.reserve(1 << 20)
    assert not any(view)
    view[:3] = b"abc"
    writer.commit(3)
    view = writer.reserve(5 << 20)
    view[:] = b"\1" * len(view)
    writer.commit(len(view))
    assert writer.write(array[::2]) == array.nbytes // 2
    writer.flush()
    done = writer.close()
    expected = b"head" + array.tobytes() + b"abc" + b"\1" * (5 << 20) + array[::2].tobytes()
    assert _stored(case, "pieces") == expected
    assert done["total_bytes"] == len(expected)
    assert done["etag"] == case.store.head(case.key("pieces")).etag or case.lacks
    assert done["parts"] >= 1
    assert before <= done["started_at"] <= done["completed_at"] <= time.time()


def test_an_empty_object_can_be_written(case: Case, open_writer: Open) -> None:
    with open_writer("empty") as writer:
        pass
    assert writer.closed
    assert _stored(case, "empty") == b""
    with open_writer("empty-2") as writer:
        writer.write(b"")
        writer.reserve(0)
        writer.commit(0)
    assert _stored(case, "empty-2") == b""


def test_a_buffer_that_changes_after_the_write_changes_nothing(case: Case, open_writer: Open) -> None:
    with open_writer("copied") as writer:
        buffer = bytearray(b"\1" * (1 << 20))
        writer.write(buffer)
        buffer[:] = bytes(len(buffer))
        buffer.clear()  # nothing exports it
    assert _stored(case, "copied") == b"\1" * (1 << 20)


def test_an_exception_leaves_what_was_there(case: Case, open_writer: Open) -> None:
    case.store.put(case.key("kept"), b"before")
    with pytest.raises(ZeroDivisionError), open_writer("kept") as writer:
        _write_and_fail(writer)
    assert writer.closed
    assert _stored(case, "kept") == b"before"


def _write_and_fail(writer: s3dlio.MultipartUploadWriter) -> None:
    writer.write(b"after")
    raise ZeroDivisionError


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("abort_on_drop", [None, False])
def test_a_writer_that_is_dropped_stores_nothing(case: Case, open_writer: Open, abort_on_drop: bool | None) -> None:
    writer = open_writer("dropped", abort_on_drop=abort_on_drop)
    writer.write(b"lost")
    del writer
    gc.collect()
    with pytest.raises(s3dlio.ObjectNotFoundError):
        case.store.head(case.key("dropped"))


def test_steps_out_of_order_are_refused(case: Case, open_writer: Open) -> None:
    writer = open_writer("order")
    with pytest.raises(RuntimeError, match=r"no pending buffer; call reserve\(\) first"):
        writer.commit(1)
    view = writer.reserve(100)
    with pytest.raises(RuntimeError, match=r"call commit\(\) first"):
        writer.reserve(1)
    for wrong in (101, -1):
        with pytest.raises(ValueError, match="exceeds reserved size 100"):
            writer.commit(wrong)
    with pytest.raises(TypeError):
        writer.write("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pickle.dumps(writer)
    view[:2] = b"ok"
    writer.commit(2)
    writer.close()
    assert bytes(view[:2]) == b"ok"  # the view stays valid
    for refused in (lambda: writer.write(b"x"), lambda: writer.reserve(1), writer.flush):
        with pytest.raises(RuntimeError, match="writer is closed"):
            refused()
    with pytest.raises(RuntimeError, match="writer already closed"):
        writer.close()
    writer.abort()
    assert _stored(case, "order") == b"ok"


def test_what_was_given_up_stays_away(case: Case, open_writer: Open) -> None:
    writer = open_writer("given-up")
    writer.write(b"lost")
    writer.abort()
    writer.abort()
    with pytest.raises(s3dlio.ObjectNotFoundError):
        case.store.head(case.key("given-up"))
