"""Every operation of every store is one row of the op-log."""

from __future__ import annotations

from pathlib import Path

import pytest

import s3dlio
from s3dlio import errors
from s3dlio.stores.base import ObjectStore
from tests.conformance.stores import Case


def test_every_operation_is_one_row(case: Case, store: ObjectStore, tmp_path: Path) -> None:
    key = case.key("object")
    path = tmp_path.parent / f"{tmp_path.name}.oplog"  # not beside what is listed
    s3dlio.init_op_log(path)
    try:
        store.put(key, b"0123456789")
        store.get(key)
        store.get_range(key, 2, 3)
        store.head(key)
        with store.writer(key) as writer:
            writer.write(b"abc")
        with pytest.raises(errors.ObjectNotFoundError):
            store.get(case.key("missing"))
        list(store.list(case.key("")))
        store.delete(key)
    finally:
        s3dlio.finalize_op_log()
    rows = list(s3dlio.read_op_log(path))
    name = store.uri(key).partition("://")[2]
    assert [(row["op"], row["bytes"], row["n_objects"]) for row in rows] == [
        ("PUT", 10, 1), ("GET", 10, 1), ("GET_RANGE", 3, 1), ("HEAD", 10, 1), ("PUT", 3, 1), ("GET", 0, 1),
        ("LIST", 0, 1), ("DELETE", 0, 1),
    ]  # fmt: skip
    assert [row["file"] for row in rows[:5]] == [name] * 5
    assert all(store.root.startswith(row["endpoint"]) for row in rows)
    assert [bool(row["error"]) for row in rows] == [False] * 5 + [True] + [False] * 2
    assert all(row["start"] <= row["first_byte"] <= row["end"] for row in rows[1:3])
    assert store.observers == ()
