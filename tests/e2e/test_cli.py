"""What the commands say and do on local files: output, JSON, errors, exit codes, pipes and signals."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import ssl
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import s3dlio
from s3dlio.cli.commands import get as get_command
from s3dlio.cli.commands import ls as ls_command
from s3dlio.cli.commands import stat as stat_command
from s3dlio.cli.context import Context
from s3dlio.cli.output import Output
from s3dlio.cli.parser import parse
from s3dlio.net import tls_chain
from tests.e2e.conftest import Cli

S3_CLI = [sys.executable, "-m", "s3dlio"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three files, one of them in a sub-directory."""
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"alpha")
    (root / "b.bin").write_bytes(bytes(range(256)) * 8)
    (root / "sub" / "c.txt").write_bytes(b"gamma!")
    return root


# -- looking


def test_ls_prints_uris_and_tells_a_total(cli: Cli, tree: Path):
    run = cli("ls", f"file://{tree}/")
    assert run.lines == [f"file://{tree}/a.txt", f"file://{tree}/b.bin", f"file://{tree}/sub/"]
    assert re.fullmatch(r"Total objects: 3 \(\d+\.\d{3}s, rate: [\d,]+ objects/s\)\n", run.err)


def test_ls_recursive_pattern_and_count(cli: Cli, tree: Path):
    uri = f"file://{tree}/"
    assert cli("ls", "-r", uri).lines == [f"{uri}a.txt", f"{uri}b.bin", f"{uri}sub/c.txt"]
    assert cli("list", "-r", "-p", r"\.txt$", uri).lines == [f"{uri}a.txt", f"{uri}sub/c.txt"]
    assert cli("ls", "-r", "-p", "*.bin", uri).lines == [f"{uri}b.bin"]
    assert cli("ls", "-rc", uri).out.startswith("Total objects: 3 (")


def test_ls_counts_on_the_terminal_while_it_lists(cli: Cli, tree: Path):
    run = cli("ls", "-rc", "--progress", f"file://{tree}/")
    assert re.match(r"\rLIST: 3 listed [\d,]+ objects/s", run.err)
    assert run.err.endswith("\r")  # it is gone when the listing has ended
    assert re.fullmatch(r"Total objects: 3 \(\d\.\d+s, rate: [\d,]+ objects/s\)\n", run.out)
    assert "\rLIST: 3 listed" in cli("ls", "-r", "--progress", f"file://{tree}/").err
    assert "listed" not in on_terminal("ls", "-r", f"file://{tree}/").decode()  # where its entries are


def test_ls_long_and_human(cli: Cli, tree: Path):
    rows = cli("ls", "-l", f"file://{tree}/").lines
    assert rows[1].split()[0] == "2048"
    assert re.search(r" 20\d\d-\d\d-\d\dT", rows[1])
    assert rows[2].split() == ["DIR", f"file://{tree}/sub/"]
    assert cli("ls", "-lH", f"file://{tree}/").lines[1].split()[:2] == ["2", "KiB"]


def test_ls_json_has_sizes_and_a_total(cli: Cli, tree: Path):
    run = cli("--json", "ls", f"file://{tree}/")
    entries, (total,) = run.records, run.errors
    assert {entry["uri"].rpartition("tree")[2]: entry.get("size") for entry in entries} == {
        "/a.txt": 5, "/b.bin": 2048, "/sub/": None}  # fmt: skip
    assert (total["operation"], total["objects"]) == ("LIST", 3)
    assert not any("operation" in entry for entry in entries)


def test_ls_of_nothing_is_no_error(cli: Cli, tmp_path: Path):
    assert cli("ls", f"file://{tmp_path}/none/").err.startswith("Total objects: 0 (")


def test_stat(cli: Cli, tree: Path):
    uri = f"file://{tree}/a.txt"
    lines = cli("stat", uri).lines
    assert lines[:2] == [f"URI             : {uri}", "Size            : 5"]
    assert lines[2].startswith("LastModified    : 20")
    (record,) = cli("stat", uri, "--json").records
    assert (record["uri"], record["size"], record["metadata"]) == (uri, 5, {})


