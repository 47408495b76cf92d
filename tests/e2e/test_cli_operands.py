"""Commands that take several operands, what goes to which stream, and exit codes where something did not happen."""

from __future__ import annotations

from pathlib import Path

import pytest

import s3dlio
from s3dlio.client import Client
from tests.e2e.conftest import Cli
from tests.servers import Server
from tests.servers.azurite import AzuriteServer
from tests.servers.gcs import GcsServer


@pytest.fixture
def tree(tmp_path: Path) -> str:
    """The URI of a directory: two files, and one in a sub-directory."""
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (tmp_path / "tree" / name).write_text(name)
    return f"file://{tmp_path}/tree/"


@pytest.fixture
def bucket(moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("s3dlio.api._default", None)
    Client().create_bucket("operands")
    return "s3://operands/"


# -- several operands


def test_every_operand_is_listed_and_one_that_fails_does_not_stop_the_others(cli: Cli, tree: str):
    run = cli("ls", f"{tree}none", f"{tree}sub/", f"{tree}a", code=1)
    assert run.lines == [f"{tree}sub/c", f"{tree}a"]
    assert "none: there is no object and no directory of this name" in run.err
    assert "Total objects: 2 " in run.err


@pytest.mark.parametrize("words", ["stat", "cat", "du", "head", "tail"])
def test_several_objects_are_looked_at(words: str, cli: Cli, tree: str):
    run = cli(words, "--json", f"{tree}a", f"{tree}none", f"{tree}b", code=1)
    assert [record["uri"] for record in run.records] == [f"{tree}a", f"{tree}b"]
    (error,) = run.errors
    assert error["error"]["type"] == "ObjectNotFoundError"


def test_several_objects_are_deleted_in_one_request(cli: Cli, bucket: str, moto_server: Server):
    s3dlio.put_many([(f"{bucket}many/{i}", b"x") for i in range(5)])
    moto_server.reset_requests()  # type: ignore[attr-defined]
    run = cli("rm", *(f"{bucket}many/{i}" for i in range(3)), "--json")
    assert run.records[0] | {"seconds": 0} == {
        "operation": "DELETE", "attempted": 3, "succeeded": 3, "failed": 0, "seconds": 0}  # fmt: skip
    assert [seen.method for seen in moto_server.requests()] == ["POST"]  # type: ignore[attr-defined]
    run = cli("rm", "-rf", f"{bucket}many/3", f"{bucket}many/", f"{bucket}none*")
    assert run.err.count("Sent delete requests") == 2
    assert Client().list(bucket, recursive=True) == []


def test_no_operand_is_deleted_where_one_cannot_be_meant(cli: Cli, tree: str):
    assert "it is a directory; use -r" in cli("rm", f"{tree}a", f"{tree}sub", code=1).err
    assert "a '*' selects many objects" in cli("rm", f"{tree}a", f"{tree}s*", code=1).err
    assert cli("rm", "-n", f"{tree}a", f"{tree}b").lines == [f"{tree}a", f"{tree}b"]
    assert len(Client().list(tree, recursive=True)) == 3
    cli("rm", f"{tree}a", f"{tree}b")
    assert Client().list(tree, recursive=True) == [f"{tree}sub/c"]


def test_a_glob_without_a_match_is_an_error_unless_forced(cli: Cli, tree: str):
    assert "nothing matches the glob" in cli("rm", "-r", f"{tree}x*", code=1).err
    cli("rm", "-rf", f"{tree}x*")


# -- buckets


def test_buckets_have_short_names(cli: Cli, bucket: str):
    cli("mb", "s3://operands-1", "s3://operands-2")
    found = cli("ls").lines
    assert {"s3://operands-1/", "s3://operands-2/", bucket} <= set(found)
    assert "Total objects:" not in cli("ls", "s3://").out
    assert cli("ls", "-p", "operands-[12]").lines == ["s3://operands-1/", "s3://operands-2/"]
    (record,) = cli("ls", "s3://", "-p", "operands-1", "--json").records
    assert (record["name"], record["uri"]) == ("operands-1", "s3://operands-1/")
    assert cli("ls", "-l", "-p", "operands-1").out.split()[0] == "BUCKET"
    assert "-r lists what is in a bucket" in cli("ls", "-r", code=2).err
    s3dlio.put_bytes("s3://operands-1/k", b"x")
    assert "BucketNotEmpty" in cli("rb", "s3://operands-1", code=1).err
    cli("rb", "--force", "s3://operands-1", "s3://operands-2")
    assert "operands-1" not in cli("ls").out


def test_the_service_of_a_scheme_lists_its_buckets(
    cli: Cli, gcs_server: GcsServer, azurite_server: AzuriteServer, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {**gcs_server.env, **azurite_server.env}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("s3dlio.api._default", None)
    cli("mb", "gs://operands-gcs", f"az://{azurite_server.env['AZURE_STORAGE_ACCOUNT']}/operands-az")
    assert "gs://operands-gcs/" in cli("ls", "gs://").lines
    for service in ("az://", f"az://{azurite_server.env['AZURE_STORAGE_ACCOUNT']}"):
        assert any(line.endswith("/operands-az/") for line in cli("ls", service).lines)


# -- streams


def test_only_data_goes_to_standard_output(cli: Cli, tree: str):
    assert cli("ls", tree).out == f"{tree}a\n{tree}b\n{tree}sub/\n"
    assert cli("ls", "-c", tree).out.startswith("Total objects: 3 ")
    for words in (("mb", f"{tree}new"), ("mkdir", f"{tree}d/"), ("rmdir", f"{tree}d/"), ("rb", f"{tree}new")):
        run = cli(*words)
        assert (run.out, run.err.count("\n")) == ("", 1), words


def test_lines_end_in_a_nul_where_asked_for(cli: Cli, tree: str, tmp_path: Path):
    (tmp_path / "tree" / "line\nbreak").write_text("x")
    listed = cli("ls", "-0r", tree).out
    assert listed.split("\0") == [f"{tree}a", f"{tree}b", f"{tree}line\nbreak", f"{tree}sub/c", ""]
    (tmp_path / "keys").write_text(listed)
    assert cli("get", "--keylist", tmp_path / "keys").out == "GET summary: attempted=4, succeeded=4, failed=0\n"
    assert cli("du", "-0d1", tree).out.count("\0") == 2


# -- exit codes


@pytest.mark.parametrize("words", ["rm {b}d/", "cp {b}d/ {t}", "rmdir {b}d/", "ls {b}none", "du {b}none"])
def test_what_did_not_happen_is_no_success(words: str, cli: Cli, bucket: str, tmp_path: Path):
    s3dlio.put_bytes(f"{bucket}d/k", b"x")
    assert "Error: " in cli(*words.format(b=bucket, t=tmp_path / "t").split(), code=1).err
    assert s3dlio.exists(f"{bucket}d/k")
    assert not (tmp_path / "t").exists()


def test_a_folder_marker_is_an_object_that_can_be_deleted(cli: Cli, bucket: str):
    s3dlio.put_many([(f"{bucket}marked/", b""), (f"{bucket}marked/k", b"x")])
    cli("rm", f"{bucket}marked/")
    assert Client().list(f"{bucket}marked/") == [f"{bucket}marked/k"]
