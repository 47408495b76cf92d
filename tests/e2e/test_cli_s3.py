"""The commands on S3, and between S3 and files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import pytest

import s3dlio
from s3dlio.cli.commands import cat as cat_command
from s3dlio.cli.context import Context
from s3dlio.cli.output import Output
from s3dlio.cli.parser import build_parser, parse
from s3dlio.client import Client
from s3dlio.errors import PreconditionFailedError
from s3dlio.formats import iter_tfrecords
from tests.e2e.conftest import Cli
from tests.servers import Server
from tests.servers.moto_server import MotoServer

Bucket = str


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, data in {"a.txt": b"alpha", "sub/b.bin": bytes(70_000), "sub/deep/ü +%.txt": b"", "c.txt": b"c"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def keys(uri: str) -> list[str]:
    return [found.removeprefix(uri) for found in Client().list(uri, recursive=True)]


def test_buckets_come_and_go(cli: Cli, bucket: Bucket):
    name = bucket.removeprefix("s3://").rstrip("/")
    assert cli("create-bucket", bucket.rstrip("/")).err == f"Successfully created or verified '{bucket.rstrip('/')}'.\n"
    rows = [line.split() for line in cli("list-buckets").lines]
    assert [name, f"s3://{name}"] in [row[:2] for row in rows]
    cli("put", bucket, "-s", 1)
    assert "BucketNotEmpty" in cli("delete-bucket", bucket, code=1).err
    cli("rm", "-r", bucket)
    assert cli("delete-bucket", bucket, "--json").records == [{"uri": bucket, "deleted": True}]
    assert "NoSuchBucket" in cli("ls", bucket, code=1).err


def test_put_and_get(cli: Cli, bucket: Bucket):
    run = cli("put", bucket + "x/", "-n", 12, "-s", "70k", "-j", 4)
    assert run.out == "PUT summary: attempted=12, succeeded=12, failed=0\n"
    assert "12 objects: 840000 bytes in " in run.err
    assert keys(bucket)[0] == "x/object_0_of_12.dat"
    assert cli("get", bucket + "x/", "-j", 3).out == "GET summary: attempted=12, succeeded=12, failed=0\n"
    assert "attempted=3," in cli("get", bucket + "x/object_1*").out
    assert cli("get", bucket + "x/object_3_of_12.dat", "--json").records[0]["bytes"] == 70_000


def test_put_records(cli: Cli, bucket: Bucket):
    cli("put", bucket + "train-{}.tfrecord", "-n", 2, "-s", 100, "-o", "tfrecord", "--elements", 5)
    assert [len(record) for record in iter_tfrecords(Client().get(bucket + "train-1.tfrecord"))] == [100] * 5


def test_put_creates_the_bucket_when_asked(cli: Cli, bucket: Bucket):
    missing = bucket.replace("s3://", "s3://new-")
    run = cli("put", missing, "-n", 100, "-s", 1, "-j", 4, code=1)
    assert re.fullmatch(r"PUT summary: attempted=\d, succeeded=0, failed=\d\n", run.out)
    assert "NoSuchBucket" in run.err
    cli("put", missing, "-n", 3, "-s", 1, "--create-bucket")
    assert len(keys(missing)) == 3


def test_upload_and_download_are_each_others_inverse(cli: Cli, bucket: Bucket, tree: Path, tmp_path: Path):
    run = cli("upload", "-r", tree, bucket + "t/")
    assert run.out == "UPLOAD summary: attempted=4, succeeded=4, failed=0\n"
    run = cli("download", "-r", bucket + "t/", tmp_path / "back", "--verify")
    assert run.out == "DOWNLOAD summary: attempted=4, succeeded=4, failed=0\n"
    assert contents(tmp_path / "back") == contents(tree)


def test_upload_of_files_globs_and_regexes(cli: Cli, bucket: Bucket, tree: Path):
    cli("upload", tree / "a.txt", "-j", 2, tree / "sub" / "b.bin", bucket + "two")
    assert keys(bucket) == ["two/a.txt", "two/b.bin"]
    cli("upload", f"{tree}/*.txt", bucket + "glob/")
    assert keys(bucket + "glob/") == ["a.txt", "c.txt"]
    cli("upload", "--regex", f"{tree}/^[c-z]", bucket + "regex/")
    assert keys(bucket + "regex/") == ["c.txt"]
    assert "none" in cli("upload", tree / "none", bucket, code=1).err


def test_copies_between_all_places_say_what_they_are(cli: Cli, bucket: Bucket, tree: Path, tmp_path: Path):
    assert cli("cp", "-r", tree, bucket + "a/").out.startswith("CP summary (upload): attempted=4, succeeded=4")
    assert cli("cp", "-r", bucket + "a/", bucket + "b/").out.startswith("CP summary (copy): attempted=4, succeeded=4")
    assert cli("cp", "-r", bucket + "b/", tmp_path / "c").out.startswith("CP summary (download): attempted=4")
    assert contents(tmp_path / "c") == contents(tree)
    assert cli("mv", bucket + "a/a.txt", bucket + "moved.txt").out.startswith("MV summary: attempted=1")
    assert "a/a.txt" not in keys(bucket)
    assert Client().get(bucket + "moved.txt") == b"alpha"
    assert cli("cp", "-r", "-p", "txt$", "--exclude", "c*", bucket + "b/", tmp_path / "d", "--json").records[0] == {
        "operation": "CP", "attempted": 2, "succeeded": 2, "failed": 0, "skipped": 0, "bytes": 5,
        "seconds": pytest.approx(0, abs=60), "retries": 0}  # fmt: skip


def test_one_that_fails_gives_its_own_error(cli: Cli, bucket: Bucket, tmp_path: Path):
    assert "NoSuchKey" in cli("cat", bucket + "none", code=1).err
    assert "none" in cli("cp", bucket + "none", tmp_path / "x", code=1).err
    assert not (tmp_path / "x").exists()


def test_a_key_that_would_leave_the_directory_is_refused_and_the_others_go_on(cli: Cli, bucket: Bucket, tmp_path: Path):
    Client().put_many([(bucket + "d/../../evil", b"x"), (bucket + "d/good", b"y")])
    run = cli("download", "-r", bucket + "d/", tmp_path / "in", code=1)
    assert run.out == "DOWNLOAD summary: attempted=2, succeeded=1, failed=1\n"
    assert contents(tmp_path) == {"in/good": b"y"}


def test_sync(cli: Cli, bucket: Bucket, tree: Path):
    target = bucket + "s/"
    Client().put_bytes(target + "surplus", b"x")
    run = cli("sync", tree, target, "--delete", "--dry-run")
    assert f"copy file://{tree}/a.txt {target}a.txt" in run.lines
    assert f"delete {target}surplus" in run.lines
    assert run.err == "4 objects (70006 bytes) would be copied, 1 deleted\n"
    assert keys(target) == ["surplus"]
    *actions, last = cli("sync", tree, target, "--delete", "-n", "--json").records
    assert {action["verb"] for action in actions} == {"copy", "delete"}
    assert last == {"operation": "SYNC", "dry_run": True, "attempted": 4, "bytes": 70006, "deleted": 1}
    assert cli("sync", tree, target, "--delete").out == (
        "SYNC summary: attempted=4, succeeded=4, failed=0, deleted=1\n")  # fmt: skip
    assert cli("sync", tree, target, "--delete").out == "SYNC summary: attempted=0, succeeded=0, failed=0, skipped=4\n"
    (tree / "a.txt").write_bytes(b"other")
    assert "attempted=1," in cli("sync", tree, target, "--checksum").out
    assert Client().get(target + "a.txt") == b"other"


def test_a_failed_transfer_tells_what_its_journal_skipped(cli: Cli, bucket: Bucket, tree: Path, tmp_path: Path):
    (tree / "zz").symlink_to("nowhere")
    command = ("upload", "-r", tree, bucket + "u/", "--journal", tmp_path / "journal")
    assert "attempted=5, succeeded=4, failed=1\n" in cli(*command, code=1).out
    assert "attempted=1, succeeded=0, failed=1, skipped=4\n" in cli(*command, code=1).out


def test_a_glob_that_matches_nothing_is_told_how_to_reach_below(cli: Cli, bucket: Bucket):
    cli("put", bucket + "run/", "-n", 2, "-s", 1)
    assert "nothing matches the glob; '*' and '?' match no '/', '**' does" in cli("ls", bucket + "r*", code=1).err
    assert cli("ls", bucket + "r**").out.count("run/object_") == 2


def test_rm(cli: Cli, bucket: Bucket):
    cli("put", bucket + "r/", "-n", 12, "-s", 1)
    run = cli("rm", bucket + "r/object_0_of_12.dat")
    assert run.out == ""
    assert run.err.startswith(f"Delete request succeeded: {bucket}r/object_0_of_12.dat (S3 does not report")
    assert "it is a directory; use -r" in cli("rm", bucket + "r/", code=1).err
    for glob in ("object_[01]_of_12.dat", "object_{0,1}_of_12.dat", "object_?_of_12.dat"):
        assert "not what matches it as a glob (use -r to delete that))" in cli("rm", f"{bucket}r/{glob}").err
    run = cli("rm", "-r", "-p", "_1_", "--dry-run", bucket + "r/")
    assert (run.out, run.err) == (f"{bucket}r/object_1_of_12.dat\n", "1 object would be deleted\n")
    run = cli("rm", "-r", "-p", "_1_", bucket + "r/")
    assert run.err == (
        f"Sent delete requests for 1 object selected under prefix {bucket}r/ by pattern '_1_' "
        "(1 selected; 0 reported errors)\n"
    )
    assert len(keys(bucket)) == 10
    assert f"No objects under prefix {bucket}r/ match pattern 'zz'" in cli("rm", "-rp", "zz", bucket + "r/").err
    (record,) = cli("delete", "-r", bucket + "r/", "--json").records
    assert (record["attempted"], record["succeeded"], record["failed"]) == (10, 10, 0)
    assert cli("rm", "-r", bucket + "r/").err == f"No objects found under prefix: {bucket}r/\n"
    assert "names a container" in cli("rm", bucket, code=1).err
    assert "give -r too" in cli("rm", bucket, "-p", "x", code=2).err


def test_cat_joins_the_pieces_of_one_version(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    data = os.urandom(100_001)
    Client().put_bytes(bucket + "k", data)
    monkeypatch.setattr(cat_command, "PIECE", 10_000)
    context = Context(parse(["cat", bucket + "k"]), Output())

    def read(offset: int, length: int | None) -> bytes:
        return b"".join(cat_command.pieces(context, bucket + "k", offset, length))

    assert read(0, None) == data
    assert read(5, 25_000) == data[5:25_005]
    assert read(100_000, 10) == data[100_000:]
    assert read(0, 0) == b""
    Client().put_bytes(bucket + "k", b"")
    assert read(0, None) == b""


def test_cat_never_mixes_two_versions(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    Client().put_bytes(bucket + "k", bytes(50))
    monkeypatch.setattr(cat_command, "PIECE", 10)
    pieces = cat_command.pieces(Context(parse(["cat", bucket + "k"]), Output()), bucket + "k", 0, None)
    assert len(next(pieces)) == 10
    Client().put_bytes(bucket + "k", b"1" * 50)
    with pytest.raises(PreconditionFailedError):
        list(pieces)


def test_the_endpoint_may_come_from_the_command_line(
    cli: Cli, bucket: Bucket, moto_server: Server, monkeypatch: pytest.MonkeyPatch
):
    cli("put", bucket, "-s", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody is there
    assert "Total objects: 1 " in cli("ls", bucket, "--endpoint-url", moto_server.endpoint).err
    assert "Total objects: 1 " in cli("--no-sign-request", "--endpoint", moto_server.endpoint, "ls", bucket).err


def test_presign(cli: Cli, bucket: Bucket, tmp_path: Path):
    Client().put_bytes(bucket + "k", b"shared")
    (url,) = cli("presign", bucket + "k", "--expires", 60).lines
    assert "X-Amz-Expires=604800&" in cli("presign", bucket + "k", "--expires", "7d").out
    assert cli("presign", bucket + "k", "--expires", "1h30m", "--json").records[0]["expires"] == 5400
    assert "write seconds, or 90s, 30m" in cli("presign", bucket + "k", "--expires", "soon", code=2).err
    with urllib.request.urlopen(url) as response:
        assert response.read() == b"shared"
    (record,) = cli("presign", bucket + "new", "--method", "put", "--json").records
    assert (record["uri"], record["method"], record["expires"]) == (bucket + "new", "PUT", 3600)
    headers = {"Content-Type": "application/octet-stream"}  # urllib would say that it sends a form
    with urllib.request.urlopen(urllib.request.Request(record["url"], b"x", headers, method="PUT")):
        assert Client().get(bucket + "new") == b"x"
    assert "604800" in cli("presign", bucket + "k", "--expires", 700_000, code=1).err
    assert "file:// stores cannot make presigned URLs" in cli("presign", f"file://{tmp_path}/x", code=1).err


def test_a_bucket_of_a_name_like_it_is_suggested(cli: Cli, bucket: Bucket):
    typed = bucket.replace("suggested", "sugested")
    assert f"did you mean {bucket}?" in cli("ls", typed, code=1).err
    assert "did you mean" not in cli("ls", "s3://zzz-quite-another/", code=1).err


def test_presign_of_one_version(cli: Cli, bucket: Bucket):
    name = bucket.removeprefix("s3://").rstrip("/")
    boto3.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    Client().put_bytes(bucket + "k", b"old")
    version = Client().head(bucket + "k").version_id
    Client().put_bytes(bucket + "k", b"new")
    (url,) = cli("presign", bucket + "k", "--version-id", version).lines
    with urllib.request.urlopen(url) as response:
        assert response.read() == b"old"
    (record,) = cli("presign", bucket + "k", "--version-id", version, "--json").records
    assert record["version_id"] == version
    assert "invalid version" in cli("presign", bucket + "k", "--version-id", "", code=2).err


def test_tags(cli: Cli, bucket: Bucket, tmp_path: Path):
    Client().put_bytes(bucket + "k", b"x")
    assert cli("tags", bucket + "k").out == ""
    assert cli("tags", bucket + "k", "--set", "b=1", "--set", "a=x=y").out == "a = x=y\nb = 1\n"
    assert cli("tags", bucket + "k", "--set", "c=", "--remove", "b").lines == ["a = x=y", "c = "]
    assert cli("tags", bucket + "k", "--json").records == [{"uri": bucket + "k", "tags": {"a": "x=y", "c": ""}}]
    assert "--set" in cli("tags", bucket + "k", "--set", "oops", code=2).err
    assert "file:// stores cannot keep tags" in cli("tags", f"file://{tmp_path}/x", code=1).err


def test_directories_are_not_pretended(cli: Cli, bucket: Bucket, tmp_path: Path):
    Client().put_bytes(bucket + "d/k", b"x")
    assert cli("mkdir", bucket + "d/").err.startswith(f"Nothing to create for '{bucket}d/': object stores have no")
    assert "the directory is not empty; use -r" in cli("rmdir", bucket + "d/", code=1).err
    assert cli("rmdir", bucket + "e/").err.startswith(f"Nothing to delete for '{bucket}e/': object stores have no")
    assert cli("rmdir", "-r", bucket + "d/", "--json").records == [{"uri": bucket + "d/", "deleted": True}]
    assert keys(bucket) == []
    assert cli("mkdir", f"file://{tmp_path}/a/b").err == f"Successfully created or verified 'file://{tmp_path}/a/b'.\n"
    assert "not empty" in cli("rmdir", f"file://{tmp_path}/a", code=1).err
    cli("rmdir", "-r", f"file://{tmp_path}/a")
    assert not (tmp_path / "a").exists()


def test_du_and_stat(cli: Cli, bucket: Bucket, tree: Path):
    cli("upload", "-r", tree, bucket)
    assert cli("du", bucket).out.split()[:2] == ["70006", "4"]
    (record,) = cli("stat", bucket + "a.txt", "--json").records
    assert (record["size"], record["uri"]) == (5, bucket + "a.txt")


def test_the_library_sees_what_the_command_wrote(cli: Cli, bucket: Bucket):
    cli("put", bucket + "{}.npy", "-n", 2, "-s", 1000, "-o", "npy")
    assert s3dlio.__version__
    assert keys(bucket) == ["0.npy", "1.npy"]
    assert bytes(Client().get(bucket + "0.npy") or b"")[:6] == b"\x93NUMPY"


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_a_batch_at_once(as_json: bool):
    with MotoServer(delay=0.5) as server:
        environ = os.environ | server.env
        words = ["put", "s3://interrupted/", "-c", "-n", "100000", "-s", "1k", "-j", "8", *["--json"] * as_json]
        command = [sys.executable, "-m", "s3dlio", *words]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not any("object_" in seen.target for seen in server.requests()):
            assert process.poll() is None, "it ended before the first object was written"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 130
        if as_json:
            assert json.loads(err)["error"]["type"] == "TransferCancelledError"
            record = json.loads(out)
            assert (record["operation"], record["interrupted"], record["failed"]) == ("PUT", True, 0)
            assert record["attempted"] - record["succeeded"] <= 8
        else:
            assert re.match(r"\nInterrupted( after \d+ objects?)?\n\d+ objects?: \d+ bytes in ", err)
            assert re.fullmatch(r"PUT summary: attempted=\d+, succeeded=\d+, failed=0\n", out)
        assert len(server.requests()) < 1000


@pytest.mark.parametrize("words", ["stat", "get", "cat", "tail"])
def test_a_directory_where_an_object_is_meant(cli: Cli, bucket: Bucket, words: str):
    Client().put_bytes(f"{bucket}d/x", b"x")
    assert "it is a directory: " in cli(words, f"{bucket}d", code=1).err
    assert "it is a directory" not in cli(words, f"{bucket}none", code=1).err


def test_a_glob_needs_r_to_be_deleted(cli: Cli, bucket: Bucket):
    Client().put_bytes(f"{bucket}p-1", b"x")
    assert "use -r to delete" in cli("rm", f"{bucket}p-*", code=1).err
    assert cli("get", f"{bucket}p-*").out == "GET summary: attempted=1, succeeded=1, failed=0\n"
    cli("rm", "-r", f"{bucket}p-*")
    assert Client().list(bucket) == []


#: One line of each command, in an order in which they succeed: ``{b}`` is a bucket, ``{t}`` a local folder.
EVERY_COMMAND = """
list-buckets | create-bucket {b} | put {b}p/ -n 3 -s 10 | ls -r {b} | stat {b}p/object_0_of_3.dat | du {b} -d 1
get {b}p/ | get {b}p/ -o {t}/got/ | cat {b}p/object_0_of_3.dat | head {b}p/object_0_of_3.dat
tail {b}p/object_0_of_3.dat | mkdir {b}d/ | mkdir file://{t}/d | rmdir file://{t}/d | download -r {b}p/ {t}/down
upload -r {t}/down {b}up/ | cp -r {b}p/ {b}c/ | mv {b}c/object_0_of_3.dat {b}c/moved | sync {b}p/ {b}s/ --dry-run
sync {b}p/ {b}s/ | presign {b}c/moved | tags {b}c/moved --set a=b | rm {b}c/moved | rm -r {b}s/ --dry-run
find {b} --name object* | check {b}p/ {b}s/ --combined | diff {b}p/ {b}s/ --combined | versions ls -r {b}
uploads ls {b} | rm -r {b} | delete-bucket {b} | config | completion bash
"""


def test_every_command_prints_json(cli: Cli, bucket: Bucket, tmp_path: Path):
    lines = [line.strip() for line in EVERY_COMMAND.replace("\n", "|").strip("| ").split("|")]
    elsewhere = {"checkpoint", "replay", "analyze", "bench", "run"}  # have tests of their own
    named = {line.split()[0] for line in lines} | elsewhere
    assert named >= {of.prog.split()[-1] for of in build_parser().commands().values()}
    for line in lines:
        run = cli(*line.format(b=bucket, t=tmp_path).split(), "--json")
        assert run.records or line.startswith("uploads"), line
        assert all("operation" in record for record in run.errors), line
        if line.split()[0] in ("put", "get", "upload", "download", "cp", "mv", "sync", "rm"):
            assert run.records[-1]["attempted"] == (1 if "moved" in line else 11 if line == "rm -r {b}" else 3), line


def test_cp_takes_standard_input_and_gives_standard_output(bucket: Bucket):
    data = bytes(range(256)) * 50_000  # more than one piece
    words = [sys.executable, "-m", "s3dlio", "cp"]
    stored = subprocess.run([*words, "-", bucket + "piped"], input=data, capture_output=True, check=True)
    assert stored.stdout == b"CP summary (upload): attempted=1, succeeded=1, failed=0\n"
    assert subprocess.run([*words, bucket + "piped", "-"], capture_output=True, check=True).stdout == data
    assert subprocess.run([*words, "-", bucket + "empty"], stdin=subprocess.DEVNULL, check=True).returncode == 0
    assert Client().stat(bucket + "empty")["size"] == 0


@pytest.mark.parametrize(
    "words", ["cp - -", "cp - s3://a s3://b/", "cp -r - s3://b/k", "cp --verify s3://b/k -", "cp - s3://b/", "cp - s3://b",
              "mv - s3://b/k", "mv s3://b/k -"],
)  # fmt: skip
def test_what_a_pipe_cannot_be_is_refused(cli: Cli, words: str):
    assert "standard input" in cli(*words.split(), code=2).err