def test_du_adds_up(cli: Cli, tree: Path):
    assert cli("du", f"file://{tree}/").out.split() == ["2059", "3", "objects", f"file://{tree}/"]
    *_, total = cli("du", "-d", "1", "--json", f"file://{tree}/").records
    assert total == {"uri": f"file://{tree}/", "bytes": 2059, "objects": 3}
    first = cli("du", "-d", "1", "--json", f"file://{tree}/").records[0]
    assert first == {"uri": f"file://{tree}/sub/", "bytes": 6, "objects": 1}
    assert cli("du", "-p", "txt$", f"file://{tree}/").out.split()[:2] == ["11", "2"]


def test_list_buckets_of_a_directory(cli: Cli, tree: Path):
    run = cli("list-buckets", f"file://{tree}/")
    assert run.out.startswith("sub ")
    lines = run.err.splitlines()
    assert lines[0] == f"Listing containers for 'file://{tree}/'..."
    assert lines[1:3] == ["", "Found 1 container(s):"]
    assert lines[3] == f"{'Name':<40} {'URI':<30} Creation Date"
    assert lines[4] == "-" * 90
    assert cli("list-buckets", f"file://{tree}/sub/").err.endswith("No containers found.\n")
    assert cli("list-buckets", "--json", f"file://{tree}/").records[0]["name"] == "sub"


# -- reading


def test_get_reads_and_counts(cli: Cli, tree: Path):
    run = cli("get", "-r", f"file://{tree}/")
    assert run.out == "GET summary: attempted=3, succeeded=3, failed=0\n"
    assert "3 objects: 2059 bytes in " in run.err
    (record,) = cli("get", "--json", "-p", "txt$", f"file://{tree}/").records
    assert (record["succeeded"], record["bytes"]) == (2, 11)


def test_a_uri_that_ends_in_a_slash_is_read_recursively(cli: Cli, tree: Path):
    assert "attempted=3" in cli("get", f"file://{tree}/").out


def test_get_keylist(cli: Cli, tree: Path, tmp_path: Path):
    (tmp_path / "keys").write_text(f"file://{tree}/a.txt\n\nfile://{tree}/b.bin\n")
    run = cli("get", "--keylist", tmp_path / "keys", "--concurrent", 3)
    assert run.out == "GET summary: attempted=2, succeeded=2, failed=0\n"
    assert "Processing 2 URIs from keylist with concurrency 3" in run.err
    assert re.search(r"^Benchmarked 2 objects: \d+ bytes in \d+\.\d{3}s \(\d+\.\d\d MB/s\)$", run.err, re.MULTILINE)
    assert "2 objects: 2053 bytes" in run.err


def test_a_bad_uri_in_a_keylist_is_refused_before_anything_is_read(cli: Cli, tree: Path, tmp_path: Path):
    (tmp_path / "keys").write_text(f"file://{tree}/a.txt\nbogus://x/y\n")
    run = cli("get", "--keylist", tmp_path / "keys", code=1)
    assert run.out == ""
    assert "bogus://x/y" in run.err


def test_the_output_of_ls_is_a_keylist(cli: Cli, tree: Path, tmp_path: Path):
    listed = cli("ls", "-r", f"file://{tree}/").out
    (tmp_path / "keys").write_text(f"# all of them\n\n{listed}")
    assert cli("get", "--keylist", tmp_path / "keys").out == "GET summary: attempted=3, succeeded=3, failed=0\n"


def test_the_json_of_ls_is_a_keylist_of_any_names(cli: Cli, tree: Path, tmp_path: Path):
    (tree / "line\nbreak").write_bytes(b"x")
    (tmp_path / "keys").write_text(cli("ls", "-r", "--json", f"file://{tree}/").out)
    assert cli("get", "--keylist", tmp_path / "keys").out == "GET summary: attempted=4, succeeded=4, failed=0\n"


@pytest.mark.parametrize("line", ["{", "{}", '{"url": "file:///x"}', "[1]"])
def test_what_is_no_keylist_is_refused(cli: Cli, tmp_path: Path, line: str):
    (tmp_path / "keys").write_text(f"# a comment\n{line}\n")
    run = cli("get", "--keylist", tmp_path / "keys", code=1)
    assert ("line 2 of the keylist" if line[0] == "{" else "[1]") in run.err


