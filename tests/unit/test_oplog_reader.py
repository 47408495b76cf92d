"""Reading logs of this library, of warp and of others; what is wrong with them, and that the good rows are kept."""

from __future__ import annotations

import gzip
import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

import s3dlio
from s3dlio import errors
from s3dlio.oplog import columns, reader
from s3dlio.oplog.reader import LogReader, Note
from s3dlio.oplog.rows import parse_time

SECOND = 1_000_000_000
START = 1_795_823_572 * SECOND


def written(path: Path, text: str) -> Path:
    data = text.encode("utf-8", "surrogateescape")
    if path.suffix == ".zst":
        data = zstandard.ZstdCompressor().compress(data)
    elif path.suffix == ".gz":
        data = gzip.compress(data)
    path.write_bytes(data)
    return path


def table(names: tuple[str, ...], rows: list[list[Any]], separator: str = "\t") -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in [list(names), *rows])


WARP = table(
    columns.DIALECTS["warp"],
    [
        [0, 3, "PUT", "kx", 1, 1024, "http://10.0.0.1:9000", "a/1.rnd", "", "2026-11-28T01:00:00.5+02:00", "",
         "2026-11-28T01:00:00.75+02:00", "2026-11-28T01:00:01+02:00", 500000000, 0],
        [1, 4, "STAT", "kx", 1, 0, "http://10.0.0.2:9000", "a/2.rnd", '"tab\there and ""quotes"""',
         "2026-11-27T23:00:00Z", "", "", "2026-11-27T23:00:00.000000001Z", 1, 0],
        [2, 4, "GET", "kx", 1, 7, "http://10.0.0.2:9000", 'a/"2".rnd', '"two\nlines"',
         "2026-11-27T23:00:00Z", "2026-11-27T23:00:00.2Z", "", "2026-11-27T23:00:00.3Z", 300000000, 1],
    ],
) + "# warp get --host=10.0.0.1\n#\n"  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv.zst", ".tsv", ".csv.gz"])
def test_a_log_of_warp(tmp_path: Path, suffix: str) -> None:
    put, stat, get = s3dlio.read_op_log(written(tmp_path / f"warp{suffix}", WARP))
    assert put["end"] - put["start"] == SECOND // 2
    assert (put["start"], put["first_byte"]) == (parse_time("2026-11-27T23:00:00.5Z"), None)
    assert put["last_byte"] - put["start"] == SECOND // 4
    assert (put["thread"], put["bytes"], put["cat"], put["endpoint"]) == (3, 1024, 0, "http://10.0.0.1:9000")
    assert (stat["op"], stat["error"], stat["duration_ns"]) == ("STAT", 'tab\there and "quotes"', 1)
    assert (get["file"], get["error"], get["cat"]) == ('a/"2".rnd', "two\nlines", 1)


def test_a_log_of_the_rust_package(tmp_path: Path) -> None:
    rows = [
        [0, 18147521187885925800, "GET", "", 1, 1000, "file://", "/d/a\\tb", "", "2026-11-20T23:57:53.488420070Z",
         "2026-11-20T23:57:53.488647939Z", "2026-11-20T23:57:53.488647939Z", 227869],
        [1, 1, "GET", "client-1", 1, 1048576, "http://s3.local:9000", "/bucket/f", "", 1000000000, 1000500000,
         1001000000, 1000000],
    ]  # fmt: skip
    first, second = s3dlio.read_op_log(written(tmp_path / "log.tsv.zst", table(columns.DIALECTS["s3dlio"], rows)))
    assert (first["thread"], first["file"], first["duration_ns"]) == (18147521187885925800, "/d/a\tb", 227869)
    assert (second["start"], second["end"], second["first_byte"]) == (SECOND, 1_001_000_000, 1_000_500_000)


def test_a_short_table(tmp_path: Path) -> None:
    text = "op\tfile\tbytes\tstart\tduration_ns\terror\nGET\t/d/x\t512\t2025-01-01T00:00:00Z\t1000000\t\n"
    (row,) = s3dlio.read_op_log(written(tmp_path / "log.tsv", text))
    assert row["end"] - row["start"] == 1_000_000
    assert row.keys() == {"op", "file", "bytes", "start", "end", "duration_ns", "error"}


def test_a_table_with_commas_and_quotes(tmp_path: Path) -> None:
    text = (
        'Operation,"Object",Size,Start_us,Latency_ms,colour\r\nread,"a,b\\t",5,1000000,0.5,red\r\nGET,c,,2000000,1,\r\n'
    )
    one, two = s3dlio.read_op_log(written(tmp_path / "log.csv", text))
    assert one == {"op": "read", "file": "a,b\\t", "bytes": 5, "start": SECOND, "end": SECOND + 500_000,
                   "duration_ns": 500_000, "colour": "red"}  # fmt: skip
    assert (two["bytes"], two["end"] - two["start"], two["colour"]) == (None, 1_000_000, "")


