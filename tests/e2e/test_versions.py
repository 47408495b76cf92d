"""Older versions of objects, and uploads that were never completed: by the command and by the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from s3dlio.client import Client
from s3dlio.errors import ConfigError, ObjectNotFoundError, UnsupportedOperationError
from tests.e2e.conftest import Cli
from tests.servers import Server

Bucket = str


@pytest.fixture(params=["native", "boto3"])
def bucket(
    moto_server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> Bucket:
    """The URI of a new bucket that keeps versions."""
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3DLIO_BACKEND", request.param)
    name = f"v-{abs(hash(str(tmp_path))):x}"
    Client().create_bucket(name)
    versioning = {"Status": "Enabled"}
    boto3.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)  # type: ignore[arg-type]
    return f"s3://{name}/"


def write(uri: str, *bodies: bytes) -> list[str]:
    """Write an object several times; the versions, the oldest first."""
    client, found = Client(), []
    for body in bodies:
        client.put_bytes(uri, body)
        found.append(str(client.head(uri).version_id))
    return found


def begin_upload(bucket: Bucket, key: str) -> str:
    begun = boto3.client("s3").create_multipart_upload(Bucket=bucket.removeprefix("s3://").rstrip("/"), Key=key)
    return str(begun["UploadId"])


def test_versions_are_listed_with_their_deletions(cli: Cli, bucket: Bucket):
    first, second = write(f"{bucket}d/k", b"one", b"three")
    write(f"{bucket}d/k2", b"x")
    write(f"{bucket}d/deep/k", b"x")
    Client().delete(f"{bucket}d/k")
    marker, newest, oldest = Client().list_versions(f"{bucket}d/k")
    assert (marker.is_delete_marker, marker.is_latest, marker.size) == (True, True, 0)
    assert [(one.version_id, one.size, one.is_latest) for one in (newest, oldest)] == [
        (second, 5, False), (first, 3, False)]  # fmt: skip
    assert {one.uri for one in Client().list_versions(f"{bucket}d/")} == {f"{bucket}d/k", f"{bucket}d/k2"}
    assert len(Client().list_versions(f"{bucket}d/", recursive=True)) == 5
    assert len(Client().list_versions(bucket, recursive=True, pattern="k2$")) == 1
    assert len(Client().list_versions(f"{bucket}d/k*")) == 4
    records = cli("ls", "--versions", f"{bucket}d/", "--json").records
    assert records[0] == {"uri": f"{bucket}d/deep/"}
    assert sum(record.get("is_delete_marker", False) for record in records) == 1
    lines = cli("versions", "ls", f"{bucket}d/k").lines
    assert [line.split()[0] for line in lines] == ["DELETED", "5", "3"]
    assert lines[0].split()[2] == "*"


def test_an_older_version_is_read(cli: Cli, bucket: Bucket, tmp_path: Path):
    first, _ = write(f"{bucket}k", b"one", b"three")
    (piece,) = cli("cat", "--version-id", first, f"{bucket}k", "--json").records
    assert piece["bytes"] == 3
    assert cli("head", "-b2", "--version-id", first, f"{bucket}k", "--json").records[0]["bytes"] == 2
    assert cli("tail", "-b9", "--version-id", first, f"{bucket}k", "--json").records[0]["bytes"] == 3
    assert cli("stat", "--version-id", first, f"{bucket}k", "--json").records[0]["size"] == 3
    assert cli("get", "--version-id", first, f"{bucket}k", "--json").records[0]["bytes"] == 3
    cli("get", "--version-id", first, f"{bucket}k", "-o", tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == b"one"
    assert "names one version of one object" in cli("get", "-r", "--version-id", first, bucket, code=2).err


def test_a_version_is_restored_and_nothing_is_lost(cli: Cli, bucket: Bucket):
    first, _ = write(f"{bucket}k", b"one", b"three")
    assert cli("versions", "restore", "-n", f"{bucket}k", "--version-id", first).out == f"restore {bucket}k\n"
    assert Client().get(f"{bucket}k") == b"three"
    cli("versions", "restore", f"{bucket}k", "--version-id", first)
    assert Client().get(f"{bucket}k") == b"one"
    assert len(Client().list_versions(f"{bucket}k")) == 3
    latest = str(Client().head(f"{bucket}k").version_id)
    assert Client().restore_version(f"{bucket}k", latest) == latest
    with pytest.raises(ConfigError, match="nothing of it has to be restored"):
        Client().restore_version(f"{bucket}k")
    Client().delete(f"{bucket}k")
    (record,) = cli("versions", "restore", "-n", f"{bucket}k", "--json").records
    assert record.keys() == {"uri", "restored", "dry_run"}
    restored = Client().restore_version(f"{bucket}k")
    assert (Client().get(f"{bucket}k"), Client().head(f"{bucket}k").version_id) == (b"one", restored)
    with pytest.raises(ObjectNotFoundError):
        Client().restore_version(f"{bucket}none")
    assert "Error: " in cli("versions", "restore", f"{bucket}k", "--version-id", "none", code=1).err


def test_versions_are_deleted_for_good(cli: Cli, bucket: Bucket):
    first, second = write(f"{bucket}d/k", b"1", b"2")
    write(f"{bucket}d/other", b"1", b"2", b"3")
    cli("rm", f"{bucket}d/k", "--version-id", second)
    assert Client().get(f"{bucket}d/k") == b"1"
    cli("versions", "rm", f"{bucket}d/k", "--version-id", first)
    assert Client().list_versions(f"{bucket}d/k") == []
    cli("rm", f"{bucket}d/other")
    assert len(cli("rm", "-r", "--versions", "-n", f"{bucket}d/").lines) == 4
    run = cli("rm", "-r", "--versions", f"{bucket}d/", "--json")
    assert (run.records[0]["attempted"], run.records[0]["succeeded"]) == (4, 4)
    assert Client().list_versions(bucket, recursive=True) == []
    assert "with --version-id, or delete all" in cli("versions", "rm", f"{bucket}d/k", code=2).err
    assert "it is a directory" not in cli("rm", "--versions", f"{bucket}none", code=1).err


def test_uploads_that_were_never_completed_are_listed_and_removed(cli: Cli, bucket: Bucket):
    one, two = begin_upload(bucket, "d/one"), begin_upload(bucket, "e f+&/two")
    found = Client().list_uploads(bucket)
    assert [(upload.uri, upload.upload_id) for upload in found] == [
        (f"{bucket}d/one", one), (f"{bucket}e f+&/two", two)]  # fmt: skip
    assert found[0].initiated
    assert Client().list_uploads(bucket, older_than="100y") == []  # moto begins all of them in 2010
    assert Client().list_uploads(bucket, older_than="2d") == found
    assert [upload.upload_id for upload in Client().list_uploads(f"{bucket}d/")] == [one]
    assert one in cli("uploads", "ls", f"{bucket}d/one").out
    assert cli("uploads", "rm", "-n", bucket, "--json").records[1]["dry_run"] is True
    assert "0 uploads removed" in cli("uploads", "rm", bucket, "--older-than", "100y").err
    (record,) = cli("uploads", "rm", f"{bucket}d/one", "--json").records
    assert (record["uri"], record["upload_id"]) == (f"{bucket}d/one", one)
    assert [upload.upload_id for upload in Client().abort_uploads(bucket)] == [two]
    assert Client().list_uploads(bucket) == []
    assert "invalid age" in cli("uploads", "ls", bucket, "--older-than", "soon", code=2).err


@pytest.mark.parametrize(
    "verb", [Client.list_versions, Client.restore_version, Client.delete_versions, Client.list_uploads]
)
@pytest.mark.parametrize("place", ["file:///nowhere/x", "memory://m/x"])
def test_stores_without_them_say_so(verb: Callable[..., object], place: str):
    with pytest.raises(UnsupportedOperationError, match="stores cannot list"):
        verb(Client(), place)