@pytest.mark.parametrize("words", ["stat", "get", "cat", "head", "tail"])
@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_directory_where_an_object_is_meant(cli: Cli, tree: Path, scheme: str, words: str):
    uri = {"file": f"file://{tree}/sub", "memory": "memory://cli-directory/sub"}[scheme]
    s3dlio.put_bytes("memory://cli-directory/sub/key", b"x")
    assert len(re.findall("it is a directory[:;] ", cli(words, uri, code=1).err)) == 1
    assert "it is a directory" not in cli(words, f"{uri}x", code=1).err
    if words != "get":  # which reads what is in it
        assert "it is a directory" in cli(words, f"{uri}/", code=1).err


def test_get_range(cli: Cli, tree: Path):
    run = cli("get", f"file://{tree}/b.bin", "--offset", 2000, "--length", "1k")
    assert re.match(r"Range GET bytes 2000-2999: 48 bytes in \d+\.\d{3}s \(\d+\.\d\d MB/s\)\n1 object: ", run.err)
    run = cli("get", f"file://{tree}/b.bin", "--length", 10)
    assert run.err.startswith("Range GET bytes 0-9: 10 bytes in ")
    run = cli("get", f"file://{tree}/b.bin", "--offset", 7, "--length", 0)
    assert run.err.startswith("Range GET of no bytes at 7: 0 bytes in ")
    assert "bytes 2040-EOF" in cli("get", f"file://{tree}/b.bin", "--offset", 2040).err


def test_get_writes_to_standard_output_where_asked_to(tree: Path):
    def out(*words: str) -> bytes:
        return subprocess.run([*S3_CLI, *words], capture_output=True, check=True).stdout

    assert out("get", f"file://{tree}/b.bin", "-o", "-") == bytes(range(256)) * 8
    assert out("get", f"file://{tree}/b.bin", "-o", "-", "--offset", "255", "--length", "3") == b"\xff\x00\x01"


def test_get_keeps_the_bytes_where_asked_to(cli: Cli, tree: Path, tmp_path: Path):
    run = cli("get", f"file://{tree}/a.txt", "-o", tmp_path / "file")
    assert run.out == "GET summary: attempted=1, succeeded=1, failed=0\n"
    assert (tmp_path / "file").read_bytes() == b"alpha"
    cli("get", f"file://{tree}/", "--output", tmp_path / "all")
    assert sorted(path.name for path in (tmp_path / "all").rglob("*.*")) == ["a.txt", "b.bin", "c.txt"]
    cli("get", f"file://{tree}/*.txt", "-j", 2, "-o", tmp_path / "some")
    assert os.listdir(tmp_path / "some") == ["a.txt"]  # a glob's destination is a directory, if it finds one or many
    assert "No objects matched" in cli("get", "-p", "none", f"file://{tree}/", "-o", tmp_path / "x", code=1).err
    (tree / "dangling").symlink_to("nowhere")
    run = cli("get", f"file://{tree}/", "-o", tmp_path / "all", code=1)
    assert run.out == "GET summary: attempted=4, succeeded=3, failed=1\n"


def test_get_of_nothing_says_what_a_uri_selects(cli: Cli, tree: Path):
    run = cli("get", f"file://{tree}/none/", code=1)
    assert run.err.startswith(f"Error: No objects found for 'file://{tree}/none/' (a URI selects an exact name")


def test_cat_head_and_tail(tree: Path):
    def out(*words: str) -> bytes:
        return subprocess.run([*S3_CLI, *words], capture_output=True, check=True).stdout

    assert out("cat", f"file://{tree}/a.txt", f"file://{tree}/b.bin") == b"alpha" + bytes(range(256)) * 8
    assert out("head", "-b", "3", f"file://{tree}/a.txt") == b"alp"
    assert out("head", "-b", "3k", f"file://{tree}/a.txt") == b"alpha"
    assert out("tail", "-b", "2", f"file://{tree}/a.txt") == b"ha"
    assert out("tail", f"file://{tree}/b.bin") == (bytes(range(256)) * 8)[-1024:]


def test_cat_as_json(cli: Cli, tree: Path):
    (record,) = cli("cat", "--json", f"file://{tree}/a.txt").records
    assert record == {"uri": f"file://{tree}/a.txt", "offset": 0, "bytes": 5, "base64": "YWxwaGE="}


