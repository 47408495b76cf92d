"""What is selected by size, age and files of globs; how objects are compared; names and content types."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import ConfigError, ObjectNotFoundError, S3dlioError
from s3dlio.transfer.actions import Action
from s3dlio.transfer.content_types import content_type_of
from s3dlio.transfer.delete import delete
from s3dlio.transfer.limits import limits
from s3dlio.transfer.object_options import http_date, object_options
from s3dlio.transfer.pattern_file import read_patterns

_numbers = itertools.count()


@pytest.fixture
def bucket() -> str:
    return f"memory://options-{next(_numbers)}/"


@pytest.fixture
def client(bucket: str) -> Client:
    client = Client()
    client.create_bucket(bucket)
    return client


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, size in {"a.txt": 1, "b.npy": 10, "sub/c.txt": 100, "sub/d.npy": 1000}.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(bytes(size))
    return tmp_path / "tree"


def names(client: Client, bucket: str) -> list[str]:
    return sorted(uri.removeprefix(bucket) for uri in client.list(bucket, recursive=True))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.html", "text/html"), ("a/b.JSON", "application/json"), ("a.tar.gz", "application/gzip"),
     ("a.csv.bz2", "application/x-bzip2"), ("a.parquet", "application/vnd.apache.parquet"),
     ("a.tgz", "application/gzip"), ("a.unknown-kind", None), ("plain", None), ("dir.html/plain", None),
     ("", None), ("a.", None)],
)  # fmt: skip
def test_content_types_of_names(name: str, kind: str | None) -> None:
    assert content_type_of(name) == kind


def test_the_setting_turns_guessing_off(tree: Path, bucket: str, client: Client) -> None:
    client.upload(tree / "a.txt", bucket)
    assert client.head(f"{bucket}a.txt").content_type == "text/plain"
    plain = Client(transfer={"guess_content_type": False})
    plain.upload(tree / "a.txt", bucket)
    assert client.head(f"{bucket}a.txt").content_type is None
    plain.upload(tree / "a.txt", bucket, guess_content_type=True)
    assert client.head(f"{bucket}a.txt").content_type == "text/plain"
    client.copy(f"{bucket}a.txt", f"{bucket}b.html")
    assert client.head(f"{bucket}b.html").content_type == "text/plain"  # that of the object goes with it


def test_globs_in_files(tree: Path, bucket: str, client: Client, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted"
    wanted.write_text("\ufeff# arrays\n\n  *.npy  \r\n; and one more\na.txt\n", encoding="utf-8")
    assert read_patterns(wanted) == ["*.npy", "a.txt"]
    client.upload(tree, bucket, recursive=True, include_from=wanted, exclude="b.*")
    assert names(client, bucket) == ["a.txt", "sub/d.npy"]
    unwanted = tmp_path / "unwanted"
    unwanted.write_text("sub/\n")
    client.sync(tree, bucket, exclude_from=[unwanted], include_from=str(wanted))
    assert names(client, bucket) == ["a.txt", "b.npy", "sub/d.npy"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"a\0b"])
def test_files_without_globs(tree: Path, bucket: str, client: Client, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "globs").write_bytes(content)
    with pytest.raises(ConfigError, match="globs"):
        client.upload(tree, bucket, recursive=True, exclude_from=tmp_path / "globs")
    with pytest.raises(S3dlioError, match="missing"):
        client.sync(tree, bucket, exclude_from=tmp_path / "missing", dry_run=True)
    assert names(client, bucket) == []


def test_sizes_and_ages(tree: Path, bucket: str, client: Client) -> None:
    old = 1_600_000_000
    os.utime(tree / "b.npy", (old, old))
    done = client.upload(tree, bucket, recursive=True, max_age="365d", max_size="100")
    assert (done.succeeded, done.skipped) == (2, 2)
    assert names(client, bucket) == ["a.txt", "sub/c.txt"]
    client.copy(tree, bucket, recursive=True, min_age=datetime(2021, 1, 1, tzinfo=UTC))
    assert names(client, bucket) == ["a.txt", "b.npy", "sub/c.txt"]
    with pytest.raises(ConfigError, match="no object is between"):
        client.upload(tree, bucket, min_size=2, max_size=1)


def test_a_sync_leaves_alone_what_its_bounds_refuse(tree: Path, bucket: str, client: Client) -> None:
    client.put_bytes(f"{bucket}small", b"x")
    client.put_bytes(f"{bucket}large", bytes(500))
    client.put_bytes(f"{bucket}sub/d.npy", b"older")
    seen: list[Action] = []
    done = client.sync(tree, bucket, delete=True, max_size=200, on_action=seen.append)
    assert (done.succeeded, done.deleted, done.skipped) == (3, 1, 1)
    assert names(client, bucket) == ["a.txt", "b.npy", "large", "sub/c.txt", "sub/d.npy"]
    assert client.get(f"{bucket}sub/d.npy") == b"older"
    assert [action.target for action in seen if action.verb == "delete"] == [f"{bucket}small"]


def test_deleting_by_size_age_and_files_of_globs(tree: Path, bucket: str, client: Client, tmp_path: Path) -> None:
    client.upload(tree, bucket, recursive=True)
    assert delete(client, bucket, recursive=True, limits=limits(min_age="1h")).attempted == 0
    assert delete(client, bucket, recursive=True, limits=limits(min_size=50), exclude="*.npy").attempted == 1
    (tmp_path / "globs").write_text("a.*\n")
    assert delete(client, bucket, recursive=True, include_from=tmp_path / "globs", dry_run=True).attempted == 1
    assert names(client, bucket) == ["a.txt", "b.npy", "sub/d.npy"]
    assert delete(client, str(tree.as_uri()) + "/", recursive=True, limits=limits(max_size=1)).attempted == 1
    assert (tree / "sub").is_dir()  # not all of it was meant


def test_only_sizes_are_compared(tree: Path, bucket: str, client: Client) -> None:
    client.sync(tree, bucket)
    (tree / "a.txt").write_bytes(b"x")
    os.utime(tree / "a.txt", (2_000_000_000, 2_000_000_000))
    (tree / "b.npy").write_bytes(b"longer than before")
    assert client.sync(tree, bucket, size_only=True).succeeded == 1
    assert client.sync(tree, bucket).succeeded == 1
    with pytest.raises(ConfigError, match="two ways"):
        client.sync(tree, bucket, size_only=True, checksum=True)


def test_exact_times_of_files(tree: Path, bucket: str, client: Client) -> None:
    """As the AWS CLI: a file that is newer than its object differs, too."""
    client.put_bytes(f"{bucket}a.txt", b"1")
    there = tree.parent / "there"
    assert client.sync(bucket, there).succeeded == 1
    (there / "a.txt").write_bytes(b"2")
    assert client.sync(bucket, there).succeeded == 0
    newer = (there / "a.txt").stat().st_mtime + 100
    os.utime(there / "a.txt", (newer, newer))
    assert client.sync(bucket, there).succeeded == 0
    assert client.sync(bucket, there, exact_timestamps=True, dry_run=True).attempted == 1
    assert client.sync(bucket, there, exact_timestamps=True).succeeded == 1
    assert (there / "a.txt").read_bytes() == b"1"
    assert client.sync(bucket, there, exact_timestamps=True).succeeded == 0


def test_exact_times_that_are_kept_with_objects(tree: Path, bucket: str, client: Client) -> None:
    os.utime(tree / "a.txt", (1_500_000_000, 1_500_000_000))
    client.upload(tree / "a.txt", bucket, preserve_mtime=True)
    there = tree.parent / "there"
    both = {"preserve_mtime": True, "exact_timestamps": True}
    assert client.sync(bucket, there, **both).succeeded == 1
    assert (there / "a.txt").stat().st_mtime == 1_500_000_000
    assert client.sync(bucket, there, **both).succeeded == 0
    os.utime(there / "a.txt", (1_500_000_001, 1_500_000_001))
    assert client.sync(bucket, there, **both).succeeded == 1


def test_a_sync_without_clobbering_only_adds(tree: Path, bucket: str, client: Client) -> None:
    client.put_bytes(f"{bucket}a.txt", b"another")
    done = client.sync(tree, bucket, no_clobber=True)
    assert (done.succeeded, done.skipped) == (3, 1)
    assert client.get(f"{bucket}a.txt") == b"another"


def test_a_file_where_a_directory_should_be_is_no_reason_to_skip(bucket: str, client: Client, tmp_path: Path) -> None:
    client.put_bytes(f"{bucket}a/b", b"x")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_bytes(b"a file")
    with pytest.raises(S3dlioError, match="needs a directory"):
        client.download(bucket, tmp_path / "there", no_clobber=True)


def test_every_object_is_told_when_it_is_there(tree: Path, bucket: str, client: Client) -> None:
    done: list[Action] = []
    client.upload(tree, bucket, recursive=True, on_done=lambda action: done.append(action))
    assert {(action.verb, action.target, action.size) for action in done} == {
        ("copy", f"{bucket}{name}", size)
        for name, size in (("a.txt", 1), ("b.npy", 10), ("sub/c.txt", 100), ("sub/d.npy", 1000))
    }
    done.clear()
    client.move(tree / "a.txt", f"{bucket}z", on_done=lambda action: done.append(action))
    assert [(action.verb, action.target) for action in done] == [("move", f"{bucket}z")]


def test_generated_objects_carry_options_and_can_be_rehearsed(bucket: str, client: Client) -> None:
    seen: list[Action] = []
    done = client.put(bucket, 3, size=10, dry_run=True, on_action=seen.append)
    assert (done.attempted, done.succeeded, done.bytes) == (3, 0, 30)
    assert [action.target for action in seen] == [f"{bucket}object-{number}" for number in range(3)]
    assert names(client, bucket) == []
    client.put(bucket, 1, size=10, content_type="text/x-data", metadata={"a": "b"})
    about = client.head(f"{bucket}object-0")
    assert (about.content_type, dict(about.metadata)) == ("text/x-data", {"a": "b"})
    with pytest.raises(TypeError, match="content_type"):
        client.put(bucket, 1, content_typ="x")


def test_an_object_is_copied_onto_itself_only_to_change_it(bucket: str, client: Client) -> None:
    client.put_bytes(f"{bucket}k", b"x", content_type="text/x-one")
    with pytest.raises(S3dlioError, match="the source itself"):
        client.copy(f"{bucket}k", f"{bucket}k")
    client.copy(f"{bucket}k", f"{bucket}k", content_type="text/x-two")
    assert client.head(f"{bucket}k").content_type == "text/x-two"
    with pytest.raises(S3dlioError, match="the source itself"):
        client.move(f"{bucket}k", f"{bucket}k", content_type="text/x-two")


@pytest.mark.parametrize(
    ("written", "field"),
    [("2026-11-28T09:00:00Z", "Sat, 28 Nov 2026 09:00:00 GMT"),
     (datetime(2026, 11, 28, 9, tzinfo=UTC), "Sat, 28 Nov 2026 09:00:00 GMT"),
     ("Sat, 28 Nov 2026 09:00:00 GMT", "Sat, 28 Nov 2026 09:00:00 GMT")],
)  # fmt: skip
def test_the_field_expires(written: Any, field: str) -> None:
    assert http_date(written) == field == object_options(expires=written).expires


def test_a_dry_run_says_what_is_not_there(bucket: str, client: Client, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError):
        client.copy(f"{bucket}missing", tmp_path / "x", dry_run=True)
