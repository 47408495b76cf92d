"""Objects found by name, size and age, commands run for each, and directories compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.errors import ConfigError, ObjectNotFoundError
from tests.e2e.conftest import Cli
from tests.servers import Server
from tests.servers.azurite import AzuriteServer
from tests.servers.gcs import GcsServer

FILES = {"a.txt": b"alpha", "B.TXT": b"", "sub/c.bin": bytes(2048), "sub/deep/d e.txt": b"d"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)
    os.utime(tmp_path / "tree" / "a.txt", (0, 0))
    return tmp_path / "tree"


@pytest.fixture
def bucket(
    tree: Path, moto_server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """The URI of a prefix that holds the same as the tree."""
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    Client().create_bucket("found")
    uri = f"s3://found/{abs(hash(request.node.name)):x}/"
    Client().upload(tree, uri, recursive=True)
    return uri


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", ["B.TXT", "a.txt", "sub/c.bin", "sub/deep/d e.txt"]),
        ("--name *.txt", ["a.txt", "sub/deep/d e.txt"]),
        ("--iname *.txt", ["B.TXT", "a.txt", "sub/deep/d e.txt"]),
        ("--name *.txt --name *.bin --maxdepth 2", ["a.txt", "sub/c.bin"]),
        ("--path sub/*", ["sub/c.bin", "sub/deep/d e.txt"]),
        ("--regex ^sub/[^/]+$", ["sub/c.bin"]),
        ("--maxdepth 1", ["B.TXT", "a.txt"]),
        ("--size +1", ["a.txt", "sub/c.bin"]),
        ("--size +1 --size -2Ki", ["a.txt"]),
        ("--size 0", ["B.TXT"]),
        ("--min-size 1 --max-size 5", ["a.txt", "sub/deep/d e.txt"]),
        ("--older-than 1d", ["a.txt"]),
        ("--newer-than 1d --name *.txt", ["sub/deep/d e.txt"]),
    ],
)
def test_what_is_wanted_is_found(words: str, names: list[str], cli: Cli, tree: Path):
    assert cli("find", f"file://{tree}/", *words.split()).lines == [f"file://{tree}/{name}" for name in names]


def test_objects_are_found(cli: Cli, bucket: str):
    assert cli("find", bucket, "--name", "*.txt", "--maxdepth", "1").lines == [f"{bucket}a.txt"]
    record = cli("find", bucket, "--name", "c.*", "--json").records[0]
    assert (record["uri"], record["name"], record["size"]) == (f"{bucket}sub/c.bin", "sub/c.bin", 2048)
    assert cli("find", bucket, "-H", "--size", "+1k").out.split()[:2] == ["2", "KiB"]
    assert cli("find", bucket, "--print0", "--name", "d*").out == f"{bucket}sub/deep/d e.txt\0"
    assert [found.name for found in Client().find(bucket, name="*.bin")] == ["sub/c.bin"]
    assert "invalid regex" in cli("find", bucket, "--regex", "(", code=2).err
    with pytest.raises(ConfigError, match="max_depth"):
        Client().find(bucket, max_depth=0)


def test_a_command_runs_for_each(cli: Cli, tree: Path, tmp_path: Path):
    log = tmp_path / "log"
    write = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write(repr(sys.argv[2:]) + '\\n')", str(log)]
    uri = f"file://{tree}/"
    cli("find", uri, "--name", "*.txt", "--exec", *write, "-r", "{}", "<{key}>", ";")
    assert log.read_text().splitlines() == [
        f"['-r', '{uri}{name}', '<{tree}/{name}>']" for name in ("a.txt", "sub/deep/d e.txt")
    ]  # fmt: skip
    log.unlink()
    cli("find", uri, "--size", "+1", "--exec", *write, "+")
    assert log.read_text() == f"['{uri}a.txt', '{uri}sub/c.bin']\n"
    cli("find", "-j", "4", uri, "--exec", "true")
    run = cli("find", "--name", "a*", uri, "--exec", "sh", "-c", "exit 3", code=1)
    assert "ended with 3" in run.err
    assert "cannot be run" in cli("find", "--name", "a*", uri, "--exec", "/none", code=1).err
    assert "stands alone" in cli("find", uri, "--exec", "echo", "x{}", "+", code=1).err
    assert "leave out -l" in cli("find", uri, "-l", "--exec", "true", code=2).err


def test_a_name_that_looks_like_a_placeholder_is_left_as_it_is(cli: Cli, bucket: str, tmp_path: Path):
    name, log = "x/{key}{}", tmp_path / "log"
    Client().put_bytes(f"{bucket}{name}", b"")
    write = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write(repr(sys.argv[2:]))", str(log)]
    cli("find", f"{bucket}x/", "--exec", *write, "<{}>", "{key}{}")
    uri = f"{bucket}{name}"
    assert log.read_text() == repr([f"<{uri}>", uri.removeprefix("s3://found/") + uri])


# -- comparing


def test_what_is_the_same_is_told_on_standard_error(cli: Cli, tree: Path, bucket: str):
    run = cli("check", tree, bucket)
    assert (run.out, run.err) == ("", "4 objects the same\n")
    assert cli("check", bucket, bucket, "--combined").lines[0] == "= B.TXT"
    for words in (("check", "--download"), ("check", "--size-only"), ("diff",)):
        assert cli(*words, tree, bucket).err == "4 objects the same\n"
    assert Client().check(tree, bucket).identical


def test_differences_are_marked_and_fail_the_command(cli: Cli, tree: Path, bucket: str):
    client = Client()
    client.put_bytes(f"{bucket}a.txt", b"ALPHA")
    client.delete(f"{bucket}B.TXT")
    client.put_bytes(f"{bucket}sub/c.bin", b"longer?")
    client.put_bytes(f"{bucket}new", b"x")
    run = cli("check", tree, bucket, code=1)
    assert sorted(run.lines) == ["* a.txt", "* sub/c.bin", "+ B.TXT", "- new"]
    assert run.err == "1 object the same, 2 different, 1 missing in the destination, 1 missing in the source\n"
    assert sorted(cli("check", "--download", "--one-way", tree, bucket, code=1).lines) == [
        "* a.txt", "* sub/c.bin", "+ B.TXT"]  # fmt: skip
    assert sorted(cli("diff", tree, bucket, code=1).lines) == ["* sub/c.bin", "+ B.TXT", "- new"]
    run = cli("check", tree, bucket, "--exclude", "B*", "--json", code=1)
    assert {record["name"]: record["verdict"] for record in run.records} == {
        "a.txt": "differs", "sub/c.bin": "differs", "new": "missing_in_src"}  # fmt: skip
    (total,) = run.errors
    assert (total["same"], total["differing"]) == (1, 2)


def test_what_no_checksum_tells_is_not_called_the_same(cli: Cli, tree: Path, bucket: str):
    place = "memory://unchecked/"
    Client().upload(tree, place, recursive=True)
    summary = Client().check(bucket, place)
    assert summary.same + summary.unchecked == 4
    assert cli("check", bucket, place, code=0 if summary.identical else 1)
    assert Client().check(bucket, place, download=True).identical


def test_what_cannot_be_compared_is_an_error(cli: Cli, tree: Path, bucket: str):
    assert "there is no such directory" in cli("check", tree / "none", bucket, code=1).err
    assert "there is nothing on either side" in cli("check", f"{bucket}none/", f"{bucket}no/", code=1).err
    (tree / "dangling").symlink_to("nowhere")
    run = cli("check", tree, bucket, code=1)
    assert [line[0] for line in run.lines] == ["!"]
    assert "1 could not be read" in run.err
    with pytest.raises(ConfigError, match="two ways to compare"):
        Client().check(tree, bucket, download=True, size_only=True)
    assert "two ways to compare" in cli("check", "--download", "--size-only", tree, bucket, code=2).err
    with pytest.raises(ObjectNotFoundError):
        s3dlio.check(tree / "none", tree)


def test_clouds_are_compared_with_each_other(
    cli: Cli, tree: Path, gcs_server: GcsServer, azurite_server: AzuriteServer, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {**gcs_server.env, **azurite_server.env}.items():
        monkeypatch.setenv(name, value)
    azure, google = f"az://{azurite_server.env['AZURE_STORAGE_ACCOUNT']}/compared/d/", "gs://compared/d/"
    for place in (azure, google):
        Client().upload(tree, place, recursive=True, create_bucket=True)
        assert cli("check", tree, place).err == "4 objects the same\n"
        assert cli("find", place, "--name", "*.bin").lines == [f"{place}sub/c.bin"]
    assert cli("check", azure, google).err == "4 objects the same\n"
    Client().put_bytes(f"{google}a.txt", b"ALPHA")
    assert cli("check", azure, google, code=1).lines == ["* a.txt"]
    assert "never committed are invisible" in cli("uploads", "ls", azure, code=1).err
