"""What ``--json`` prints is what docs/json_output.md says: the same fields, of the same types, for every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.cli.parser import build_parser
from s3dlio.client import Client
from tests.e2e.conftest import Cli, Run
from tests.servers import Server

DOCUMENT = Path(__file__).parents[2] / "docs" / "json_output.md"
#: Have documents and tests of their own.
ELSEWHERE = {"replay", "analyze", "bench"}

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (float, int), "bool": (bool,), "object": (dict,), "list": (list,),
    "null": (type(None),),
}  # fmt: skip

#: The fields of one kind of record: their types, and whether they are always there.
Table = dict[str, tuple[tuple[type, ...], bool]]


def tables_in(text: str) -> Iterator[Table]:
    for rows in re.findall(r"^\| field \| type \| \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        table: Table = {}
        for row in rows.splitlines():
            names, types, _ = (cell.strip() for cell in row.strip("|").split("|", 2))
            kinds = tuple(kind for name in types.split(", ") for kind in _TYPES[name.rstrip("?")])
            for name in re.findall(r"`([a-z0-9_]+)`", names):
                table[name] = kinds, "?" not in types
        yield table


def documented() -> dict[str, list[Table]]:
    """The kinds of records of each command."""
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL))
    own = {name: list(tables_in(text)) for name, text in sections.items()}
    same = {name: re.findall(r"(?:records|summary) of (?:all )?`([a-z-]+)", text) for name, text in sections.items()}
    return {name: own[name] + [table for of in same[name] for table in own[of]] for name in sections}


DOCUMENTED = documented()
DOCUMENTED["run"] += DOCUMENTED["stat"]  # which is what it runs here


def fits(record: dict[str, Any], table: Table) -> bool:
    if not {name for name, (_, always) in table.items() if always} <= record.keys() <= table.keys():
        return False
    return all(isinstance(value, table[name][0]) for name, value in record.items())


def check(run: Run, command: str, used: set[int], *, logs: bool) -> None:
    """Every record is one of those that are documented for the command."""
    for record in (*run.records, *(() if logs else run.errors)):
        tables = DOCUMENTED["Errors"] if {"error", "failure"} & record.keys() else DOCUMENTED[command]
        found = [table for table in tables if fits(record, table)]
        assert found, f"{command} prints what is not documented: {record}"
        used.update(map(id, found))


#: Command lines in an order in which they succeed. ``{b}`` is a bucket, ``{t}`` a local folder, ``{v}`` a version.
LINES = """
list-buckets | ls s3:// | ls | mb s3://json-x -n | mb s3://json-x | rb s3://json-x -n | rb s3://json-x
put {b}p/ -n 3 -s 10 | put {b}p/ -n 3 -s 10 -v
put {b}p/ -n 1 --dry-run | ls -r {b} | ls {b} | ls -rc {b} | stat {b}k | du {b} -d 1 | find {b} | find {b} --name k
upload -r {t}/src {b}up/ -v | upload -r {t}/src {b}up/ -n | check {t}/src {b}up/ --combined
diff {b}up/ {b}p/ --one-way ! | check {b}up/ {b}k/ !
get {b}p/ | get {b}p/ -v | get {b}p/ -o {t}/got/ | cat {b}k | head {b}k | tail {b}k
mkdir {b}d/ | mkdir file://{t}/d | rmdir file://{t}/d -n | rmdir file://{t}/d | download -r {b}p/ {t}/down -v
download -r {b}p/ {t}/down -n | cp -r {b}p/ {b}c/ -v | cp {b}k {b}k2 | cp {b}k {b}k3 -n | mv {b}k2 {b}k4 -v
mv {b}k4 {b}k5 -n | sync {b}p/ {b}s/ -n | sync {b}p/ {b}s/ --delete -v | sync {t}/none {b}s/ !
ls --versions {b} | versions ls -r {b} | versions restore {b}k --version-id {v} | versions rm {b}k --version-id {v} -n
versions rm {b}k --version-id {v} | versions rm {b}k5 --all ! | versions rm {b}k4 --all | versions rm -r {b}c/ --all -n
uploads ls {b} | uploads rm {b} -n | uploads rm {b} | presign {b}k | presign {b}k --version-id {v}
tags {b}k --set a=b | tags {b}k --set a=c -n | rm {b}k3 {b}k5 | rm {b}k -n | rm {b}k | rm -r {b}c/ -n | rm -r {b}c/
rm {b}p/ ! | stat {b}none ! | get -r {t}/ ! | get --keylist {t}/keys --continue-on-error ! | nonsense !
run {t}/commands | run {t}/commands -n | run {t}/wrong ! | rm -r --versions {b} | config | completion bash
checkpoint ls file://{t}/run | checkpoint verify file://{t}/run | checkpoint prune file://{t}/run --keep-last 1 -n
"""


@pytest.fixture
def place(moto_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A bucket that keeps versions, with an object of two of them and an open upload; a folder with two files."""
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3DLIO_NO_SUCH_SETTING", "1")
    monkeypatch.setattr("s3dlio.api._default", None)
    client, s3 = Client(), boto3.client("s3")
    client.create_bucket("json-output")
    s3.put_bucket_versioning(Bucket="json-output", VersioningConfiguration={"Status": "Enabled"})
    client.put_bytes("s3://json-output/k", b"old")
    version = str(client.head("s3://json-output/k").version_id)
    client.put_bytes("s3://json-output/k", b"new")
    client.put_bytes("s3://json-output/gone", b"x")
    client.delete("s3://json-output/gone")
    s3.create_multipart_upload(Bucket="json-output", Key="open")
    (tmp_path / "src" / "sub").mkdir(parents=True)
    (tmp_path / "src" / "a").write_text("a")
    (tmp_path / "src" / "sub" / "b").write_text("b")
    (tmp_path / "keys").write_text("s3://json-output/none\ns3://json-output/nor\n")
    (tmp_path / "commands").write_text("stat s3://json-output/gone-too\n".replace("gone-too", "p/object_0_of_3.dat"))
    (tmp_path / "wrong").write_text("stat s3://json-output/none\n")
    checkpoints = CheckpointStore(f"file://{tmp_path}/run", client=client)
    for step in (1, 2):
        writer = checkpoints.writer(1, 0)
        shard = writer.save_distributed_shard(step, 0, "torch", b"x")
        writer.finalize_distributed_checkpoint(step, 0, "torch", [shard], None, make_latest=True)
    return {"b": "s3://json-output/", "t": str(tmp_path), "v": version}


def test_what_is_printed_is_what_is_documented(cli: Cli, place: dict[str, str]):
    used: set[int] = set()
    tried = set()
    aliases = {"mb": "create-bucket", "rb": "delete-bucket"}
    for line in filter(None, (line.strip() for line in LINES.replace("\n", "|").split("|"))):
        words = line.format(**place).removesuffix(" !").split()
        command = aliases.get(words[0], words[0])
        tried.add(command)
        run = cli(*words, "--json", code=(2 if words == ["nonsense"] else 1) if line.endswith(" !") else 0)
        check(run, command, used, logs="-v" in words)
    assert tried - {"nonsense"} | ELSEWHERE >= {of.prog.split()[-1] for of in build_parser().commands().values()}
    unused = {
        name: [list(table) for table in tables if id(table) not in used]
        for name, tables in DOCUMENTED.items() if name != "Errors"
    }  # fmt: skip
    own = {name: tables for name, tables in unused.items() if tables}
    assert not own, f"documented, and never printed: {own}"
