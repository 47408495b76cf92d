"""A public signature that changes fails ``make check``, unless the changelog's unreleased section says so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEFORE = {
    "get": "get(uri)", "Client": "class Client()", "Client.put": "Client.put(a)", "s3-cli get -j": "s3-cli get -j N",
}  # fmt: skip
CHANGES = """# Changes

## 0.12.0 (unreleased)

### Better
- `get` is faster.

### Changed signatures
- {}

## 0.11.0

### Changed signatures
- `Client.put`
"""


@pytest.fixture(scope="module")
def snapshot() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_snapshot", ROOT / "docs" / "api_snapshot.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _told(snapshot: ModuleType, now: dict[str, str], named: str = "") -> list[str]:
    named_there = snapshot.admitted(CHANGES.format(named))
    return [text.partition("\n")[0] for text in snapshot.unannounced(BEFORE, now, named_there)]


def test_what_changed_or_went_is_told_and_what_is_new_is_not(snapshot: ModuleType) -> None:
    now = BEFORE | {"get": "get(uri, more)", "new": "new()"}
    del now["s3-cli get -j"]
    assert _told(snapshot, now) == ["get", "s3-cli get -j"]
    assert _told(snapshot, BEFORE | {"new": "new()"}) == []


def test_it_is_admitted_by_its_name_or_that_of_its_owner_in_the_right_section(snapshot: ModuleType) -> None:
    now = BEFORE | {"Client.put": "Client.put(b)"}
    assert _told(snapshot, now) == ["Client.put"]  # it stands below an earlier release
    assert _told(snapshot, now, "`Client.put` takes b") == []
    assert _told(snapshot, now, "`Client`") == []
    assert _told(snapshot, now, "Client.put without backticks") == ["Client.put"]
    assert _told(snapshot, BEFORE | {"get": "get()"}) == ["get"]  # `get` stands elsewhere in the section
    assert snapshot.admitted("# Changes\n\n## 0.11.0\n") == set()


def test_the_snapshot_holds_names_members_and_options(snapshot: ModuleType) -> None:
    sys.modules.pop("s3dlio.__main__", None)
    now = snapshot.current()
    assert now["get"].startswith("get(uri: URI")
    assert now["Client.put_bytes"].startswith("Client.put_bytes(uri: URI")
    assert now["s3-cli put --size"].startswith("s3-cli put --size BYTES") or "s3-cli put -s" in now
    assert "(gone)" not in now.values()
    assert "s3dlio.checkpoint.dcp.writer.S3dlioStorageWriter.__init__" in now
    assert not any("0x" in line or "/home" in line for line in now.values())