def test_json_lines(tmp_path: Path) -> None:
    text = (
        '{"operation": "GET", "file": "/t/1", "bytes": 1024, "t_start_ns": 1000000000}\n\n'
        '{"op": "PUT", "file": "ü\\n", "start": "2025-01-01T00:00:01Z", "duration_ms": 2.5, "attempts": 3, '
        '"range": [0, 99], "status": 200, "tags": {"a": 1}, "error": null}\n'
    )
    one, two = s3dlio.read_op_log(written(tmp_path / "log.jsonl.zst", text))
    assert (one["op"], one["start"], one["end"], one["bytes"]) == ("GET", SECOND, None, 1024)
    assert (two["file"], two["duration_ns"], two["attempts"], two["range"]) == ("ü\n", 2_500_000, 3, "0-99")
    assert (two["status"], two["error"], two["tags"]) == (200, "", '{"a": 1}')


def test_fields_of_every_form_are_what_they_say(tmp_path: Path) -> None:
    """Random rows in all the forms that programs write, at once and one by one."""
    chance = random.Random(5)
    rows, expected = [], []
    for number in range(4_000):
        start = START + chance.randrange(10**13)
        took = chance.choice([0, 7, 10**6, chance.randrange(10**12)])
        size = chance.choice([0, 9, 10**8 - 1, 10**8, chance.randrange(10**16), 10**18])
        thread = chance.choice([number % 8, chance.randrange(2**64)])
        name = "".join(chance.choices("abcdefghijk/é\\\t", k=chance.randrange(1, 200)))
        rows.append([number, thread, chance.choice(["GET", "DELETE_BATCH"]), "", "", size, "s3://b",
                     columns_escaped(name), "", moment(start, chance), moment(start, chance) if number % 2 else "",
                     moment(start + took, chance), took])  # fmt: skip
        expected.append((number, thread, size, name, start, start if number % 2 else None, start + took))
    path = written(tmp_path / "log.tsv.zst", table(columns.DIALECTS["s3dlio"], rows))
    found = [
        (row["idx"], row["thread"], row["bytes"], row["file"], row["start"], row["first_byte"], row["end"])
        for row in s3dlio.read_op_log(path)
    ]
    assert found == expected


def test_times_and_durations_out_of_all_bounds_are_rows_that_are_none(tmp_path: Path) -> None:
    tables = (
        "op\tstart\tend\nGET\t{}\t2026-01-01T00:00:01Z\n",
        "op,start_s,duration_ms\nGET,{},1\n",
        "op,start_s,duration_ms\nGET,1,{}\n",
    )
    fields = (("9999-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"), ("99999999999", "1e300", "99999999999999999999"),
              ("9999999999999", "-9999999999999"))  # fmt: skip
    for number, (text, values) in enumerate(zip(tables, fields, strict=True)):
        for value in values:
            path = written(tmp_path / f"{number}", text.format(value))
            notes: list[Any] = []
            assert list(s3dlio.read_op_log(path, notes=notes)) == []
            assert [note.kind for note in notes] == ["bad-row"]


def test_an_empty_duration_in_any_unit_follows_from_the_times(tmp_path: Path) -> None:
    path = written(tmp_path / "log", "op,start,end,latency_us\nGET,1000,3000,\nGET,1000,,2\n")
    assert [row["duration_ns"] for row in s3dlio.read_op_log(path)] == [2000, 2000]


def columns_escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t")


def moment(epoch: int, chance: random.Random) -> str:
    """A time in one of the forms that programs write."""
    kind = chance.randrange(4)
    if kind == 3:
        return str(epoch)
    zone = timedelta(minutes=chance.choice([-480, 330])) if kind == 2 else timedelta()
    seconds, nanos = divmod(epoch, SECOND)
    text = (datetime.fromtimestamp(seconds, timezone.utc) + zone).strftime("%Y-%m-%dT%H:%M:%S")  # noqa: UP017
    fraction = f".{nanos:09}"
    if kind:
        fraction = fraction.rstrip("0").rstrip(".")
    if not zone:
        return f"{text}{fraction}Z"
    minutes = int(zone.total_seconds()) // 60
    return f"{text}{fraction}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def plain_rows(count: int) -> list[list[Any]]:
    return [
        [number, 0, "GET", "c", 1, 10, "s3://b", f"b/{number}", "", START + number * 1000, "",
         START + number * 1000 + 500, 500]
        for number in range(count)
    ]  # fmt: skip


HEADER = table(columns.DIALECTS["s3dlio"], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1\t2", "2 columns instead of 13"),
        (HEADER.strip().replace("start", "now"), "no number|no RFC 3339 time"),
        ("9\tx\tGET\t\t1\t1\te\tf\t\t2026-01-01T00:00:00Z\t\t2026-01-01T00:00:00Z\t0", "'x' is no number"),
        ("9\t0\tGET\t\t1\t1\te\tf\t\t2026-13-01T00:00:00Z\t\t2026-01-01T00:00:00Z\t0", "time data|no RFC 3339"),
        ("9\t0\tGET\t\t1\t1\te\tf\t\t2026-01-01T00:00:00Z\t\t2026-01-01T00:61:00Z\t0", "time data|no RFC 3339"),
    ],
)
def test_a_row_that_is_none(tmp_path: Path, line: str, reason: str) -> None:
    rows = table(columns.DIALECTS["s3dlio"], plain_rows(6)).splitlines()
    path = written(tmp_path / "log.tsv", "\n".join([*rows[:4], line, *rows[4:], line]) + "\n")
    before = []
    with pytest.raises(errors.CorruptDataError, match=f"line 5 of the op-log: .*({reason})"):
        before.extend(_into(before, path))
    assert [row["idx"] for row in before] == [0, 1, 2]
    notes: list[Note] = []
    assert [row["idx"] for row in s3dlio.read_op_log(path, notes=notes)] == [0, 1, 2, 3, 4, 5]
    assert [(note.kind, note.line, note.times) for note in notes] == [("bad-row", 5, 2)]