# -- copying


def test_upload_of_a_directory_needs_r_as_cp_does(cli: Cli, tree: Path, tmp_path: Path):
    for command in ("upload", "cp"):
        run = cli(command, tree, f"file://{tmp_path}/up/", code=1)
        assert "it is a directory; use -r" in run.err
        assert not (tmp_path / "up").exists()
    assert cli("upload", f"{tree}/*", f"file://{tmp_path}/up/").out.startswith("UPLOAD summary: attempted=2, ")


def test_download_of_what_ends_in_a_slash_needs_no_r(cli: Cli, tree: Path, tmp_path: Path):
    run = cli("download", f"file://{tree}", tmp_path / "down", code=1)
    assert "it is a directory; use -r" in run.err
    assert not (tmp_path / "down").exists()
    assert cli("download", f"file://{tree}/", tmp_path / "down").out.startswith("DOWNLOAD summary: attempted=3, ")
    run = cli("download", "-p", "sub/c", f"file://{tree}/", tmp_path / "p")
    assert run.out.startswith("DOWNLOAD summary: attempted=1, ")


def test_the_summaries_of_cp_and_mv(cli: Cli, tree: Path, tmp_path: Path):
    assert cli("cp", tree / "a.txt", tmp_path / "x").out.startswith("CP summary (copy): attempted=1, ")
    run = cli("mv", tmp_path / "x", tmp_path / "y")
    assert run.out == "MV summary: attempted=1, succeeded=1, failed=0\n"
    assert run.err.startswith("1 object: 5 bytes in ")


@pytest.mark.parametrize("words", ["upload -r", "download -r", "cp -r", "mv -r", "sync"])
def test_every_transfer_takes_a_pattern(cli: Cli, tree: Path, tmp_path: Path, words: str):
    source = f"file://{tree}/" if words.startswith("download") else tree
    run = cli(*words.split(), source, "-p", r"^\w+\.txt$", tmp_path / "out")
    assert "attempted=1, succeeded=1" in run.out
    assert os.listdir(tmp_path / "out") == ["a.txt"]


def test_a_dry_run_that_cannot_see_everything_copies_nothing(cli: Cli, tree: Path, tmp_path: Path):
    (tree / "dangling").symlink_to("nowhere")
    run = cli("sync", "-n", tree, tmp_path / "copy", code=1)
    assert "summary" not in run.out
    assert "attempted=4, succeeded=0, failed=1" in run.err


def test_sync_of_a_file_names_cp(cli: Cli, tree: Path, tmp_path: Path):
    run = cli("sync", tree / "a.txt", tmp_path / "out", code=1)
    assert "it is no directory; nothing was changed; to copy one file use copy (s3-cli cp)" in run.err
    assert "there is no such directory" in cli("sync", tree / "none", tmp_path / "out", code=1).err


# -- errors and exit codes


def test_an_error_is_one_line_without_a_traceback(cli: Cli, tmp_path: Path):
    run = cli("stat", f"file://{tmp_path}/none", code=1)
    assert run.out == ""
    assert run.err == f"Error: HEAD file://{tmp_path}/none: No such file or directory\n"


def test_the_traceback_is_there_when_asked_for(cli: Cli, tmp_path: Path):
    run = cli("-vv", "stat", f"file://{tmp_path}/none", code=1)
    assert "Traceback (most recent call last)" in run.err
    assert run.err.endswith("No such file or directory\n")


def test_errors_as_json(cli: Cli, tmp_path: Path):
    run = cli("stat", f"file://{tmp_path}/none", "--json", code=1)
    (record,) = run.errors
    assert record["error"]["type"] == "ObjectNotFoundError"
    assert record["error"]["uri"] == f"file://{tmp_path}/none"
    assert record["error"]["operation"] == "HEAD"


