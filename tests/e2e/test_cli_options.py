"""What the options of transfers do, from the command line to the service."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from s3dlio.client import Client
from tests.e2e.conftest import Cli


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, data in {"a.txt": b"alpha", "sub/b.json": b"{}"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_a_limit_of_bandwidth_is_an_option_of_every_transfer(cli: Cli, bucket: str, tree: Path, tmp_path: Path) -> None:
    cli("--bwlimit", "1GiB", "upload", tree / "a.txt", bucket)
    cli("cp", "--bwlimit", "1GiB", f"{bucket}a.txt", f"{bucket}b.txt")
    cli("sync", "--bwlimit", "1GiB", bucket, tmp_path / "copy")
    cli("download", "--bwlimit", "1GiB", f"{bucket}a.txt", tmp_path / "one")
    cli("mv", "--bwlimit", "1GiB", f"{bucket}a.txt", f"{bucket}c.txt")
    assert (tmp_path / "copy" / "b.txt").read_bytes() == b"alpha"


OF_OBJECTS = (
    "--content-type", "text/x-test", "--metadata", "Colour=blue", "--metadata", "n=1=2", "--cache-control",
    "max-age=60", "--content-disposition", "attachment", "--content-language", "en", "--expires",
    "2026-11-28T09:00:00Z", "--storage-class", "STANDARD_IA", "--tags", "team=ml", "--tags", "of=a b",
    "--sse", "AES256",
)  # fmt: skip


def check_stat(cli: Cli, uri: str) -> None:
    told = cli("--json", "stat", uri).records[0]
    assert {name: told[name] for name in ("content_type", "cache_control", "content_disposition", "content_language",
                                          "expires", "storage_class", "server_side_encryption", "metadata",
                                          "tag_count")} == {
        "content_type": "text/x-test", "cache_control": "max-age=60", "content_disposition": "attachment",
        "content_language": "en", "expires": "Sat, 28 Nov 2026 09:00:00 GMT", "storage_class": "STANDARD_IA",
        "server_side_encryption": "AES256", "metadata": {"colour": "blue", "n": "1=2"}, "tag_count": 2,
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["native", "boto3", "arrow"])
def test_objects_carry_what_is_said(
    cli: Cli, bucket: str, tree: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3DLIO_BACKEND", backend)
    cli("cp", tree / "a.txt", f"{bucket}cp", *OF_OBJECTS)
    check_stat(cli, f"{bucket}cp")
    cli("upload", "-r", tree, f"{bucket}up/", *OF_OBJECTS)
    check_stat(cli, f"{bucket}up/sub/b.json")
    cli("cp", f"{bucket}up/a.txt", f"{bucket}copy")  # tags and class are not of the metadata
    assert cli("--json", "stat", f"{bucket}copy").records[0]["metadata"] == {"colour": "blue", "n": "1=2"}
    cli("cp", f"{bucket}up/a.txt", f"{bucket}copy", "--metadata", "only=this")
    told = cli("--json", "stat", f"{bucket}copy").records[0]
    assert (told["metadata"], told["content_type"]) == ({"only": "this"}, "text/x-test")


def test_standard_input_and_generated_objects_carry_it_too(
    cli: Cli, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"from a pipe"), isatty=lambda: False))
    cli("cp", "-", f"{bucket}pipe", *OF_OBJECTS)
    check_stat(cli, f"{bucket}pipe")
    cli("put", f"{bucket}p/", "-n", 1, "-s", 10, "-t", "one", *OF_OBJECTS)
    check_stat(cli, f"{bucket}p/one")
    cli("put", f"{bucket}p/", "-n", 1, "-s", 10, "-t", "two", "--procs", 2, *OF_OBJECTS)
    check_stat(cli, f"{bucket}p/two")
    assert "is that of an object that is written" in cli("cp", f"{bucket}pipe", "-", "--content-type", "x", code=2).err
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"again"), isatty=lambda: False))
    assert "skipped=1" in cli("cp", "-", f"{bucket}pipe", "--no-clobber").out
    assert Client().get(f"{bucket}pipe") == b"from a pipe"


def test_worker_processes_keep_to_the_options(cli: Cli, bucket: str, tree: Path) -> None:
    Client().put_bytes(f"{bucket}sub/b.json", b"there")
    done = cli("upload", "-r", tree, bucket, "--procs", 2, "--no-clobber", "-v")
    assert "attempted=1, succeeded=1, failed=0, skipped=1" in done.out
    assert f"copy file://{tree}/a.txt {bucket}a.txt" in done.err.splitlines()
    assert Client().get(f"{bucket}sub/b.json") == b"there"
    assert Client().head(f"{bucket}a.txt").content_type == "text/plain"


def test_a_line_for_each_object_or_none_at_all(cli: Cli, bucket: str, tree: Path) -> None:
    done = cli("cp", "-r", "-v", tree, bucket)
    lines = {f"copy file://{tree}/{name} {bucket}{name}" for name in ("a.txt", "sub/b.json")}
    assert lines <= set(done.err.splitlines())
    assert done.out == "CP summary (upload): attempted=2, succeeded=2, failed=0\n"
    records = cli("--json", "-v", "sync", bucket, tree.parent / "there").records
    assert {(record["verb"], record["source"]) for record in records[:2]} == {
        ("copy", f"{bucket}a.txt"), ("copy", f"{bucket}sub/b.json")
    }  # fmt: skip
    (tree / "a.txt").unlink()
    assert f"delete {bucket}a.txt" in cli("sync", "-v", "--delete", tree, bucket).err.splitlines()
    for words in (("cp", "-r", tree, bucket), ("sync", tree, bucket), ("rm", "-r", bucket), ("mb", bucket)):
        quiet = cli("-q", *words)
        assert (quiet.out, quiet.err) == ("", "")
    assert cli("cp", "-q", f"{bucket}missing", tree, code=1).err.startswith("Error: ")


def test_dry_runs_say_what_would_be_done_and_do_nothing(cli: Cli, bucket: str, tree: Path, tmp_path: Path) -> None:
    for command in (["cp", "-r"], ["mv", "-r"], ["upload", "-r"], ["sync"]):
        done = cli(*command, "--dry-run", tree, bucket)
        verb = "move" if command[0] == "mv" else "copy"
        assert [line.split(" ")[0] for line in done.lines] == [verb, verb]
        assert "2 objects (7 bytes) would be" in done.err
    records = cli("--json", "cp", "-r", "-n", tree, bucket).records
    assert records[0] == {
        "verb": "copy", "source": f"file://{tree}/a.txt", "target": f"{bucket}a.txt", "size": 5, "dry_run": True
    }  # fmt: skip
    assert cli("put", bucket, "-n", 2, "-t", "o{}", "--dry-run").lines == [f"put {bucket}o0", f"put {bucket}o1"]
    assert cli("mb", "s3://never-made", "-n").lines == ["create s3://never-made"]
    assert not list(Client().list(bucket))
    Client().put_bytes(f"{bucket}k", b"x")
    assert cli("download", f"{bucket}k", tmp_path / "new", "-n").lines == [f"copy {bucket}k file://{tmp_path}/new/k"]
    assert not (tmp_path / "new").exists()
    assert cli("rb", bucket, "--force", "--dry-run").lines == [f"delete {bucket}k", f"delete {bucket}"]
    cli("tags", f"{bucket}k", "--set", "a=b", "-n")
    assert Client().get_tags(f"{bucket}k") == {}
    assert cli("mkdir", tmp_path.as_uri() + "/d", "-n").lines == [f"create {tmp_path.as_uri()}/d"]
    assert not (tmp_path / "d").exists()
    assert Client().get(f"{bucket}k") == b"x"


def test_rm_selects_by_name_size_and_age(cli: Cli, bucket: str, tmp_path: Path) -> None:
    client = Client()
    for name, size in (("a.tmp", 1), ("b.tmp", 100), ("c.txt", 1)):
        client.put_bytes(f"{bucket}{name}", bytes(size))
    globs = tmp_path / "globs"
    globs.write_text("*.tmp\n")
    assert "give -r too" in cli("rm", f"{bucket}a.tmp", "--min-size", 1, code=2).err
    assert "1 object" in cli("rm", "-r", "-n", bucket, "--include-from", globs, "--min-size", "50").err
    assert "No objects" in cli("rm", "-r", bucket, "--min-age", "1d").err
    cli("rm", "-r", bucket, "--include", "*.tmp", "--max-size", "50")
    assert sorted(client.list(bucket)) == [f"{bucket}b.tmp", f"{bucket}c.txt"]


@pytest.mark.parametrize(
    "words",
    [("--metadata", "novalue"), ("--tags", "=x"), ("--sse", "rot13"), ("--max-age", "old"), ("--min-size", "-1"),
     ("--expires", "soon"), ("--size-only", "--checksum")],
)  # fmt: skip
def test_what_is_mistyped_is_refused_before_anything_is_done(cli: Cli, words: tuple[str, ...]) -> None:
    assert "error:" in cli("sync", "/nonexistent", "s3://nonexistent/", *words, code=2).err


def test_where_the_time_of_a_command_goes_is_drawn(cli: Cli, tmp_path: Path) -> None:
    drawn = tmp_path / "run.svg"
    (tmp_path / "data").write_bytes(b"x")
    told = cli("--profile-run", drawn, "cat", f"file://{tmp_path}/data", "--quiet")
    assert told.out == "x"
    assert drawn.read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    failed = cli("cat", f"file://{tmp_path}/missing", "--profile-run", drawn, code=1)
    assert "missing" in failed.err
    unwritable = cli("--profile-run", tmp_path / "no" / "such", "cat", f"file://{tmp_path}/data", code=1)
    assert "No such file" in unwritable.err