def _into(found: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    for row in s3dlio.read_op_log(path):
        found.append(row)
    return []


@pytest.mark.parametrize("cut", [1, 2, 3, 30, 60])
@pytest.mark.parametrize("suffix", [".tsv", ".tsv.zst", ".tsv.gz"])
def test_half_a_last_line(tmp_path: Path, cut: int, suffix: str) -> None:
    text = table(columns.DIALECTS["s3dlio"], plain_rows(5))
    path = written(tmp_path / f"log{suffix}", text[:-cut])
    whole = [0, 1, 2, 3] if cut > 1 else [0, 1, 2, 3, 4]  # without its line end the row is whole all the same
    notes: list[Note] = []
    assert [row["idx"] for row in s3dlio.read_op_log(path, notes=notes)] == whole
    assert [row["idx"] for row in s3dlio.read_op_log(path, allow_truncated=True)] == whole
    if cut > 1:
        assert [(note.kind, note.line) for note in notes] == [("truncated", 6)]
        with pytest.raises(errors.CorruptDataError, match="ends in the middle"):
            list(s3dlio.read_op_log(path))


@pytest.mark.parametrize("compress", [zstandard.ZstdCompressor().compress, gzip.compress])
def test_a_frame_that_is_cut(tmp_path: Path, compress: Any) -> None:
    text = table(columns.DIALECTS["s3dlio"], [[*row[:7], random.random(), *row[8:]] for row in plain_rows(30_000)])
    path = tmp_path / "log"
    path.write_bytes(compress(text.encode())[:-5_000])
    notes: list[Note] = []
    rows = list(s3dlio.read_op_log(path, notes=notes))
    assert 20_000 < len(rows) < 30_000
    assert [row["idx"] for row in rows] == list(range(len(rows)))
    assert [(note.kind, note.line) for note in notes] == [("truncated", len(rows) + 2)]


def test_json_that_is_cut_or_none(tmp_path: Path) -> None:
    lines = [json.dumps({"op": "GET", "start": START, "bytes": number}) for number in range(5)]
    lines[2] = '{"op": "GET"}'
    path = written(tmp_path / "log.jsonl", "\n".join(lines)[:-4])
    notes: list[Note] = []
    assert [row["bytes"] for row in s3dlio.read_op_log(path, notes=notes)] == [0, 1, 3]
    assert [(note.kind, note.line) for note in notes] == [("bad-row", 3), ("truncated", 5)]
    with pytest.raises(errors.CorruptDataError, match=r"line 3 .* no 'start'"):
        list(s3dlio.read_op_log(path))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG\r\n\x1a\n" + bytes(99), b"hello\n", b'{"a": 1}\n', b"[1]\n", b"PK\x03\x04" * 9, b"\0" * 4096],
)
def test_files_that_are_no_log_are_refused_however_they_are_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    for notes in (None, []):
        with pytest.raises(errors.CorruptDataError, match="no op-log"):
            list(s3dlio.read_op_log(path, notes=notes))


def test_unknown_columns_are_noted(tmp_path: Path) -> None:
    notes: list[Note] = []
    path = written(tmp_path / "log", "op\tstart\tend\tcolour\nGET\t1\t2\tred\n")
    (row,) = s3dlio.read_op_log(path, notes=notes)
    assert row["colour"] == "red"
    assert [(note.kind, note.text) for note in notes] == [
        ("unknown-columns", "columns that mean nothing here: 'colour'")
    ]


def test_blocks_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "log.zst", table(columns.DIALECTS["s3dlio"], plain_rows(2_000)))
    whole = list(s3dlio.read_op_log(path))
    assert len(whole) == 2_000
    for size in (1, 1000, 70_000):
        monkeypatch.setattr(reader, "BLOCK", size)
        assert list(s3dlio.read_op_log(path)) == whole


def test_batches_have_the_columns_that_are_wanted(tmp_path: Path) -> None:
    path = written(tmp_path / "log.zst", table(columns.DIALECTS["s3dlio"], plain_rows(3)))
    (batch,) = LogReader(path, {"bytes", "file"}).batches()
    assert batch.numbers.keys() == {"bytes", "start", "end", "duration_ns"}
    assert batch.texts.keys() == {"op", "file"}
    assert list(batch.texts["file"]) == ["b/0", "b/1", "b/2"]
    assert batch.texts["file"][1] == "b/1"
    assert np.unique(batch.texts["file"].hashes()).size == 3
    assert np.unique(batch.texts["op"].hashes()).size == 1