def test_failures_of_a_batch_are_all_listed_as_json_and_with_v(cli: Cli, tree: Path, tmp_path: Path):
    missing = [f"file://{tree}/missing{i}" for i in range(5)]
    (tmp_path / "keys").write_text("\n".join([*missing, f"file://{tree}/a.txt"]))
    words = ["get", "--keylist", tmp_path / "keys", "--continue-on-error"]
    run = cli(*words, "--json", code=1)
    (summary,) = run.records
    assert {name: value for name, value in summary.items() if not name.endswith("_ns")} | {"seconds": 0} == {
        "operation": "GET", "attempted": 6, "succeeded": 1, "failed": 5, "skipped": 0, "bytes": 5, "retries": 0,
        "seconds": 0}  # fmt: skip
    *failures, last = run.errors
    assert [failure["failure"]["uri"] for failure in failures] == missing
    assert last["error"]["type"] == "BatchError"
    text = cli(*words, code=1)
    assert text.out == "GET summary: attempted=6, succeeded=1, failed=5\n"
    assert "missing0: No such file or directory (and 4 more like it)\n" in text.err
    assert "-v lists them all" in text.err
    assert cli(*words, "-v", code=1).err.count("failed: GET file://") == 5


def test_a_failure_stops_the_rest_unless_asked_otherwise(cli: Cli, tree: Path, tmp_path: Path):
    (tmp_path / "keys").write_text("\n".join([f"file://{tree}/missing", f"file://{tree}/a.txt"]))
    words = ["get", "-j", 1, "--keylist", tmp_path / "keys"]
    assert cli(*words, code=1).out == "GET summary: attempted=1, succeeded=0, failed=1\n"
    assert cli(*words, "--continue-on-error", code=1).out == "GET summary: attempted=2, succeeded=1, failed=1\n"


def test_usage_errors_exit_with_2(cli: Cli):
    run = cli("get", code=2)
    assert run.err.startswith("usage: s3-cli get ")
    assert run.err.endswith("s3-cli get: error: either URI or --keylist FILE must be given\n")
    assert "unknown option '--nope'" in cli("ls", "u", "--nope", code=2).err
    (record,) = cli("ls", "u", "--nope", "--json", code=2).errors
    assert record["error"]["type"] == "UsageError"
    assert record["error"]["message"].startswith("unknown option '--nope'")
    assert cli("get", "u", "--keylist", "k", code=2)
    assert cli("get", "-r", "u", "--offset", "1", code=2)


@pytest.mark.parametrize(
    "words",
    ["ls u -cl", "ls u -c -H", "get --keylist k -r", "get --keylist k -p x", "get u -p x --length 1",
     "get u -o d --length 1", "get --keylist k -o d", "get u -r -o -", "get --keylist k -o -"],
)  # fmt: skip
def test_options_that_would_be_ignored_are_refused(cli: Cli, words: str):
    assert "s3-cli" in cli(*words.split(), code=2).err


@pytest.mark.parametrize(
    ("words", "says"),
    [("put file s3://b/", "upload and cp store files"),
     ("get s3://b/k file", "with -o PATH it keeps them, as download, cp and cat do"),
     ("put file:///tmp/{} -t x{}", "'{}' is in both the URI and -t/--template"),
     ("put u -n 1.5", "invalid count value '1.5': write an integer >= 0"),
     ("put u -n x", "invalid count value 'x': write an integer >= 0")],
)  # fmt: skip
def test_what_was_meant_is_guessed(cli: Cli, words: str, says: str):
    assert says in cli(*words.split(), code=2).err


def test_verbose_tells_every_operation(cli: Cli, tree: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "s3dlio")
    cli("-v", "get", "-r", f"file://{tree}/")
    told = [record.getMessage() for record in caplog.records if record.name == "s3dlio.cli"]
    assert any(re.fullmatch(rf"GET file://{tree}/a\.txt: 5 bytes in \d\.\d+s", line) for line in told)
    caplog.clear()
    cli("-v", "stat", f"file://{tree}/none", code=1)
    assert caplog.records[-1].getMessage().startswith(f"HEAD file://{tree}/none: failed in ")


def test_no_secret_of_a_uri_is_shown(cli: Cli):
    run = cli("stat", "s3://user:hunter2@host/bucket", "--json", code=1)
    assert "hunter2" not in run.out + run.err


def test_an_unknown_scheme_says_what_there_is(cli: Cli):
    assert "s3://" in cli("ls", "bogus://x/", code=1).err
    assert "file:///tmp" in cli("ls", "/tmp", code=1).err


