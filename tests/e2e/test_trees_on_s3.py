"""Trees and listings of many directories on a real S3."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import ConfigError
from s3dlio.stores.local.file import FileStore
from s3dlio.transfer.delete import delete
from s3dlio.types import ObjectMetadata
from tests.servers import Server


def test_trees_on_s3(moto_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "tree"
    for number in range(40):
        path = root / ("deep/er" if number % 2 else "") / f"file é+{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 100))
    (root / "large").write_bytes(os.urandom(9 << 20))

    def contents(top: Path) -> dict[str, bytes]:
        return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}

    with Client(endpoint_url=moto_server.endpoint, multipart={"threshold": 6 << 20, "part_size": 5 << 20}) as client:
        there = "s3://tree-transfers/p/"
        sent = client.upload(root, there, recursive=True, create_bucket=True, verify=True, preserve_mtime=True)
        assert sent.succeeded == 41
        assert client.sync(root, there).skipped == 41
        client.copy(there, "s3://tree-transfers/q/", recursive=True, verify=True)
        other = f"s3://{moto_server.endpoint.partition('://')[2]}/tree-transfers/r/"  # another way to name it: relayed
        assert client.copy("s3://tree-transfers/q/", other, recursive=True, verify=True).succeeded == 41
        client.move(other, tmp_path / "out", recursive=True, verify=True)
        assert contents(tmp_path / "out") == contents(root)
        times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
        assert times == {p.name: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
        assert client.sync(there, "s3://tree-transfers/q/", delete=True, checksum=True).skipped == 41
        assert client.list("s3://tree-transfers/r/", recursive=True) == []
        assert delete(client, "s3://tree-transfers/", recursive=True).succeeded == 82
        client.delete_bucket("s3://tree-transfers")


def test_listings_that_fan_out(moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    with Client() as client:
        client.create_bucket("fanout")
        uris = [f"s3://fanout/t/{directory}/{number}" for directory in "abc" for number in range(5)]
        client.put_many([(uri, b"x") for uri in [*uris, "s3://fanout/t/top"]])
        assert client.list("s3://fanout/t/", recursive=True, fan_out=3) == [*uris, "s3://fanout/t/top"]
        with pytest.raises(ConfigError, match="fan_out"):
            client.list("s3://fanout/t/", recursive=True, fan_out=0)


def test_sync_reads_local_files_on_other_threads(
    moto_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "large").write_bytes(os.urandom(300_000))
    threads: list[int] = []
    read = FileStore._read

    def noted(self: FileStore, *arguments: Any) -> ObjectMetadata:
        threads.append(threading.get_ident())
        return read(self, *arguments)

    with Client() as client:
        client.create_bucket("s3://beside")
        client.sync(tmp_path, "s3://beside/p/")
        monkeypatch.setattr(FileStore, "_read", noted)
        assert client.sync(tmp_path, "s3://beside/p/", checksum=True).skipped == 1
        assert threads
        assert threading.get_ident() not in threads
