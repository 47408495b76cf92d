"""A sync of what has not changed moves nothing: between any two schemes, both ways, with and without --preserve."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from s3dlio.client import Client

SERVERS = {"s3": "moto_server", "az": "azurite_server", "gs": "gcs_full_server"}
FILES = {"a.txt": b"alpha", "sub/b.bin": bytes(70_000), "sub/deep/c": b""}

_numbers = itertools.count()


@pytest.fixture
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Client:
    for scheme in dict.fromkeys(request.node.callspec.params[name] for name in ("source", "target")):
        if scheme in SERVERS:
            for name, value in request.getfixturevalue(SERVERS[scheme]).env.items():
                monkeypatch.setenv(name, value)
    return Client()


def place(client: Client, scheme: str, folder: Path) -> str:
    if scheme == "file":
        return f"file://{folder}/place-{next(_numbers)}/"
    account = "devstoreaccount1/" if scheme == "az" else ""
    container = f"{scheme}://{account}sync-again-{next(_numbers)}"
    client.create_bucket(container)
    return f"{container}/tree/"


@pytest.mark.parametrize("preserve", [False, True])
@pytest.mark.parametrize(("source", "target"), [*itertools.product(["file", "s3", "az", "gs"], repeat=2)])
def test_nothing_moves_when_nothing_changed(
    client: Client, tmp_path: Path, source: str, target: str, preserve: bool
) -> None:
    origin = tmp_path / "origin"
    for name, data in FILES.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_bytes(data)
        os.utime(origin / name, ns=(0, 1_600_000_000_123_456_789))
    here, there = place(client, source, tmp_path), place(client, target, tmp_path)
    first = str(origin)
    if source == "file":
        here = f"file://{origin}/"
    else:
        client.sync(first, here, preserve_mtime=preserve)
    assert client.sync(here, there, preserve_mtime=preserve).succeeded == len(FILES)
    for one, other in ((here, there), (there, here), (here, there), (there, here)):
        done = client.sync(one, other, preserve_mtime=preserve)
        assert (done.succeeded, done.skipped) == (0, len(FILES)), (one, other)
        assert client.sync(one, other, preserve_mtime=preserve, dry_run=True).attempted == 0
    client.put_bytes(f"{here}a.txt", b"ALPHA")  # the same size
    if source == "file":
        os.utime(origin / "a.txt", ns=(0, 4_000_000_000 * 10**9))
    if source != "file" or target == "file":
        client.sync(here, there, preserve_mtime=preserve, checksum=True)
    else:
        assert client.sync(here, there, preserve_mtime=preserve).succeeded == 1
    assert client.get(f"{there}a.txt") == b"ALPHA"


@pytest.mark.parametrize("preserve", [False, True])
@pytest.mark.parametrize(("source", "target"), [("s3", "file"), ("az", "file"), ("gs", "file")])
def test_down_up_and_down_again(client: Client, tmp_path: Path, source: str, target: str, preserve: bool) -> None:
    here = place(client, source, tmp_path)
    for name, data in FILES.items():
        client.put_bytes(here + name, data)
    there = place(client, target, tmp_path)
    moved = [
        client.sync(one, other, preserve_mtime=preserve).succeeded
        for one, other in ((here, there), (there, here), (here, there), (there, here))
    ]
    assert moved == [len(FILES), 0, 0, 0]
