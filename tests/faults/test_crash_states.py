"""Durable local writes: whatever part of the operations that were not yet synced is on the disk after a crash, a file
is the old one or the new one, and the new one once the write has returned."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from s3dlio.stores.local.direct import DirectStore
from s3dlio.stores.local.file import FileStore
from s3dlio.types import Conditions, PutOptions
from tests.faults.disk_states import Disk, Tree

DURABLE = PutOptions(durable=True)
OLD, NEW = b"old" * 100, os.urandom(4096 + 77)


@pytest.fixture(params=[FileStore, DirectStore], ids=["file", "direct"])
def store(request: pytest.FixtureRequest) -> FileStore:
    made: FileStore = request.param()
    return made


def put(store: FileStore, path: str, options: PutOptions) -> None:
    store.put(path, NEW, options=options)


def write(store: FileStore, path: str, options: PutOptions) -> None:
    with store.writer(path, options=options, part_size=4096) as writer:
        for start in range(0, len(NEW), 1500):
            writer.write(NEW[start : start + 1500])


Way = Callable[[FileStore, str, PutOptions], None]
ways = pytest.mark.parametrize("way", [put, write])


def outcomes(disk: Disk, name: str) -> tuple[list[object], list[object]]:
    """What ``name`` is in the states before and after the work had returned."""
    found: tuple[list[object], list[object]] = [], []
    for state in disk.states():
        place: Tree | bytes | None = state.tree
        for part in name.split("/"):
            place = place.get(part) if isinstance(place, dict) else None
        found[state.after == len(disk.operations)].append(place)
    return found


@ways
def test_a_durable_replacement(tmp_path: Path, store: FileStore, way: Way) -> None:
    (tmp_path / "file").write_bytes(OLD)
    disk = Disk(tmp_path)
    with disk.recording():
        way(store, f"{tmp_path}/file", DURABLE)
    before, after = outcomes(disk, "file")
    assert set(before) == {OLD, NEW}
    assert set(after) == {NEW}


@ways
def test_a_durable_new_file_in_new_directories(tmp_path: Path, store: FileStore, way: Way) -> None:
    disk = Disk(tmp_path)
    with disk.recording():
        way(store, f"{tmp_path}/a/b/file", PutOptions(durable=True, conditions=Conditions(if_none_match="*")))
    before, after = outcomes(disk, "a/b/file")
    assert set(before) == {None, NEW}
    assert set(after) == {NEW}


def test_what_is_not_asked_to_be_durable_is_found_torn(tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "file").write_bytes(OLD)
    disk = Disk(tmp_path)
    with disk.recording():
        put(store, f"{tmp_path}/file", PutOptions())
    _, after = outcomes(disk, "file")
    assert {OLD, NEW, b"", bytes(len(NEW))} <= set(after)
