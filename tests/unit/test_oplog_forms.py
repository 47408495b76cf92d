"""The forms of an op-log: the table of 13 columns, made row by row or by columns, that of warp, and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

import s3dlio
from s3dlio import errors
from s3dlio.client import Client
from s3dlio.oplog import columnar
from s3dlio.oplog.columns import DIALECTS
from s3dlio.oplog.forms import FORMS, TsvForm
from s3dlio.oplog.identity import identity
from s3dlio.oplog.options import FORMATS
from s3dlio.oplog.records import Details, Record

START = 1_795_823_572_285_294_030


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    yield
    s3dlio.finalize_op_log()
    identity.current = "", 0


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Any, Any]:
    with Client() as client:
        return client.store_for("memory://bucket/key")[0], client.store_for(f"file://{tmp_path}/key")[0]


def records(stores: tuple[Any, Any], count: int = 200, **changes: Any) -> list[Any]:
    """The fields of as many records, of reads and writes over some seconds; the middle one has ``changes``."""
    found = []
    for number in range(count):
        start = START + number * 31_234_567
        store = stores[number % 2]
        values = {
            "thread": number % 3, "client": ("agent-1", 5), "operation": ("GET", "PUT")[number % 2], "objects": 1,
            "store": store, "key": f"/data/é/{number}", "size": number * 1000, "start": start,
            "first": 0 if number % 2 else start + 999, "end": start + 1_000_000_007, "details": None,
        }  # fmt: skip
        found += (values | (changes if number == count // 2 else {})).values()
    return found


def one_by_one(fields: list[Any], first: int) -> bytes:
    return super(TsvForm, TsvForm()).lines(first, fields)


def test_columns_give_the_same_lines_as_rows(stores: tuple[Any, Any]) -> None:
    every: list[dict[str, Any]] = [{}, {"first": 0}, {"end": START}, {"client": ("%d", 5), "key": "a%b"}]
    for changes in every:
        fields = records(stores, **changes)
        assert columnar.plain_lines(7, fields) == one_by_one(fields, 7)


@pytest.mark.parametrize(
    "odd",
    [
        {"key": "a\tb"}, {"key": "a\nb"}, {"key": "a\\b"}, {"key": "\udcff"},
        {"key": "k?X-Amz-Signature=0123456789abcdef"},
        {"client": ("a\tb", 5)}, {"client": ("a", 6)}, {"start": 5}, {"store": None, "key": "s3://bucket/key"},
        {"details": Details("it failed", None, None, None, 1, None)},
    ],
)  # fmt: skip
def test_what_is_odd_is_looked_at_row_by_row(stores: tuple[Any, Any], odd: dict[str, Any]) -> None:
    fields = records(stores, **odd)
    assert columnar.plain_lines(0, fields) is None
    lines = TsvForm().lines(0, fields)
    assert lines == one_by_one(fields, 0)
    assert [line.count(b"\t") for line in lines.splitlines()] == [12] * 200
    assert b"0123456789abcdef" not in lines


def test_names_of_the_forms() -> None:
    assert tuple(FORMS) == FORMATS
    assert FORMS["tsv"].header == (
        "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n"
    )
    assert FORMS["warp"].header.rstrip("\n").split("\t") == list(DIALECTS["warp"])
    assert len(DIALECTS["warp"]) == 15


def logged(path: Path, data: str, form: str) -> str:
    """The text of a log of a write, two reads and a failure."""
    s3dlio.set_client_id("agent\t1")
    s3dlio.init_op_log(path, format=form)
    s3dlio.put_bytes(f"{data}/a\tb", b"0123456789")
    s3dlio.get(f"{data}/a\tb")
    s3dlio.get_range(f"{data}/a\tb", 2, 3)
    with pytest.raises(errors.ObjectNotFoundError):
        s3dlio.get(f"{data}/nope")
    s3dlio.finalize_op_log()
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().decode()


def test_the_columns_of_warp(tmp_path: Path) -> None:
    text = logged(tmp_path / "log", f"file://{tmp_path}/data", "warp")
    header, *lines = text.splitlines()
    assert header.split("\t") == list(DIALECTS["warp"])
    put, get, part, failed = (dict(zip(DIALECTS["warp"], line.split("\t"), strict=True)) for line in lines)
    assert (put["op"], put["bytes"], put["first_byte"], put["last_byte"], put["cat"]) == ("PUT", "10", "", "", "0")
    assert (get["op"], get["endpoint"], get["client_id"]) == ("GET", "file://", "agent\\t1")
    assert get["start"] <= get["first_byte"] <= get["last_byte"] == get["end"]
    assert (part["op"], part["bytes"]) == ("GET_RANGE", "3")
    assert failed["error"]
    read = list(s3dlio.read_op_log(tmp_path / "log"))
    assert [row["op"] for row in read] == ["PUT", "GET", "GET_RANGE", "GET"]
    assert read[0]["file"].endswith("/data/a\tb")


def test_json_lines(tmp_path: Path) -> None:
    data = f"file://{tmp_path}/data"
    lines = logged(tmp_path / "log", data, "jsonl").splitlines()
    put, _, part, failed = map(json.loads, lines)
    assert (put["idx"], put["op"], put["file"], put["client_id"]) == (0, "PUT", f"{data}/a\tb", "agent\t1")
    assert (put["first_byte"], put["error"], put["endpoint"], put["status"]) == (None, "", None, None)
    assert part["range"] == "2-4"
    assert "range" not in put
    assert (part["attempts"], part["bytes"]) == (1, 3)
    assert part["start"] <= part["first_byte"] <= part["end"]
    assert "nope" in failed["error"]
    assert [row["op"] for row in s3dlio.read_op_log(tmp_path / "log")] == ["PUT", "GET", "GET_RANGE", "GET"]


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_sorted(tmp_path: Path, form: str) -> None:
    from s3dlio.oplog import control
    from s3dlio.types import Observation

    s3dlio.init_op_log(tmp_path / "log", format=form, sort=True)
    recorder = control._recorder
    assert recorder is not None
    for start in (5, 3, 9, 1):
        seen = Observation("GET", "s3://bucket/key", START + start)
        seen.end_ns = START + 20
        recorder(seen)
    s3dlio.finalize_op_log()
    rows = list(s3dlio.read_op_log(tmp_path / "log"))
    assert [row["start"] - START for row in rows] == [1, 3, 5, 9]
    assert [row["idx"] for row in rows] == [3, 1, 0, 2]


def test_a_format_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="format"):
        s3dlio.init_op_log(tmp_path / "log", format="csv")
    assert not s3dlio.is_op_log_active()


def test_a_record_has_as_many_fields_as_are_counted(stores: tuple[Any, Any]) -> None:
    from s3dlio.oplog.records import FIELDS

    assert len(records(stores, 1)) == FIELDS == len(Record.__args__)  # type: ignore[attr-defined]