@pytest.mark.parametrize(
    "words",
    ["ls {}", "stat {}", "du {}", "get {}", "get -r {}", "cat {}", "head {}", "tail {}", "put -s 1 {}", "mkdir {}",
     "rmdir -r {}", "rm {}", "rm -r {}", "rm -n {}", "delete {}", "presign {}", "tags {}", "list-buckets {}",
     "create-bucket {}", "delete-bucket {}"],
)  # fmt: skip
def test_commands_that_take_uris_refuse_plain_paths_and_touch_nothing(cli: Cli, tree: Path, words: str):
    path = tree / "a.txt"
    run = cli(*words.format(path).split(), code=1)
    assert f"file://{path}" in run.err
    assert run.out == ""
    assert path.read_bytes() == b"alpha"


# -- settings


def test_config_shows_values_origins_and_masks_secrets(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("S3DLIO_H2C", "1")
    monkeypatch.setenv("S3DLIO_BACKENT", "boto3")
    run = cli("config", "--region", "eu-west-1")
    assert re.search(r"^s3\.region +eu-west-1 +argument$", run.out, re.MULTILINE)
    assert re.search(r"^s3\.secret_access_key +\*\*\* +environment AWS_SECRET_ACCESS_KEY$", run.out, re.MULTILINE)
    assert re.search(r"^retry\.max_attempts +5 +default$", run.out, re.MULTILINE)
    assert "S3DLIO_H2C is ignored: " in run.out
    assert "S3DLIO_BACKENT is unknown: no setting has this name; did you mean S3DLIO_BACKEND?" in run.out
    assert "hunter2" not in run.out + run.err
    records = {record["name"]: record for record in cli("config", "--json").records if "name" in record}
    assert records["s3.secret_access_key"]["value"] == "***"


def test_config_tells_how_bodies_cross_tls(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    reason = tls_chain.refusal()
    (told,) = [record for record in cli("config", "--json").records if "tls" in record]
    assert told == {"tls": "ssl" if reason else "direct", "reason": reason or ssl.OPENSSL_VERSION}
    monkeypatch.setenv("S3DLIO_TLS_DIRECT", "0")
    assert "TLS: record by record, by Python's ssl: http.tls_direct is off\n" in cli("config").out


def test_global_options_reach_the_settings(cli: Cli, tmp_path: Path):
    words = ["--endpoint", "http://h:1", "--profile", "p", "--no-sign-request", "--ca-bundle", tmp_path / "ca.pem"]
    values = {record["name"]: record["value"] for record in cli("config", *words, "--json").records if "name" in record}
    assert values["s3.endpoint_url"] == values["azure.endpoint_url"] == values["gcs.endpoint_url"] == "http://h:1"
    assert (values["s3.profile"], values["s3.anonymous"], values["gcs.anonymous"]) == ("p", "true", "true")
    assert values["http.ca_bundle"] == str(tmp_path / "ca.pem")


def test_a_bad_setting_is_an_error_that_names_it_and_config_shows_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("S3DLIO_MAX_RETRY_ATTEMPTS", "many")
    assert "S3DLIO_MAX_RETRY_ATTEMPTS" in cli("ls", tmp_path, code=1).err
    monkeypatch.setenv("S3DLIO_LOAD_DOTENV", str(tmp_path / "none.env"))
    (tmp_path / "config.toml").write_text("[http]\nredirect_max = -1\n[nonsense]\n[s3]\nregion = 'eu'\n")
    monkeypatch.setenv("S3DLIO_CONFIG", str(tmp_path / "config.toml"))
    shown = cli("config", "--profile", "none").out
    for line in (
        r"retry\.max_attempts +many +environment S3DLIO_MAX_RETRY_ATTEMPTS \(cannot be used\)",
        r"http\.redirect_max +-1 +configuration file .*config\.toml \(cannot be used\)",
        r"s3\.region +eu +configuration file .*",
        r"nonsense cannot be used: unknown section 'nonsense'.*",
        r"dotenv file cannot be used: cannot read .*none\.env.*",
        r"profile none cannot be used: .*",
    ):
        assert re.search(f"^{line}$", shown, re.MULTILINE), line
    records = cli("config", "--json").records
    assert {"http.redirect_max", "retry.max_attempts"} <= {record.get("invalid") for record in records}


def test_config_shows_what_a_profile_gives(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "config").write_text(
        "[profile lab]\nregion = eu-lab-1\nendpoint_url = http://127.0.0.1:9\nmax_attempts = 7\nca_bundle = /lab.pem\n"
        "credential_process = cat HUNTER2\ns3 =\n  addressing_style = virtual\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    shown = cli("config", "--profile", "lab").out
    for line in (
        r"s3\.region +eu-lab-1 +profile lab", r"s3\.endpoint_url +http://127.0.0.1:9 +profile lab",
        r"retry\.max_attempts +7 +profile lab", r"http\.ca_bundle +/lab.pem +profile lab",
        r"s3\.addressing +virtual +profile lab", r"s3\.access_key_id +\*\*\* +profile lab \(credential_process\)",
        r"s3\.profile +lab +argument",
    ):  # fmt: skip
        assert re.search(f"^{line}$", shown, re.MULTILINE), line
    assert "HUNTER2" not in shown
    assert re.search(r"^s3\.region +eu-west-1 +argument$", cli("config", "--region", "eu-west-1").out, re.MULTILINE)


# -- pipes, terminals, signals


def test_a_reader_that_leaves_is_no_error(tmp_path: Path):
    for i in range(3000):
        (tmp_path / f"{'long-name-' * 10}{i}").touch()
    command = f"{sys.executable} -m s3dlio ls file://{tmp_path}/ | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_odd_names_are_raw_in_a_pipe_and_escaped_on_a_terminal(tmp_path: Path):
    (tmp_path / "a\x1b[31m\nb").touch()
    (tmp_path / os.fsdecode(b"not-utf8-\xff")).touch()
    piped = subprocess.run([*S3_CLI, "ls", f"file://{tmp_path}/"], capture_output=True, check=True).stdout
    assert b"/a\x1b[31m\nb\n" in piped
    assert b"/not-utf8-\xff\n" in piped
    shown = on_terminal("ls", f"file://{tmp_path}/")
    assert rb"/a\x1b[31m\nb" in shown
    assert b"\x1b" not in shown
    assert b"not-utf8-\\udcff" in shown


def test_what_others_wrote_of_an_object_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]):
    uri = "memory://cli-stat/key"
    s3dlio.put_bytes(uri, b"", content_type="text/\x1b[31m", metadata={"note": "\x1b]0;title\x07"})
    out = Output()
    out.on_terminal = True
    stat_command.run(Context(parse(["stat", uri]), out))
    shown = capsys.readouterr().out
    assert "Content-Type    : text/\\x1b[31m" in shown
    assert "  note = \\x1b]0;title\\x07" in shown


def test_times_of_a_listing_and_names_in_notes_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]):
    out = Output()
    out.on_terminal = True
    told = {"uri": "s3://b/k", "size": 1, "last_modified": "\x1b]0;title\x07"}
    assert "\\x1b]0;title\\x07" in ls_command._long_line(out, told, False)
    out.on_terminal = False  # standard output is a pipe, standard error is not
    out.note("No objects found under prefix: s3://b/\x1b[31m")
    assert capsys.readouterr().err.endswith("s3://b/\\x1b[31m\n")


def on_terminal(*words: str, answer: bytes = b"", code: int = 0) -> bytes:
    """What a command writes to a terminal on which ``answer`` was typed."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    os.write(leader, answer)
    process = subprocess.Popen([*S3_CLI, *words], stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # how Linux reports that the other side has closed
        pass
    finally:
        os.close(leader)
    assert process.wait() == code, shown
    return shown


def test_many_deletions_are_asked_for_on_a_terminal_only(cli: Cli, tmp_path: Path):
    def fill(count: int) -> str:
        (tmp_path / "many").mkdir(exist_ok=True)
        for i in range(count):
            (tmp_path / "many" / str(i)).touch()
        return f"file://{tmp_path}/many/"

    uri = fill(101)
    shown = on_terminal("rm", "-r", uri, answer=b"n\n", code=1)
    assert f"Delete 101 objects under {uri}? [y/N]".encode() in shown
    assert b"nothing was deleted" in shown
    assert len(list((tmp_path / "many").iterdir())) == 101
    assert b"Sent delete requests for 101 objects" in on_terminal("rm", "-r", uri, answer=b"y\n")
    assert not (tmp_path / "many").exists()
    for words in (["rm", "-r", "--yes", fill(101)], ["rm", "-r", fill(100)]):
        assert b"[y/N]" not in on_terminal(*words)
    cli("rm", "-r", fill(101))  # not on a terminal
    assert not (tmp_path / "many").exists()


def test_a_bar_is_drawn_on_a_terminal_unless_it_is_not_wanted(tree: Path, tmp_path: Path):
    words = ["upload", "-r", str(tree), f"file://{tmp_path}/up/"]
    shown = on_terminal(*words)
    assert b"UPLOAD:" in shown
    assert b"3/3 objects" in shown
    assert b"UPLOAD:" not in on_terminal(*words, "--no-progress")
    piped = subprocess.run([*S3_CLI, *words], capture_output=True, check=True)
    assert b"UPLOAD:" not in piped.stderr
    forced = subprocess.run([*S3_CLI, *words, "--progress"], capture_output=True, check=True)
    assert b"UPLOAD:" in forced.stderr


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated"), (signal.SIGHUP, 129, "Hung up"),
    ],
)
def test_signals_end_a_command_cleanly(tmp_path: Path, number: signal.Signals, code: int, word: str):
    keys = tmp_path / "keys"
    os.mkfifo(keys)
    process = subprocess.Popen([*S3_CLI, "get", "--keylist", str(keys)], stderr=subprocess.PIPE, text=True)
    with open(keys, "w"):  # opens when the command does, which then waits for a line
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err.strip() == word


def test_a_command_under_nohup_goes_on(tmp_path: Path):
    keys = tmp_path / "keys"
    os.mkfifo(keys)
    process = subprocess.Popen(["nohup", *S3_CLI, "get", "--keylist", str(keys)], stderr=subprocess.PIPE, text=True)
    with open(keys, "w") as lines:
        process.send_signal(signal.SIGHUP)
        (tmp_path / "a").write_bytes(b"12345")
        lines.write(f"file://{tmp_path}/a\n")
    process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(tmp_path: Path, tree: Path, closed: str):
    command = f"exec {' '.join(S3_CLI)} cp file://{tree}/a.txt file://{tmp_path}/copy {closed}"
    assert subprocess.run(command, shell=True, capture_output=True).returncode == 0
    assert (tmp_path / "copy").read_bytes() == b"alpha"


@pytest.mark.parametrize("words", ["cp - file://{0}/new", "get --keylist -"])
def test_a_closed_standard_input_is_not_an_empty_one(tmp_path: Path, words: str):
    command = f"exec {' '.join(S3_CLI)} {words.format(tmp_path)} <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 1
    assert "standard input is closed" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_interrupted_command_says_how_far_it_came(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*words: object) -> None:
        raise KeyboardInterrupt

    for name in "abc":
        (tmp_path / name).touch()
    monkeypatch.setattr(get_command, "finish", interrupted)
    assert cli("get", f"file://{tmp_path}/", code=130).err == "\nInterrupted after 3 objects\n"
    assert cli("get", f"file://{tmp_path}/a", "--progress", code=130).err.endswith("\nInterrupted after 1 object\n")
    (record,) = cli("get", f"file://{tmp_path}/", "--json", code=130).errors
    assert record["error"]["message"] == "ended by SIGINT after 3 objects"


def test_the_console_script_and_the_module_are_the_same_program():
    done = subprocess.run([*S3_CLI, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("s3-cli ")


@pytest.mark.parametrize("words", ["ls", "du", "rm -r", "rm -rn", "get"])
@pytest.mark.parametrize("glob", ["none?", "x[12]", "q{a,b}*"])
def test_a_glob_that_matches_nothing_is_said_and_fails(cli: Cli, tree: Path, words: str, glob: str):
    run = cli(*words.split(), f"file://{tree}/{glob}", code=1)
    assert f"file://{tree}/{glob}" in run.err
    assert cli("ls", f"file://{tree}/nothing/").code == 0  # no glob: a directory without anything in it
